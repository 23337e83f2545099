/**
 * Puts fragments of IPv4 packets together (RFC 791 section 3.2, RFC 815). Pieces that overlap end the
 * whole packet, with those still to come (RFC 5722 section 4); an exact repetition is ignored.
 *
 * Limits: {@link MAX_DATAGRAMS} packets at a time, {@link MAX_OF_SOURCE} of them from one source, and
 * {@link HOLD_MS} for each from its first piece. A source at its limit gives up its own oldest packet;
 * when all places are taken, the source that holds most of them does, so that nobody pushes out who
 * holds less than he does. Each place is {@link PLACE_BYTES} of memory, taken when it is needed first
 * and kept for the next one: 4.5 MiB in all. No ICMP error is sent for what does not become whole.
 *
 * @module
 */

import { viewOf } from "../wire/bytes.ts";
import { nativeSum } from "../wire/checksum.ts";
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_HEADER_LEN,
  IPV4_IDENTIFICATION,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IPV4_TOTAL_LENGTH,
} from "../wire/ipv4.ts";
import type { IpAddress } from "./address.ts";
import type { IpPacket } from "./ip_in.ts";

/** Packets that are put together at a time. */
export const MAX_DATAGRAMS = 64;
/** Those of one source among them. */
export const MAX_OF_SOURCE = 16;
/** How long pieces are kept (ms). */
export const HOLD_MS = 30_000;
const MAX_PACKET = 65535;
/** Room for the longest header, in front of where the payload is put together. */
const MAX_HEADER = 60;
const UNIT = 8;
/** Memory of one packet, whatever its length, in bytes. */
export const PLACE_BYTES: number = MAX_HEADER + MAX_PACKET + Math.floor(MAX_PACKET / UNIT) + 1;

/** A packet that is being put together. */
class Assembly {
  source: IpAddress = 0;
  destination: IpAddress = 0;
  protocol = 0;
  identification = 0;
  endsAt = 0;
  /** Length of the payload; -1: the last piece has not come. */
  length = -1;
  /** Where the last byte lies that has come. */
  reached = 0;
  /** Bytes that have come. */
  received = 0;
  /** Length of the header; 0: the first piece has not come. */
  header = 0;
  /** Whether pieces have overlapped: it will not become whole. */
  broken = false;
  readonly bytes = new Uint8Array(MAX_HEADER + MAX_PACKET);
  readonly view = viewOf(this.bytes);
  /** Which units of eight bytes have come. */
  readonly have = new Uint8Array(MAX_PACKET / UNIT + 1);
}

/** A whole packet: `length` bytes of `buffer` at `at`, valid until the next call. */
export interface Reassembled {
  /** What it lies in. */
  readonly buffer: Uint8Array;
  /** The same, for fields. */
  readonly view: DataView;
  /** Offset of its header. */
  readonly at: number;
  /** Its length, in bytes. */
  readonly length: number;
}

/** Counts of a {@link Reassembly}. */
export interface FragmentCounters {
  /** Packets that became whole. */
  whole: number;
  /** Pieces that are malformed: empty, of a length that is no multiple of eight, too far out. */
  bad: number;
  /** Packets given up because pieces overlap. */
  overlaps: number;
  /** Packets given up because of their age. */
  late: number;
  /** Packets given up for newer ones, of the same source or of another. */
  evicted: number;
}

/** Fragments that wait for the others. */
export class Reassembly {
  /** What it has seen. */
  readonly counters: FragmentCounters = { whole: 0, bad: 0, overlaps: 0, late: 0, evicted: 0 };
  /** Oldest first. */
  readonly #assemblies: Assembly[] = [];
  /** Packets of each source among them. */
  readonly #held = new Map<IpAddress, number>();
  readonly #free: Assembly[] = [];

  /** Packets that wait for pieces. */
  get waiting(): number {
    return this.#assemblies.length;
  }

  /** Takes a piece whose header is sound; the packet when that makes it whole. Never throws. */
  take(packet: IpPacket, now: number): Reassembled | undefined {
    this.tick(now);
    const field = packet.view.getUint16(packet.at + IPV4_FRAGMENT);
    const offset = (field & IPV4_OFFSET_MASK) * UNIT;
    const more = (field & IPV4_MF) !== 0;
    const length = packet.end - packet.payloadAt;
    const end = offset + length;
    if (length === 0 || (more && length % UNIT !== 0) || end > MAX_PACKET - IPV4_HEADER_LEN) {
      this.counters.bad++;
      return undefined;
    }
    const a = this.#find(packet) ?? this.#begin(packet, now);
    if (a.broken) return undefined;
    const seen = this.#seen(a, packet, offset, length);
    if (seen === "repeated" && (more ? end <= a.reached : end === a.length)) return undefined;
    const fits = more ? a.length < 0 || end < a.length : a.length < 0 && end >= a.reached;
    if (seen !== "new" || !fits) {
      a.broken = true;
      this.counters.overlaps++;
      return undefined;
    }
    a.bytes.set(packet.buffer.subarray(packet.payloadAt, packet.end), MAX_HEADER + offset);
    a.have.fill(1, offset / UNIT, Math.ceil(end / UNIT));
    a.received += length;
    a.reached = Math.max(a.reached, end);
    if (!more) a.length = end;
    if (offset === 0) {
      a.header = packet.payloadAt - packet.at;
      const header = packet.buffer.subarray(packet.at, packet.payloadAt);
      a.bytes.set(header, MAX_HEADER - a.header);
    }
    return a.received === a.length ? this.#finish(a) : undefined;
  }

