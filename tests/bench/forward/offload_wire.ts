/**
 * The far end as another Omerta is: a UDP socket with segmentation offload, which sends and takes up
 * to 64 datagrams of one length as one message.
 *
 * @module
 */

import { OmertaError } from "../../../lib/core/errors.ts";
import { Endpoint } from "../../../net/os/endpoint.ts";
import type { DatagramHandler, PacketHandler, UdpSocket } from "../../../net/os/packet_socket.ts";
import { openUdp } from "../../../net/os/udp.ts";
import type { Wire } from "./wire.ts";

const DATAGRAMS = 512;

/** A wire over a UDP socket of the node's own kind. */
export class OffloadWire implements Wire, DatagramHandler {
  readonly #socket: UdpSocket;
  #peer: Endpoint | undefined;
  #handler: PacketHandler | undefined;

  /** Opens the port. */
  constructor(port: number) {
    this.#socket = openUdp({ port });
  }

  /** See {@link Wire.send}; the peer is whoever sent the first datagram. */
  send(messages: readonly Uint8Array[], from: number, count: number): number {
    const { out, counters } = this.#socket;
    const before = counters.sent;
    if (this.#peer === undefined) {
      throw new OmertaError("bench-failed", "Cannot send: nobody has sent anything yet");
    }
    for (let i = from; i < from + count; i++) {
      const message = messages[i];
      if (message === undefined) continue;
      out.buffer.set(message, out.reserve(message.length));
      out.commit(message.length, this.#peer);
    }
    out.flush();
    return counters.sent - before;
  }

  /** See {@link Wire.drain}. */
  drain(handler: PacketHandler): void {
    this.#handler = handler;
    while (this.#socket.drain(this, DATAGRAMS) >= DATAGRAMS);
  }

  /** Takes one datagram; see {@link DatagramHandler.receive}. */
  receive(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    this.#peer ??= Endpoint.fromSockaddr(names, nameAt);
    this.#handler?.receive(buffer, at, length);
  }

  /** Closes the port. */
  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
