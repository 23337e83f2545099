/**
 * From what a TUN device with offloads gives to packets that can go on a wire.
 *
 * The kernel hands over up to 64 KiB of one TCP flow behind a single header, and leaves checksums to
 * the "card". Here that is cut into segments: length, IP id and checksum, sequence number, flags and
 * TCP checksum are those the kernel would have written (inet_gso_segment, tcp_gso_segment), and each
 * segment goes straight into the memory it will be sealed and sent from. A sink that sends nothing on
 * gets it as it is (`takeWhole`): cutting it and making checksums would be undone at once.
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
const IP_PROTOCOL = 9;
const IP_CHECKSUM = 10;
const IP_HEADER_LEN = 20;
const TCP = 6;
const TCP_SEQ = 4;
const TCP_OFFSET = 12;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const TCP_HEADER_LEN = 20;
const FIN = 0x01;
const PSH = 0x08;
const CWR = 0x80;

/** What became of one read: packets written to the sink, or a fault word to count. */
export type SplitResult = number | "malformed" | "unsupported";

/** Splits what was read into one long-lived buffer. */
export class OffloadSplit {
  readonly #in: Uint8Array;
  readonly #view: DataView;
  #out: Uint8Array = new Uint8Array(0);
  #outView: DataView = new DataView(this.#out.buffer);

  /** Reads from `buffer`, which lives as long as this does. */
  constructor(buffer: Uint8Array) {
    this.#in = buffer;
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }

  /**
   * Writes the packets behind the virtio header at `at` to `sink`, without flushing it. Segments for
   * which the sink has no room are lost, as on any full link.
   *
   * @param at Offset of the virtio header.
   * @param length Bytes of header and packet.
   */
  split(at: number, length: number, sink: PacketSink): SplitResult {
    const ip = at + VNET_LEN;
    const size = length - VNET_LEN;
    if (size < IP_HEADER_LEN) return "malformed";
    const type = this.#view.getUint8(at + VNET.gsoType);
    if (type === VNET_GSO_TCPV4) return this.#segment(at, ip, size, sink);
    if (type !== VNET_GSO_NONE) return "unsupported";
    if ((this.#view.getUint8(at + VNET.flags) & VNET_NEEDS_CHECKSUM) !== 0) {
      if (sink.takeWhole !== undefined && this.#tcpHeaders(ip, size) > 0) {
        sink.takeWhole(this.#in, ip, size);
        return 1;
      }
      if (!this.#completeChecksum(at, ip, size)) return "malformed";
    }
    const to = sink.reserve(size);
    if (to < 0) return 0;
    sink.buffer.set(this.#in.subarray(ip, ip + size), to);
    sink.commit(size);
    return 1;
  }

  #completeChecksum(at: number, ip: number, size: number): boolean {
    const start = this.#view.getUint16(at + VNET.checksumStart, true);
    const field = start + this.#view.getUint16(at + VNET.checksumOffset, true);
    if (start > size || field + 2 > size) return false;
    const sum = ~nativeSum(this.#view, ip + start, size - start) & 0xffff;
    // RFC 768: a computed checksum of zero is sent as all ones. For TCP the two mean the same.
    this.#view.setUint16(ip + field, sum || 0xffff, true);
    return true;
  }

  #segment(at: number, ip: number, size: number, sink: PacketSink): SplitResult {
    const view = this.#view;
    const headers = this.#tcpHeaders(ip, size);
    const gso = view.getUint16(at + VNET.gsoSize, true);
    if (headers === 0 || gso === 0) return "malformed";
    if (sink.takeWhole !== undefined) {
      sink.takeWhole(this.#in, ip, size);
      return 1;
    }
    const ipLength = (view.getUint8(ip) & 15) * 4;
    const tcp = ip + ipLength;
    const seq = view.getUint32(tcp + TCP_SEQ);
    const id = view.getUint16(ip + IP_ID);
    const flags = view.getUint8(tcp + TCP_FLAGS);
    const payload = size - headers;
    let done = 0;
    let index = 0;
    do {
      const part = Math.min(gso, payload - done);
      const to = sink.reserve(headers + part);
      if (to >= 0) {
        if (sink.buffer !== this.#out) this.#useOutput(sink.buffer);
        const out = this.#out;
        out.set(this.#in.subarray(ip, ip + headers), to);
        const from = ip + headers + done;
        out.set(this.#in.subarray(from, from + part), to + headers);
        // RFC 3168 section 6.1.2: CWR goes with the first segment only; FIN and PSH with the last.
        let f = flags;
        if (index > 0) f &= ~CWR;
        if (done + part < payload) f &= ~(FIN | PSH);
        this.#finish(to, ipLength, headers + part, id + index, seq + done, f);
        sink.commit(headers + part);
      }
      done += part;
      index++;
    } while (done < payload);
    return index;
  }

  /**
   * Length of the headers of a TCP packet over IPv4, or 0 when it is none. The kernel's own number is
   * that of the whole first packet when it forwards, so they are measured here.
   */
  #tcpHeaders(ip: number, size: number): number {
    const view = this.#view;
    const ipLength = (view.getUint8(ip) & 15) * 4;
    if (view.getUint8(ip) >>> 4 !== 4 || view.getUint8(ip + IP_PROTOCOL) !== TCP) return 0;
    if (ipLength < IP_HEADER_LEN || ipLength + TCP_HEADER_LEN > size) return 0;
    const tcpLength = (view.getUint8(ip + ipLength + TCP_OFFSET) >>> 4) * 4;
    const headers = ipLength + tcpLength;
    return tcpLength < TCP_HEADER_LEN || headers > size ? 0 : headers;
  }

  #useOutput(buffer: Uint8Array): void {
    this.#out = buffer;
    this.#outView = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }

  #finish(
    ip: number,
    ipLength: number,
    total: number,
    id: number,
    seq: number,
    flags: number,
  ): void {
    const out = this.#outView;
    out.setUint16(ip + IP_TOTAL_LENGTH, total);
    out.setUint16(ip + IP_ID, id);
    out.setUint16(ip + IP_CHECKSUM, 0);
    out.setUint16(ip + IP_CHECKSUM, ~nativeSum(out, ip, ipLength), true);
    const tcp = ip + ipLength;
    const length = total - ipLength;
    out.setUint32(tcp + TCP_SEQ, seq);
    out.setUint8(tcp + TCP_FLAGS, flags);
    out.setUint16(tcp + TCP_CHECKSUM, 0);
    const sum = foldSum(nativeSum(out, tcp, length) + nativePseudoSum(out, ip, length));
    out.setUint16(tcp + TCP_CHECKSUM, ~sum, true);
  }
}