  /** Gives up what has waited too long; when to be called again, in ms; Infinity: never. */
  tick(now: number): number {
    for (let first = this.#assemblies[0]; first !== undefined; first = this.#assemblies[0]) {
      if (first.endsAt > now) return first.endsAt;
      if (!first.broken) this.counters.late++;
      this.#release(first);
    }
    return Infinity;
  }

  #find(packet: IpPacket): Assembly | undefined {
    const identification = packet.view.getUint16(packet.at + IPV4_IDENTIFICATION);
    for (const a of this.#assemblies) {
      if (
        a.identification === identification && a.source === packet.source &&
        a.destination === packet.destination && a.protocol === packet.protocol
      ) return a;
    }
    return undefined;
  }

  #begin(packet: IpPacket, now: number): Assembly {
    const held = this.#held.get(packet.source) ?? 0;
    if (held >= MAX_OF_SOURCE) this.#evict(packet.source);
    else if (this.#assemblies.length >= MAX_DATAGRAMS) this.#evict(this.#greediest());
    this.#held.set(packet.source, (this.#held.get(packet.source) ?? 0) + 1);
    const a = this.#free.pop() ?? new Assembly();
    a.source = packet.source;
    a.destination = packet.destination;
    a.protocol = packet.protocol;
    a.identification = packet.view.getUint16(packet.at + IPV4_IDENTIFICATION);
    a.endsAt = now + HOLD_MS;
    a.length = -1;
    a.reached = a.received = a.header = 0;
    a.broken = false;
    a.have.fill(0);
    this.#assemblies.push(a);
    return a;
  }

  /** The source that holds most; of several the one whose packet is oldest. */
  #greediest(): IpAddress {
    let most = 0;
    let source: IpAddress = 0;
    for (const a of this.#assemblies) {
      const held = this.#held.get(a.source) ?? 0;
      if (held <= most) continue;
      most = held;
      source = a.source;
    }
    return source;
  }

  /** Gives up the oldest packet of a source. */
  #evict(source: IpAddress): void {
    const oldest = this.#assemblies.find((a) => a.source === source);
    if (oldest === undefined) return;
    this.counters.evicted++;
    this.#release(oldest);
  }

  /** Whether these bytes are new, have come before just so, or meet others. */
  #seen(
    a: Assembly,
    packet: IpPacket,
    offset: number,
    length: number,
  ): "new" | "repeated" | "overlap" {
    let known = 0;
    const first = offset / UNIT;
    const last = Math.ceil((offset + length) / UNIT);
    for (let i = first; i < last; i++) known += a.have[i] ?? 0;
    if (known === 0) return "new";
    if (known !== last - first) return "overlap";
    for (let i = 0; i < length; i++) {
      if (a.bytes[MAX_HEADER + offset + i] !== packet.buffer[packet.payloadAt + i]) {
        return "overlap";
      }
    }
    return "repeated";
  }

  #finish(a: Assembly): Reassembled | undefined {
    const total = a.header + a.length;
    this.#release(a); // its memory is not used before the next call
    if (total > MAX_PACKET) {
      this.counters.bad++;
      return undefined;
    }
    const at = MAX_HEADER - a.header;
    a.view.setUint16(at + IPV4_TOTAL_LENGTH, total);
    a.view.setUint16(at + IPV4_FRAGMENT, 0);
    a.view.setUint16(at + IPV4_CHECKSUM, 0);
    a.view.setUint16(at + IPV4_CHECKSUM, ~nativeSum(a.view, at, a.header), true);
    this.counters.whole++;
    return { buffer: a.bytes, view: a.view, at, length: total };
  }

  #release(a: Assembly): void {
    this.#assemblies.splice(this.#assemblies.indexOf(a), 1);
    const left = (this.#held.get(a.source) ?? 1) - 1;
    if (left === 0) this.#held.delete(a.source);
    else this.#held.set(a.source, left);
    this.#free.push(a);
  }
}
