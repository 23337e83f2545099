/**
 * IPv4 header: {@link https://www.rfc-editor.org/rfc/rfc791 | RFC 791}.
 *
 * ```
 *  0       4       8               16                              31
 * +-------+-------+---------------+-------------------------------+
 * |version|  IHL  |    DSCP/ECN   |          total length         |  0
 * +-------+-------+---------------+-----+-------------------------+
 * |        identification         |flags|     fragment offset     |  4
 * +---------------+---------------+-----+-------------------------+
 * |      TTL      |    protocol   |        header checksum        |  8
 * +---------------+---------------+-------------------------------+
 * |                         source address                        | 12
 * |                      destination address                      | 16
 * |                 options, 0 to 40 bytes (IHL > 5)              | 20
 * +---------------------------------------------------------------+
 * ```
 *
 * Lengths are in bytes except IHL (32-bit words), fields are big-endian, addresses are unsigned
 * 32-bit numbers.
 *
 * @module
 */

import { readU16, readU32, writeU16, writeU32 } from "./bytes.ts";
import { checksum, foldSum } from "./checksum.ts";
import { ipv4ToString } from "./ip_address.ts";

/** Offset of version and header length. */
export const IPV4_VERSION_IHL = 0;
const DSCP_ECN = 1;
/** Offset of the total length, header included. */
export const IPV4_TOTAL_LENGTH = 2;
/** Offset of the identification. */
export const IPV4_IDENTIFICATION = 4;
/** Offset of the flags and the fragment offset. */
export const IPV4_FRAGMENT = 6;
/** Offset of the time to live. */
export const IPV4_TTL = 8;
/** Offset of the protocol number. */
export const IPV4_PROTOCOL = 9;
/** Offset of the header checksum. */
export const IPV4_CHECKSUM = 10;
/** Offset of the source address. */
export const IPV4_SOURCE = 12;
/** Offset of the destination address. */
export const IPV4_DESTINATION = 16;
/** Length of a header without options, in bytes. */
export const IPV4_HEADER_LEN = 20;

/** Version 4 and a header of five words: the first byte of a packet without options. */
export const IPV4_PLAIN = 0x45;
/** "Don't fragment", in the field at {@link IPV4_FRAGMENT}. */
export const IPV4_DF = 0x4000;
/** "More fragments", in the field at {@link IPV4_FRAGMENT}. */
export const IPV4_MF = 0x2000;
/** The fragment offset, in units of 8 bytes, in the field at {@link IPV4_FRAGMENT}. */
export const IPV4_OFFSET_MASK = 0x1fff;
/** Bits of the field at {@link IPV4_FRAGMENT} that are zero in anything but a fragment. */
export const IPV4_IS_FRAGMENT = IPV4_MF | IPV4_OFFSET_MASK;

/** Time to live of packets made here (RFC 1700 "IP option numbers": 64). */
export const IPV4_DEFAULT_TTL = 64;

/** Protocol numbers (IANA). */
export const PROTOCOL = {
  /** RFC 792. */
  icmp: 1,
  /** RFC 9293. */
  tcp: 6,
  /** RFC 768. */
  udp: 17,
} as const;

/** Why a packet was refused. */
export type Ipv4Fault =
  | "truncated"
  | "bad-version"
  | "bad-header-length"
  | "bad-length"
  | "bad-checksum";

/** A parsed packet. `options` and `payload` alias the input buffer. */
export interface Ipv4Packet {
  /** Source address, unsigned 32 bits. */
  readonly source: number;
  /** Destination address, unsigned 32 bits. */
  readonly destination: number;
  /** Protocol number, see {@link PROTOCOL}; others are kept as they are. */
  readonly protocol: number;
  /** Time to live, hops. */
  readonly ttl: number;
  /** Identification, 16 bits. */
  readonly identification: number;
  /** Whether this is a fragment: more follow, or it is not the first. */
  readonly fragment: boolean;
  /** Fragment offset, in bytes. */
  readonly fragmentOffset: number;
  /** Length of the header with options, in bytes: 20 to 60. */
  readonly headerLength: number;
  /** Options as they stand; aliases the input buffer. */
  readonly options: Uint8Array;
  /** Payload up to the total length; aliases the input buffer. */
  readonly payload: Uint8Array;
}

