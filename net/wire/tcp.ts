/**
 * TCP header view: {@link https://www.rfc-editor.org/rfc/rfc9293 | RFC 9293 section 3.1}.
 *
 * ```
 *  0                   15 16                   31
 * +----------------------+----------------------+
 * |     source port      |   destination port   |  0
 * |               sequence number               |  4
 * |            acknowledgment number            |  8
 * | offset |  reserved   | flags |    window    | 12
 * |       checksum       |    urgent pointer    | 16
 * |      options, 0 to 40 bytes (offset > 5)    | 20
 * +---------------------------------------------+
 * ```
 *
 * Lengths are in bytes except the data offset (32-bit words), fields are big-endian. Sequence
 * numbers are unsigned 32 bits and wrap. Options are handed out as they stand.
 *
 * @module
 */

import { readU16, readU32 } from "./bytes.ts";
import { onesSum, pseudoHeaderSum } from "./checksum.ts";
import { ipv4ToString } from "./ip_address.ts";
import { PROTOCOL } from "./ipv4.ts";

/** Offset of the source port. */
export const TCP_SOURCE_PORT = 0;
/** Offset of the destination port. */
export const TCP_DESTINATION_PORT = 2;
/** Offset of the sequence number. */
export const TCP_SEQUENCE = 4;
/** Offset of the acknowledgment number. */
export const TCP_ACKNOWLEDGMENT = 8;
/** Offset of the data offset, in its upper four bits. */
export const TCP_DATA_OFFSET = 12;
/** Offset of the flags. */
export const TCP_FLAGS = 13;
/** Offset of the window. */
export const TCP_WINDOW = 14;
/** Offset of the checksum. */
export const TCP_CHECKSUM = 16;
/** Offset of the urgent pointer. */
export const TCP_URGENT = 18;
/** Length of a header without options, in bytes. */
export const TCP_HEADER_LEN = 20;

/** Bits of the byte at {@link TCP_FLAGS}. */
export const TCP_FLAG = {
  /** No more data from the sender. */
  fin: 0x01,
  /** Synchronize sequence numbers. */
  syn: 0x02,
  /** Reset the connection. */
  rst: 0x04,
  /** Push function. */
  psh: 0x08,
  /** The acknowledgment number is valid. */
  ack: 0x10,
  /** The urgent pointer is valid. */
  urg: 0x20,
  /** ECN echo, RFC 3168. */
  ece: 0x40,
  /** Congestion window reduced, RFC 3168. */
  cwr: 0x80,
} as const;

/** Why a segment was refused. */
export type TcpFault = "truncated" | "bad-header-length";

/** A parsed segment. `options` and `payload` alias the input buffer. */
export interface TcpSegment {
  /** Source port. */
  readonly sourcePort: number;
  /** Destination port. */
  readonly destinationPort: number;
  /** Sequence number, unsigned 32 bits. */
  readonly sequence: number;
  /** Acknowledgment number, unsigned 32 bits; meaningful with {@link TCP_FLAG}`.ack`. */
  readonly acknowledgment: number;
  /** Bits of {@link TCP_FLAG}. */
  readonly flags: number;
  /** Window as it stands, not scaled. */
  readonly window: number;
  /** Checksum as received. */
  readonly checksum: number;
  /** Options as they stand; aliases the input buffer. */
  readonly options: Uint8Array;
  /** Payload; aliases the input buffer. */
  readonly payload: Uint8Array;
}

/** Parses a segment out of an IPv4 payload. Never throws. */
export function parseTcp(segment: Uint8Array): TcpSegment | TcpFault {
  if (segment.length < TCP_HEADER_LEN) return "truncated";
  const headerLength = ((segment[TCP_DATA_OFFSET] ?? 0) >>> 4) * 4;
  if (headerLength < TCP_HEADER_LEN) return "bad-header-length";
  if (headerLength > segment.length) return "truncated";
  return {
    sourcePort: readU16(segment, TCP_SOURCE_PORT),
    destinationPort: readU16(segment, TCP_DESTINATION_PORT),
    sequence: readU32(segment, TCP_SEQUENCE),
    acknowledgment: readU32(segment, TCP_ACKNOWLEDGMENT),
    flags: segment[TCP_FLAGS] ?? 0,
    window: readU16(segment, TCP_WINDOW),
    checksum: readU16(segment, TCP_CHECKSUM),
    options: segment.subarray(TCP_HEADER_LEN, headerLength),
    payload: segment.subarray(headerLength),
  };
}

/** Whether the checksum of the segment of `length` bytes at `at` is right. */
export function tcpChecksumValid(
  b: Uint8Array,
  at: number,
  length: number,
  source: number,
  destination: number,
): boolean {
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL.tcp, length);
  return onesSum(b, at, length, pseudo) === 0xffff;
}

/** `SYN|ACK`, in the order of the bits; `none` when no flag is set. */
export function formatTcpFlags(flags: number): string {
  const set = Object.entries(TCP_FLAG).filter(([, bit]) => (flags & bit) !== 0);
  return set.map(([name]) => name.toUpperCase()).join("|") || "none";
}

/** `TCP 10.0.0.2:40000 > 10.0.0.1:22 SYN len 0`; the length is that of the payload. */
export function formatTcp(tcp: TcpSegment, source: number, destination: number): string {
  return `TCP ${ipv4ToString(source)}:${tcp.sourcePort} > ` +
    `${ipv4ToString(destination)}:${tcp.destinationPort} ` +
    `${formatTcpFlags(tcp.flags)} len ${tcp.payload.length}`;
}
