/**
 * TCP segments and memory sinks for the tests of splitting and joining.
 *
 * @module
 */

import type { PieceWriter } from "./offload_join.ts";
import type { PacketSink } from "./sink.ts";

/** One's complement sum of big-endian words, the slow and obvious way. */
export function obviousSum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) {
      sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
      if (sum > 0xffff) sum -= 0xffff;
    }
  }
  return sum;
}

/** What a test chooses of a TCP segment. */
export interface SegmentFields {
  /** IP identification. */
  readonly id: number;
  /** Sequence number. */
  readonly seq: number;
  /** TCP flags. */
  readonly flags: number;
  /** TCP options, a multiple of 4 bytes. */
  readonly options: Uint8Array;
  /** Bytes after the headers. */
  readonly payload: Uint8Array;
  /** Source port, to tell flows apart. */
  readonly port?: number;
}

/** A whole IPv4 packet with both checksums right. */
export function segment(fields: SegmentFields): Uint8Array {
  const { options, payload } = fields;
  const packet = new Uint8Array(40 + options.length + payload.length);
  const view = new DataView(packet.buffer);
  view.setUint32(0, 0x45000000 | packet.length);
  view.setUint16(4, fields.id);
  view.setUint16(6, 0x4000);
  view.setUint16(8, 0x4006);
  view.setUint32(12, 0x0a000001);
  view.setUint32(16, 0x0a000002);
  view.setUint16(20, fields.port ?? 5201);
  view.setUint16(22, 443);
  view.setUint32(24, fields.seq);
  view.setUint32(28, 0x01020304);
  packet[32] = (5 + options.length / 4) << 4;
  packet[33] = fields.flags;
  view.setUint16(34, 512);
  packet.set(options, 40);
  packet.set(payload, 40 + options.length);
  view.setUint16(10, ~obviousSum(packet.subarray(0, 20)));
  view.setUint16(36, ~tcpSum(packet));
  return packet;
}

/** Sum of pseudo header and TCP segment; 0xffff when the checksum in it is right. */
export function tcpSum(packet: Uint8Array): number {
  const length = packet.length - 20;
  const pseudo = Uint8Array.of(0, 6, length >>> 8, length);
  return obviousSum(packet.subarray(12, 20), pseudo, packet.subarray(20));
}

/** Keeps every packet committed to it. */
export class MemorySink implements PacketSink {
  /** What was committed. */
  readonly packets: Uint8Array[] = [];
  /** Dirty, so that a byte nobody wrote shows. */
  readonly buffer: Uint8Array = new Uint8Array(70_000).fill(0xa5);
  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    return size > 69_000 ? -1 : 3;
  }
  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    this.packets.push(this.buffer.slice(3, 3 + length));
    this.buffer.fill(0xa5);
  }
  /** See {@link PacketSink.flush}. */
  flush(): void {}
}

/** Keeps every packet written to it, virtio header first, pieces put together. */
export class MemoryWriter implements PieceWriter {
  /** What was written. */
  readonly packets: Uint8Array[] = [];
  /** The buffer that pieces point into. */
  buffer: Uint8Array = new Uint8Array(0);
  /** See {@link PieceWriter.write}. */
  write(pieces: Uint32Array, count: number): void {
    const parts: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const at = pieces[2 * i] ?? 0;
      parts.push(this.buffer.slice(at, at + (pieces[2 * i + 1] ?? 0)));
    }
    this.packets.push(new Uint8Array(parts.flatMap((part) => [...part])));
  }
}
