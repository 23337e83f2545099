/**
 * From packets to what a TUN device with offloads takes: consecutive segments of one TCP flow become
 * one packet of up to 64 KiB, for which the kernel does its work once.
 *
 * A segment joins the packet before it only if cutting the result again gives both back bit for bit:
 * same addresses, ports, TTL, acknowledgement, window and options; next IP id and next sequence
 * number; no flags but ACK (and PSH on the last one); same length (the last one may be shorter); both
 * checksums right. So nothing that was damaged on its way is passed off as sound. Anything else ends
 * the packet and is written as it is. Of a packet that comes without a checksum (`commitUnsummed`), the
 * kernel is told so, and none is ever made unless it leaves this computer.
 *
 * Nothing is copied: segments stay where their producer wrote them, and a packet is handed over as a
 * list of pieces for `writev(2)`.
 *
 * @module
 */

import { foldSum, nativePseudoSum, nativeSum } from "../wire/checksum.ts";
import type { PacketSink } from "./sink.ts";
import {
  VNET,
  VNET_GSO_NONE,
  VNET_GSO_TCPV4,
  VNET_LEN,
  VNET_NEEDS_CHECKSUM,
} from "./virtio_net.ts";

const IP_TOTAL_LENGTH = 2;
const IP_ID = 4;
const IP_FLAGS = 6;
const IP_TTL = 8;
const IP_PROTOCOL = 9;
const IP_CHECKSUM = 10;
const IP_ADDRESSES = 12;
const IP_HEADER_LEN = 20;
const TCP = 6;
const TCP_SEQ = 4;
const TCP_ACK = 8;
const TCP_OFFSET = 12;
const TCP_FLAGS = 13;
const TCP_WINDOW = 14;
const TCP_CHECKSUM = 16;
const TCP_HEADER_LEN = 20;
const TCP_URGENT = 18;
const PSH = 0x08;
const ACK = 0x10;

/** Most segments in one packet. */
const MAX_SEGMENTS = 128;
const MAX_PACKET = 65535;
/** Where packets are written: behind the one virtio header, 4-byte aligned. */
const FIRST = 16;
const HEADER_AT = FIRST - VNET_LEN;

/** Takes a finished packet. */
export interface PieceWriter {
  /**
   * Writes one packet, virtio header first.
   *
   * @param pieces Pairs of offset and length (bytes) in the sink's buffer; valid during the call.
   * @param count Pairs.
   */
  write(pieces: Uint32Array, count: number): void;
}

/** A sink whose packets reach `writer` joined. Holds back at most one packet until `flush`. */
export class OffloadJoin implements PacketSink {
  /** Where packets are written. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #writer: PieceWriter;
  readonly #pieces = new Uint32Array(2 * (MAX_SEGMENTS + 1));
  // Segments held; 0: none. Their first lies at FIRST.
  #held = 0;
  #headers = 0;
  /** Whether they came without checksums. */
  #unsummed = false;
  #segment = 0;
  #payload = 0;
  #nextSeq = 0;
  #nextId = 0;
  #end = FIRST;

