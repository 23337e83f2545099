/**
 * ICMP header: {@link https://www.rfc-editor.org/rfc/rfc792 | RFC 792}.
 *
 * ```
 * 0       1       2               4                               8
 * +-------+-------+---------------+-------------------------------+-------
 * | type  | code  |   checksum    | rest, e.g. identifier, number | data
 * +-------+-------+---------------+-------------------------------+-------
 * ```
 *
 * Lengths are in bytes, fields are big-endian. The checksum covers header and data, without a
 * pseudo header.
 *
 * @module
 */

import { readU16, readU32 } from "./bytes.ts";
import { checksum } from "./checksum.ts";
import { ipv4ToString } from "./ip_address.ts";

/** Offset of the type. */
export const ICMP_TYPE = 0;
/** Offset of the code. */
export const ICMP_CODE = 1;
/** Offset of the checksum. */
export const ICMP_CHECKSUM = 2;
/** Offset of the four bytes whose meaning depends on the type. */
export const ICMP_REST = 4;
/** Length of an ICMP header, in bytes. */
export const ICMP_HEADER_LEN = 8;

/** Types that are told apart here; others are kept as numbers. */
export const ICMP = {
  /** Echo reply. */
  echoReply: 0,
  /** Destination unreachable. */
  unreachable: 3,
  /** Echo request. */
  echoRequest: 8,
  /** Time exceeded. */
  timeExceeded: 11,
} as const;

/** Why a message was refused. */
export type IcmpFault = "truncated" | "bad-checksum";

/** A parsed message. `data` aliases the input buffer. */
export interface IcmpMessage {
  /** Type, see {@link ICMP}. */
  readonly type: number;
  /** Code, of the type. */
  readonly code: number;
  /** Bytes 4 to 7: of an echo, identifier in the upper and number in the lower half. */
  readonly rest: number;
  /** What follows the header; aliases the input buffer. */
  readonly data: Uint8Array;
}

/** Parses a message out of an IPv4 payload. Never throws. */
export function parseIcmp(message: Uint8Array): IcmpMessage | IcmpFault {
  if (message.length < ICMP_HEADER_LEN) return "truncated";
  if (checksum(message, 0, message.length) !== 0) return "bad-checksum";
  return {
    type: message[ICMP_TYPE] ?? 0,
    code: message[ICMP_CODE] ?? 0,
    rest: readU32(message, ICMP_REST),
    data: message.subarray(ICMP_HEADER_LEN),
  };
}

/** `ICMP 10.0.0.2 > 10.0.0.1 echo request id 7 seq 1 len 56`. */
export function formatIcmp(message: Uint8Array, source: number, destination: number): string {
  const ends = `ICMP ${ipv4ToString(source)} > ${ipv4ToString(destination)}`;
  const type = message[ICMP_TYPE] ?? 0;
  const data = message.length - ICMP_HEADER_LEN;
  switch (type) {
    case ICMP.echoRequest:
    case ICMP.echoReply: {
      const kind = type === ICMP.echoRequest ? "request" : "reply";
      const id = readU16(message, ICMP_REST);
      return `${ends} echo ${kind} id ${id} seq ${readU16(message, ICMP_REST + 2)} len ${data}`;
    }
    case ICMP.unreachable:
      return `${ends} unreachable code ${message[ICMP_CODE] ?? 0} len ${data}`;
    case ICMP.timeExceeded:
      return `${ends} time exceeded code ${message[ICMP_CODE] ?? 0} len ${data}`;
    default:
      return `${ends} type ${type} code ${message[ICMP_CODE] ?? 0} len ${data}`;
  }
}
