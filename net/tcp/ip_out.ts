/**
 * IPv4 packets on their way out: room in the sink, header, commit.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import { viewOf } from "../wire/bytes.ts";
import { nativeSum } from "../wire/checksum.ts";
import {
  IPV4_CHECKSUM,
  IPV4_DEFAULT_TTL,
  IPV4_DESTINATION,
  IPV4_DF,
  IPV4_FRAGMENT,
  IPV4_HEADER_LEN,
  IPV4_IDENTIFICATION,
  IPV4_MF,
  IPV4_PLAIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  PROTOCOL,
} from "../wire/ipv4.ts";
import type { IpAddress } from "./address.ts";
import type { StackCounters } from "./counters.ts";

/** Writes packets into a sink, one after the other. */
export class IpOutput {
  /** Memory of the reserved packet. */
  buffer: Uint8Array;
  /** The same, for fields. */
  view: DataView;
  /** Whether the sink takes segments of TCP without a checksum. */
  unsummed: boolean;
  #sink: PacketSink;
  readonly #counters: StackCounters;
  #identification = 0;
  #dirty = false;

  /** Writes to `sink`. */
  constructor(sink: PacketSink, counters: StackCounters) {
    this.#sink = sink;
    this.#counters = counters;
    this.buffer = sink.buffer;
    this.view = viewOf(sink.buffer);
    this.unsummed = sink.commitUnsummed !== undefined;
  }

  /** Writes to `sink` from now on. */
  redirect(sink: PacketSink): void {
    this.flush();
    this.#sink = sink;
    this.unsummed = sink.commitUnsummed !== undefined;
  }

  /** Room for one packet of `size` bytes: its offset in {@link buffer}, or -1, counted. */
  reserve(size: number): number {
    const at = this.#sink.reserve(size);
    if (at < 0) {
      this.#counters.sinkFull++;
      return -1;
    }
    if (this.#sink.buffer !== this.buffer) {
      this.buffer = this.#sink.buffer;
      this.view = viewOf(this.buffer);
    }
    return at;
  }

  /** Writes the header of the reserved packet and hands it over. */
  send(
    at: number,
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    length: number,
  ): void {
    // Consecutive, so that segments of one flow can be joined again (RFC 6864 leaves it open).
    const identification = this.nextIdentification();
    this.sendFragment(at, source, destination, protocol, length, identification, IPV4_DF);
  }

  /** The same for a segment of TCP whose checksum is left to the sink, which must be {@link unsummed}. */
  sendUnsummed(at: number, source: IpAddress, destination: IpAddress, length: number): void {
    this.#writeHeader(
      at,
      source,
      destination,
      PROTOCOL.tcp,
      length,
      this.nextIdentification(),
      IPV4_DF,
    );
    this.#sink.commitUnsummed?.(length);
    this.#committed();
  }

  /** An identification that was not used for the last 65535 packets. */
  nextIdentification(): number {
    const identification = this.#identification;
    this.#identification = (identification + 1) & 0xffff;
    return identification;
  }

  /** The same with an identification and the field of flags and offset. */
  sendFragment(
    at: number,
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    length: number,
    identification: number,
    fragment: number,
  ): void {
    this.#writeHeader(at, source, destination, protocol, length, identification, fragment);
    this.#sink.commit(length);
    this.#committed();
  }

  /**
   * Sends `length` bytes of `payload` in packets of at most `mtu` bytes: pieces of a multiple of eight
   * bytes, all with one identification (RFC 791 section 3.2). False when there was no room for all.
   */
  sendPieces(
    payload: Uint8Array,
    length: number,
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    mtu: number,
  ): boolean {
    const most = (mtu - IPV4_HEADER_LEN) & ~7;
    const id = this.nextIdentification();
    for (let done = 0; done < length; done += most) {
      const size = Math.min(most, length - done);
      const total = IPV4_HEADER_LEN + size;
      const at = this.reserve(total);
      if (at < 0) return false;
      this.buffer.set(payload.subarray(done, done + size), at + IPV4_HEADER_LEN);
      const more = done + size < length ? IPV4_MF : 0;
      this.sendFragment(at, source, destination, protocol, total, id, more | (done >>> 3));
    }
    return true;
  }

  #committed(): void {
    this.#counters.packetsOut++;
    this.#dirty = true;
  }

  #writeHeader(
    at: number,
    source: IpAddress,
    destination: IpAddress,
    protocol: number,
    length: number,
    identification: number,
    fragment: number,
  ): void {
    const view = this.view;
    view.setUint16(at, IPV4_PLAIN << 8);
    view.setUint16(at + IPV4_TOTAL_LENGTH, length);
    view.setUint16(at + IPV4_IDENTIFICATION, identification);
    view.setUint16(at + IPV4_FRAGMENT, fragment);
    view.setUint8(at + IPV4_TTL, IPV4_DEFAULT_TTL);
    view.setUint8(at + IPV4_PROTOCOL, protocol);
    view.setUint16(at + IPV4_CHECKSUM, 0);
    view.setInt32(at + IPV4_SOURCE, source);
    view.setInt32(at + IPV4_DESTINATION, destination);
    view.setUint16(at + IPV4_CHECKSUM, ~nativeSum(view, at, IPV4_HEADER_LEN), true);
  }

  /** Ends a burst. */
  flush(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.#sink.flush();
  }
}