  /**
   * Joins into `buffer`.
   *
   * @param buffer At least 128 KiB, so that a whole packet fits.
   * @param writer Gets each finished packet.
   */
  constructor(buffer: Uint8Array<ArrayBuffer>, writer: PieceWriter) {
    this.buffer = buffer;
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.#writer = writer;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    if (this.#end + size > this.buffer.length) {
      this.flush();
      if (FIRST + size > this.buffer.length) return -1;
    }
    return this.#end;
  }

  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    this.#commit(length, false);
  }

  /** See {@link PacketSink.commitUnsummed}. */
  commitUnsummed(length: number): void {
    this.#commit(length, true);
  }

  #commit(length: number, unsummed: boolean): void {
    const at = this.#end;
    const headers = this.#joinable(at, length, unsummed);
    if (headers === 0) {
      this.flush();
      this.#pieces[2] = at;
      this.#pieces[3] = length;
      this.#writeHeader(unsummed ? VNET_NEEDS_CHECKSUM : 0, VNET_GSO_NONE, 0, 0);
      this.#writer.write(this.#pieces, 2);
      return;
    }
    const payload = length - headers;
    if (
      this.#held > 0 && unsummed === this.#unsummed && this.#continues(at, headers, payload)
    ) {
      const i = 2 * (this.#held + 1);
      this.#pieces[i] = at + headers;
      this.#pieces[i + 1] = payload;
      this.#held++;
      this.#payload += payload;
    } else {
      this.flush();
      // Back to the front: memory that is in the cache, and room for a whole packet behind it.
      if (at !== FIRST) this.buffer.copyWithin(FIRST, at, at + length);
      this.#pieces[2] = FIRST;
      this.#pieces[3] = length;
      this.#held = 1;
      this.#headers = headers;
      this.#unsummed = unsummed;
      this.#segment = payload;
      this.#payload = payload;
      this.#end = FIRST;
    }
    const start = this.#end;
    this.#nextSeq = (this.#view.getUint32(start + IP_HEADER_LEN + TCP_SEQ) + payload) >>> 0;
    this.#nextId = (this.#view.getUint16(start + IP_ID) + 1) & 0xffff;
    const push = this.#view.getUint8(start + IP_HEADER_LEN + TCP_FLAGS) & PSH;
    // Aligned for whoever writes the next packet.
    this.#end = (start + length + 3) & ~3;
    if (push !== 0) {
      // When cut again, the flag goes with the last segment only.
      this.#view.setUint8(FIRST + IP_HEADER_LEN + TCP_FLAGS, ACK | PSH);
      this.flush();
    } else if (payload < this.#segment) this.flush();
  }

  /** Writes the packet that is held back. */
  flush(): void {
    const held = this.#held;
    this.#end = FIRST;
    if (held === 0) return;
    this.#held = 0;
    if (held > 1) this.#makeLarge();
    else this.#writeHeader(this.#unsummed ? VNET_NEEDS_CHECKSUM : 0, VNET_GSO_NONE, 0, 0);
    this.#writer.write(this.#pieces, held + 1);
  }

  /** Length of the headers of a segment that may be joined with others, or 0. */
  #joinable(at: number, length: number, unsummed: boolean): number {
    const view = this.#view;
    if (length <= IP_HEADER_LEN + TCP_HEADER_LEN) return 0;
    // Version 4, no options, TCP, not a fragment, no padding.
    if (view.getUint8(at) !== 0x45 || view.getUint8(at + IP_PROTOCOL) !== TCP) return 0;
    if ((view.getUint16(at + IP_FLAGS) & 0xbfff) !== 0) return 0;
    if (view.getUint16(at + IP_TOTAL_LENGTH) !== length) return 0;
    const tcp = at + IP_HEADER_LEN;
    const headers = IP_HEADER_LEN + (view.getUint8(tcp + TCP_OFFSET) >>> 4) * 4;
    if (headers < IP_HEADER_LEN + TCP_HEADER_LEN || headers >= length) return 0;
    if ((view.getUint8(tcp + TCP_FLAGS) & ~PSH) !== ACK) return 0;
    if (view.getUint16(tcp + TCP_URGENT) !== 0) return 0;
    if (nativeSum(view, at, IP_HEADER_LEN) !== 0xffff) return 0;
    if (unsummed) return headers;
    const rest = length - IP_HEADER_LEN;
    if (foldSum(nativeSum(view, tcp, rest) + nativePseudoSum(view, at, rest)) !== 0xffff) return 0;
    return headers;
  }

  /** Whether the segment at `at` is the one after those that are held. */
  #continues(at: number, headers: number, payload: number): boolean {
    const view = this.#view;
    if (headers !== this.#headers || payload > this.#segment) return false;
    if (this.#held >= MAX_SEGMENTS) return false;
    if (this.#headers + this.#payload + payload > MAX_PACKET) return false;
    const tcp = at + IP_HEADER_LEN;
    const first = FIRST + IP_HEADER_LEN;
    if (view.getUint32(tcp + TCP_SEQ) !== this.#nextSeq) return false;
    if (view.getUint16(at + IP_ID) !== this.#nextId) return false;
    // Addresses, ports, TOS, flags, TTL, acknowledgement, window, options.
    if (this.#differs(at + IP_ADDRESSES, FIRST + IP_ADDRESSES)) return false;
    if (this.#differs(at + IP_ADDRESSES + 4, FIRST + IP_ADDRESSES + 4)) return false;
    if (this.#differs(tcp, first)) return false;
    if (view.getUint8(at + 1) !== view.getUint8(FIRST + 1)) return false;
    if (view.getUint16(at + IP_FLAGS) !== view.getUint16(FIRST + IP_FLAGS)) return false;
    if (view.getUint8(at + IP_TTL) !== view.getUint8(FIRST + IP_TTL)) return false;
    if (this.#differs(tcp + TCP_ACK, first + TCP_ACK)) return false;
    if (view.getUint8(tcp + TCP_OFFSET) !== view.getUint8(first + TCP_OFFSET)) return false;
    if (view.getUint16(tcp + TCP_WINDOW) !== view.getUint16(first + TCP_WINDOW)) return false;
    for (let i = TCP_HEADER_LEN; i < headers - IP_HEADER_LEN; i += 4) {
      if (this.#differs(tcp + i, first + i)) return false;
    }
    return true;
  }

  #differs(a: number, b: number): boolean {
    return this.#view.getInt32(a, true) !== this.#view.getInt32(b, true);
  }

  /** Makes the first segment's headers those of the whole packet. */
  #makeLarge(): void {
    const view = this.#view;
    const total = this.#headers + this.#payload;
    view.setUint16(FIRST + IP_TOTAL_LENGTH, total);
    view.setUint16(FIRST + IP_CHECKSUM, 0);
    view.setUint16(FIRST + IP_CHECKSUM, ~nativeSum(view, FIRST, IP_HEADER_LEN), true);
    const pseudo = nativePseudoSum(view, FIRST, total - IP_HEADER_LEN);
    view.setUint16(FIRST + IP_HEADER_LEN + TCP_CHECKSUM, pseudo, true);
    this.#writeHeader(VNET_NEEDS_CHECKSUM, VNET_GSO_TCPV4, this.#headers, this.#segment);
  }

  #writeHeader(flags: number, type: number, headers: number, segment: number): void {
    const view = this.#view;
    view.setUint8(HEADER_AT + VNET.flags, flags);
    view.setUint8(HEADER_AT + VNET.gsoType, type);
    view.setUint16(HEADER_AT + VNET.headerLength, headers, true);
    view.setUint16(HEADER_AT + VNET.gsoSize, segment, true);
    const checksum = flags !== 0;
    view.setUint16(HEADER_AT + VNET.checksumStart, checksum ? IP_HEADER_LEN : 0, true);
    view.setUint16(HEADER_AT + VNET.checksumOffset, checksum ? TCP_CHECKSUM : 0, true);
    this.#pieces[0] = HEADER_AT;
    this.#pieces[1] = VNET_LEN;
  }
}
