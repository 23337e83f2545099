/**
 * Ethernet II frames: IEEE 802.3 clause 3 and
 * {@link https://www.rfc-editor.org/rfc/rfc894 | RFC 894}. No preamble, no frame check sequence:
 * neither a TAP device nor a virtual machine's cable carries them.
 *
 * ```
 * 0             6            12      14
 * +-------------+-------------+-------+------------------
 * | destination |   source    | type  | payload, 0..1500
 * +-------------+-------------+-------+------------------
 * ```
 *
 * Lengths are in bytes, the type is big-endian. A MAC address is a 48-bit number, so that two are
 * the same when `===` says so.
 *
 * @module
 */

import { readU16, readU32, writeU16, writeU32 } from "./bytes.ts";

/** Offset of the destination address. */
export const ETH_DESTINATION = 0;
/** Offset of the source address. */
export const ETH_SOURCE = 6;
/** Offset of the EtherType. */
export const ETH_TYPE = 12;
/** Length of an Ethernet header, in bytes. */
export const ETH_HEADER_LEN = 14;
/** Largest payload of a frame that is not a jumbo frame, in bytes. */
export const ETH_MTU = 1500;
/** Largest frame that is not a jumbo frame, in bytes. */
export const ETH_MAX_LEN: number = ETH_HEADER_LEN + ETH_MTU;

/** EtherTypes (IANA, "IEEE 802 numbers"). */
export const ETHERTYPE = {
  /** RFC 894. */
  ipv4: 0x0800,
  /** RFC 826. */
  arp: 0x0806,
  /** IEEE 802.1Q customer tag. */
  vlan: 0x8100,
  /** IEEE 802.1ad service tag. */
  serviceVlan: 0x88a8,
  /** RFC 2464. */
  ipv6: 0x86dd,
} as const;

/** ff:ff:ff:ff:ff:ff. */
export const MAC_BROADCAST = 0xffffffffffff;

/** Why a frame was refused. */
export type EthernetFault = "truncated";

/** A parsed frame. `payload` aliases the input buffer. */
export interface EthernetFrame {
  /** Destination MAC address, 48 bits. */
  readonly destination: number;
  /** Source MAC address, 48 bits. */
  readonly source: number;
  /** EtherType; below 0x0600 it is an IEEE 802.3 length. */
  readonly type: number;
  /** What follows the header, padding included; aliases the input buffer. */
  readonly payload: Uint8Array;
}

/** The MAC address at `at`, 48 bits. */
export function readMac(b: Uint8Array, at: number): number {
  return readU16(b, at) * 0x100000000 + readU32(b, at + 2);
}

/** Writes a MAC address at `at`. */
export function writeMac(b: Uint8Array, at: number, mac: number): void {
  writeU16(b, at, Math.floor(mac / 0x100000000));
  writeU32(b, at + 2, mac >>> 0);
}

/** `52:54:00:12:34:56` as a number; undefined when it is anything else. */
export function parseMac(text: string): number | undefined {
  if (!/^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$/.test(text)) return undefined;
  return Number.parseInt(text.replaceAll(":", ""), 16);
}

/** `52:54:00:12:34:56`, lower case. */
export function formatMac(mac: number): string {
  return mac.toString(16).padStart(12, "0").replace(/..(?!$)/g, "$&:");
}

/** Parses a frame. Never throws: the input comes from a guest. */
export function parseEthernet(frame: Uint8Array): EthernetFrame | EthernetFault {
  if (frame.length < ETH_HEADER_LEN) return "truncated";
  return {
    destination: readMac(frame, ETH_DESTINATION),
    source: readMac(frame, ETH_SOURCE),
    type: readU16(frame, ETH_TYPE),
    payload: frame.subarray(ETH_HEADER_LEN),
  };
}

/** Writes an Ethernet header at `at`. */
export function writeEthernet(
  b: Uint8Array,
  at: number,
  destination: number,
  source: number,
  type: number,
): void {
  writeMac(b, at + ETH_DESTINATION, destination);
  writeMac(b, at + ETH_SOURCE, source);
  writeU16(b, at + ETH_TYPE, type);
}

/** The bytes of a frame: what {@link parseEthernet} gives back. */
export function emitEthernet(frame: EthernetFrame): Uint8Array {
  const out = new Uint8Array(ETH_HEADER_LEN + frame.payload.length);
  writeEthernet(out, 0, frame.destination, frame.source, frame.type);
  out.set(frame.payload, ETH_HEADER_LEN);
  return out;
}

/** `52:54:00:00:00:02 > ff:ff:ff:ff:ff:ff type 0x88cc len 46`. */
export function formatEthernet(frame: EthernetFrame): string {
  const type = frame.type.toString(16).padStart(4, "0");
  return `${formatMac(frame.source)} > ${formatMac(frame.destination)} type 0x${type} ` +
    `len ${frame.payload.length}`;
}
