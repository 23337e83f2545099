/**
 * UDP header: {@link https://www.rfc-editor.org/rfc/rfc768 | RFC 768}.
 *
 * ```
 *  0      7 8     15 16    23 24    31
 * +--------+--------+--------+--------+
 * |   source port   | destination port|
 * |     length      |    checksum     |
 * +--------+--------+--------+--------+
 * ```
 *
 * Lengths are in bytes. Ports and lengths are big-endian.
 *
 * @module
 */

import { readU16, writeU16 } from "./bytes.ts";
import { checksum, onesSum, pseudoHeaderSum } from "./checksum.ts";
import { ipv4ToString } from "./ip_address.ts";
import { PROTOCOL } from "./ipv4.ts";

/** Offset of the source port. */
export const UDP_SOURCE_PORT = 0;
/** Offset of the destination port. */
export const UDP_DESTINATION_PORT = 2;
/** Offset of the length, header included. */
export const UDP_LENGTH = 4;
/** Offset of the checksum; 0 means the sender computed none. */
export const UDP_CHECKSUM = 6;
/** Length of a UDP header, in bytes. */
export const UDP_HEADER_LEN = 8;

/** Why a datagram was refused. One value per drop counter. */
export type UdpFault = "truncated" | "bad-length";

/** Parsed UDP datagram. `payload` aliases the input buffer. */
export interface UdpDatagram {
  /** Source port. */
  readonly sourcePort: number;
  /** Destination port. */
  readonly destinationPort: number;
  /** Checksum as received; 0 means the sender computed none. */
  readonly checksum: number;
  /** Payload; aliases the input buffer. */
  readonly payload: Uint8Array;
}

/**
 * Parses a UDP datagram out of an IPv4 payload; bytes past its length are padding and ignored.
 *
 * Never throws: the input comes from the guest or the mesh.
 */
export function parseUdp(packet: Uint8Array): UdpDatagram | UdpFault {
  if (packet.length < UDP_HEADER_LEN) return "truncated";
  const length = readU16(packet, UDP_LENGTH);
  if (length < UDP_HEADER_LEN || length > packet.length) return "bad-length";
  return {
    sourcePort: readU16(packet, UDP_SOURCE_PORT),
    destinationPort: readU16(packet, UDP_DESTINATION_PORT),
    checksum: readU16(packet, UDP_CHECKSUM),
    payload: packet.subarray(UDP_HEADER_LEN, length),
  };
}

/** Whether the checksum of the datagram of `length` bytes at `at` is right or was not computed. */
export function udpChecksumValid(
  b: Uint8Array,
  at: number,
  length: number,
  source: number,
  destination: number,
): boolean {
  if (readU16(b, at + UDP_CHECKSUM) === 0) return true;
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL.udp, length);
  return onesSum(b, at, length, pseudo) === 0xffff;
}

/**
 * Writes a header at `at` in front of `payloadLength` bytes that are already in place, with the
 * checksum over both; a sum of 0 is sent as 0xffff, because 0 says that there is none.
 */
export function writeUdp(
  b: Uint8Array,
  at: number,
  source: number,
  sourcePort: number,
  destination: number,
  destinationPort: number,
  payloadLength: number,
): void {
  const length = UDP_HEADER_LEN + payloadLength;
  writeU16(b, at + UDP_SOURCE_PORT, sourcePort);
  writeU16(b, at + UDP_DESTINATION_PORT, destinationPort);
  writeU16(b, at + UDP_LENGTH, length);
  writeU16(b, at + UDP_CHECKSUM, 0);
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL.udp, length);
  writeU16(b, at + UDP_CHECKSUM, checksum(b, at, length, pseudo) || 0xffff);
}

/** `UDP 10.0.0.2:53 > 10.0.0.1:9 len 12`; the length is that of the payload. */
export function formatUdp(udp: UdpDatagram, source: number, destination: number): string {
  return `UDP ${ipv4ToString(source)}:${udp.sourcePort} > ` +
    `${ipv4ToString(destination)}:${udp.destinationPort} len ${udp.payload.length}`;
}
