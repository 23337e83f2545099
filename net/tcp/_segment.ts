/**
 * The TCP segment looked at last; made once and read into again and again.
 *
 * @module
 */

import { foldSum, nativePseudoSum, nativeSum } from "../wire/checksum.ts";
import {
  TCP_ACKNOWLEDGMENT,
  TCP_DATA_OFFSET,
  TCP_DESTINATION_PORT,
  TCP_FLAG,
  TCP_FLAGS,
  TCP_HEADER_LEN,
  TCP_SEQUENCE,
  TCP_SOURCE_PORT,
  TCP_WINDOW,
} from "../wire/tcp.ts";
import { TcpOptions } from "../wire/tcp_options.ts";
import type { IpAddress } from "./address.ts";
import type { StackCounters } from "./counters.ts";
import type { IpPacket } from "./ip_in.ts";

/** Whether the checksum says that nothing was damaged. */
function isWhole({ view, at, payloadAt }: IpPacket, length: number): boolean {
  const sum = nativeSum(view, payloadAt, length) + nativePseudoSum(view, at, length);
  return foldSum(sum) === 0xffff;
}

/** SEG of RFC 9293 section 3.3.1. */
export class Segment {
  /** Theirs. */
  source: IpAddress = 0;
  sourcePort = 0;
  /** Ours. */
  destination: IpAddress = 0;
  destinationPort = 0;
  /** SEG.SEQ. */
  sequence = 0;
  /** SEG.ACK. */
  acknowledgment = 0;
  /** Bits of TCP_FLAG. */
  flags = 0;
  /** SEG.WND, not scaled. */
  window = 0;
  /** Where the data lies. */
  buffer: Uint8Array = new Uint8Array(0);
  /** Offset of the data. */
  dataAt = 0;
  /** Bytes of data. */
  length = 0;
  readonly options = new TcpOptions();

  /** Reads a packet's payload; false when it is refused, which is counted. Never throws. */
  read(packet: IpPacket, counters: StackCounters): boolean {
    const view = packet.view;
    const at = packet.payloadAt;
    const length = packet.end - at;
    if (length < TCP_HEADER_LEN) {
      counters.badSegment++;
      return false;
    }
    const headerLength = (view.getUint8(at + TCP_DATA_OFFSET) >>> 4) * 4;
    if (headerLength < TCP_HEADER_LEN || headerLength > length) {
      counters.badSegment++;
      return false;
    }
    if (!packet.sound && !isWhole(packet, length)) {
      counters.badChecksum++;
      return false;
    }
    this.source = packet.source;
    this.destination = packet.destination;
    this.sourcePort = view.getUint16(at + TCP_SOURCE_PORT);
    this.destinationPort = view.getUint16(at + TCP_DESTINATION_PORT);
    this.sequence = view.getInt32(at + TCP_SEQUENCE);
    this.acknowledgment = view.getInt32(at + TCP_ACKNOWLEDGMENT);
    this.flags = view.getUint8(at + TCP_FLAGS);
    this.window = view.getUint16(at + TCP_WINDOW);
    this.buffer = packet.buffer;
    this.dataAt = at + headerLength;
    this.length = length - headerLength;
    this.options.read(view, at + TCP_HEADER_LEN, this.dataAt);
    return true;
  }

  /** Whether any bit of `mask` is set. */
  has(mask: number): boolean {
    return (this.flags & mask) !== 0;
  }

  /** SEG.LEN: sequence numbers that it takes. */
  get sequenceLength(): number {
    return this.length + (this.has(TCP_FLAG.syn) ? 1 : 0) + (this.has(TCP_FLAG.fin) ? 1 : 0);
  }
}
