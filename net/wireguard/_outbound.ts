/**
 * The way out of a device: a sink for IP packets whose memory is that of the datagram sink, so that
 * a packet is sealed where it was written.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import { readU32 } from "../wire/bytes.ts";
import { IPV4_DESTINATION, IPV4_HEADER_LEN } from "../wire/ipv4.ts";
import type { Context, Peer } from "./_peer.ts";
import { MAX_INNER } from "./constants.ts";
import { sealedLength, TRANSPORT_HEADER_LEN } from "./messages.ts";

/** Room for the header in front, for padding and tag behind. */
export class Outbound implements PacketSink {
  readonly #context: Context;
  readonly #route: (address: number) => Peer | undefined;
  #at = 0;

  constructor(context: Context, route: (address: number) => Peer | undefined) {
    this.#context = context;
    this.#route = route;
  }

  get buffer(): Uint8Array {
    return this.#context.out.buffer;
  }

  reserve(size: number): number {
    const at = size > MAX_INNER ? -1 : this.#context.out.reserve(sealedLength(size));
    if (at < 0) {
      this.#context.counters.outFull++;
      return -1;
    }
    this.#at = at + TRANSPORT_HEADER_LEN;
    return this.#at;
  }

  commit(length: number): void {
    const { counters } = this.#context;
    const buffer = this.#context.out.buffer;
    const at = this.#at;
    if (!isIpv4(buffer, at, length)) {
      counters.badOutbound++;
      return;
    }
    const peer = this.#route(readU32(buffer, at + IPV4_DESTINATION));
    if (peer === undefined) {
      counters.noRoute++;
      return;
    }
    const keypair = peer.sendingKeypair();
    if (keypair === undefined) peer.stage(buffer.slice(at, at + length));
    else peer.transmit(keypair, at, length);
  }

  flush(): void {
    this.#context.out.flush();
  }
}

/** Whether the `length` bytes at `at` can be an IPv4 packet; its own length is not looked at. */
export function isIpv4(packet: Uint8Array, at: number, length: number): boolean {
  return length >= IPV4_HEADER_LEN && ((packet[at] ?? 0) >> 4) === 4;
}