/** Header length at `at`, in bytes; anything from 0 to 60. */
export function ipv4HeaderLength(b: Uint8Array, at: number): number {
  return ((b[at + IPV4_VERSION_IHL] ?? 0) & 15) * 4;
}

/**
 * Parses a packet; bytes past its total length are padding and ignored.
 *
 * Never throws: the input comes from a guest or the mesh.
 */
export function parseIpv4Packet(packet: Uint8Array): Ipv4Packet | Ipv4Fault {
  if (packet.length < IPV4_HEADER_LEN) return "truncated";
  if ((packet[IPV4_VERSION_IHL] ?? 0) >>> 4 !== 4) return "bad-version";
  const headerLength = ipv4HeaderLength(packet, 0);
  if (headerLength < IPV4_HEADER_LEN) return "bad-header-length";
  if (headerLength > packet.length) return "truncated";
  const total = readU16(packet, IPV4_TOTAL_LENGTH);
  if (total < headerLength || total > packet.length) return "bad-length";
  if (checksum(packet, 0, headerLength) !== 0) return "bad-checksum";
  const fragment = readU16(packet, IPV4_FRAGMENT);
  return {
    source: readU32(packet, IPV4_SOURCE),
    destination: readU32(packet, IPV4_DESTINATION),
    protocol: packet[IPV4_PROTOCOL] ?? 0,
    ttl: packet[IPV4_TTL] ?? 0,
    identification: readU16(packet, IPV4_IDENTIFICATION),
    fragment: (fragment & IPV4_IS_FRAGMENT) !== 0,
    fragmentOffset: (fragment & IPV4_OFFSET_MASK) * 8,
    headerLength,
    options: packet.subarray(IPV4_HEADER_LEN, headerLength),
    payload: packet.subarray(headerLength, total),
  };
}

/**
 * Sum of the ten header words at `at`, for a header without options: 0xffff when its checksum is
 * valid. A header is too short for the loop of `onesSum` to pay.
 */
export function ipv4HeaderSum(b: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = at; i < at + IPV4_HEADER_LEN; i += 2) sum += readU16(b, i);
  return foldSum(sum);
}

/** Writes a header without options at `at`: not a fragment, DF set, checksum in place. */
export function writeIpv4(
  b: Uint8Array,
  at: number,
  source: number,
  destination: number,
  protocol: number,
  totalLength: number,
  identification: number,
): void {
  b[at + IPV4_VERSION_IHL] = IPV4_PLAIN;
  b[at + DSCP_ECN] = 0;
  writeU16(b, at + IPV4_TOTAL_LENGTH, totalLength);
  writeU16(b, at + IPV4_IDENTIFICATION, identification);
  writeU16(b, at + IPV4_FRAGMENT, IPV4_DF);
  b[at + IPV4_TTL] = IPV4_DEFAULT_TTL;
  b[at + IPV4_PROTOCOL] = protocol;
  writeU16(b, at + IPV4_CHECKSUM, 0);
  writeU32(b, at + IPV4_SOURCE, source);
  writeU32(b, at + IPV4_DESTINATION, destination);
  writeU16(b, at + IPV4_CHECKSUM, ~ipv4HeaderSum(b, at));
}

/** `10.0.0.2 > 10.0.0.1 proto 47 len 12`; a fragment says so. */
export function formatIpv4(packet: Ipv4Packet): string {
  const fragment = packet.fragment ? ` frag at ${packet.fragmentOffset}` : "";
  return `${ipv4ToString(packet.source)} > ${ipv4ToString(packet.destination)} ` +
    `proto ${packet.protocol} len ${packet.payload.length}${fragment}`;
}
