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
  IPV4_PLAIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
} from "../wire/ipv4.ts";
import type { IpAddress } from "./address.ts";
import type { StackCounters } from "./counters.ts";

/** Writes packets into a sink, one after the other. */
export class IpOutput {
  /** Memory of the reserved packet. */
  buffer: Uint8Array;
  /** The same, for fields. */
  view: DataView;
  readonly #sink: PacketSink;
  readonly #counters: StackCounters;
  #identification = 0;
  #dirty = false;

  /** Writes to `sink`. */
  constructor(sink: PacketSink, counters: StackCounters) {
    this.#sink = sink;
    this.#counters = counters;
    this.buffer = sink.buffer;
    this.view = viewOf(sink.buffer);
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
    const view = this.view;
    view.setUint16(at, IPV4_PLAIN << 8);
    view.setUint16(at + IPV4_TOTAL_LENGTH, length);
    // Consecutive, so that segments of one flow can be joined again (RFC 6864 leaves it open).
    view.setUint16(at + IPV4_IDENTIFICATION, this.#identification);
    this.#identification = (this.#identification + 1) & 0xffff;
    view.setUint16(at + IPV4_FRAGMENT, IPV4_DF);
    view.setUint8(at + IPV4_TTL, IPV4_DEFAULT_TTL);
    view.setUint8(at + IPV4_PROTOCOL, protocol);
    view.setUint16(at + IPV4_CHECKSUM, 0);
    view.setInt32(at + IPV4_SOURCE, source);
    view.setInt32(at + IPV4_DESTINATION, destination);
    view.setUint16(at + IPV4_CHECKSUM, ~nativeSum(view, at, IPV4_HEADER_LEN), true);
    this.#sink.commit(length);
    this.#counters.packetsOut++;
    this.#dirty = true;
  }

  /** Ends a burst. */
  flush(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.#sink.flush();
  }
}
