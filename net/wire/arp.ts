/**
 * ARP for IPv4 over Ethernet: {@link https://www.rfc-editor.org/rfc/rfc826 | RFC 826}; probes and
 * announcements are those of {@link https://www.rfc-editor.org/rfc/rfc5227 | RFC 5227}.
 *
 * ```
 * 0        2        4    5    6        8               14          18              24          28
 * +--------+--------+----+----+--------+---------------+-----------+---------------+-----------+
 * | hw = 1 | 0x0800 |  6 |  4 | opcode |  sender MAC   | sender IP |  target MAC   | target IP |
 * +--------+--------+----+----+--------+---------------+-----------+---------------+-----------+
 * ```
 *
 * Offsets and lengths are in bytes, fields are big-endian.
 *
 * @module
 */

import { readU16, readU32, writeU16, writeU32 } from "./bytes.ts";
import { ETHERTYPE, formatMac, readMac, writeMac } from "./ethernet.ts";
import { ipv4ToString } from "./ip_address.ts";

const HARDWARE = 0;
const PROTOCOL = 2;
const HARDWARE_LEN = 4;
const PROTOCOL_LEN = 5;
/** Offset of the opcode. */
export const ARP_OPCODE = 6;
/** Offset of the sender's MAC address. */
export const ARP_SENDER_MAC = 8;
/** Offset of the sender's IPv4 address. */
export const ARP_SENDER_IP = 14;
/** Offset of the target's MAC address. */
export const ARP_TARGET_MAC = 18;
/** Offset of the target's IPv4 address. */
export const ARP_TARGET_IP = 24;
/** Length of an ARP packet, in bytes. */
export const ARP_LEN = 28;

const HARDWARE_ETHERNET = 1;

/** Who has the target address? */
export const ARP_REQUEST = 1;
/** The sender has the sender's address. */
export const ARP_REPLY = 2;

/** Why a packet was refused: too short, or not IPv4 over Ethernet. */
export type ArpFault = "truncated" | "not-ipv4-over-ethernet";

/** A parsed ARP packet. */
export interface ArpPacket {
  /** {@link ARP_REQUEST}, {@link ARP_REPLY} or a number that is neither. */
  readonly opcode: number;
  /** MAC address of the sender, 48 bits. */
  readonly senderMac: number;
  /** IPv4 address of the sender; 0 in a probe. */
  readonly senderIp: number;
  /** MAC address of the target, 48 bits; ignored in a request. */
  readonly targetMac: number;
  /** IPv4 address of the target. */
  readonly targetIp: number;
}

/** Whether the fixed fields at `at` say IPv4 over Ethernet; 8 bytes must be there. */
export function isArpIpv4(b: Uint8Array, at: number): boolean {
  return readU16(b, at + HARDWARE) === HARDWARE_ETHERNET &&
    readU16(b, at + PROTOCOL) === ETHERTYPE.ipv4 &&
    b[at + HARDWARE_LEN] === 6 && b[at + PROTOCOL_LEN] === 4;
}

/** Parses an ARP packet; bytes behind it are padding and ignored. Never throws. */
export function parseArp(packet: Uint8Array): ArpPacket | ArpFault {
  if (packet.length < ARP_LEN) return "truncated";
  if (!isArpIpv4(packet, 0)) return "not-ipv4-over-ethernet";
  return {
    opcode: readU16(packet, ARP_OPCODE),
    senderMac: readMac(packet, ARP_SENDER_MAC),
    senderIp: readU32(packet, ARP_SENDER_IP),
    targetMac: readMac(packet, ARP_TARGET_MAC),
    targetIp: readU32(packet, ARP_TARGET_IP),
  };
}

/** Writes an ARP packet at `at`: {@link ARP_LEN} bytes. */
export function writeArp(
  b: Uint8Array,
  at: number,
  opcode: number,
  senderMac: number,
  senderIp: number,
  targetMac: number,
  targetIp: number,
): void {
  writeU16(b, at + HARDWARE, HARDWARE_ETHERNET);
  writeU16(b, at + PROTOCOL, ETHERTYPE.ipv4);
  b[at + HARDWARE_LEN] = 6;
  b[at + PROTOCOL_LEN] = 4;
  writeU16(b, at + ARP_OPCODE, opcode);
  writeMac(b, at + ARP_SENDER_MAC, senderMac);
  writeU32(b, at + ARP_SENDER_IP, senderIp);
  writeMac(b, at + ARP_TARGET_MAC, targetMac);
  writeU32(b, at + ARP_TARGET_IP, targetIp);
}

/** `ARP who-has 10.0.0.1 tell 10.0.0.2` or `ARP 10.0.0.1 is-at 52:54:00:00:00:01`. */
export function formatArp(arp: ArpPacket): string {
  const sender = ipv4ToString(arp.senderIp);
  if (arp.opcode === ARP_REQUEST) return `ARP who-has ${ipv4ToString(arp.targetIp)} tell ${sender}`;
  if (arp.opcode === ARP_REPLY) return `ARP ${sender} is-at ${formatMac(arp.senderMac)}`;
  return `ARP opcode ${arp.opcode} from ${sender}`;
}
