/**
 * Frames as a guest would send them to get out: good but for what is asked for, so that what is
 * wrong with one is all that can stop it. Each carries a mark (mark.ts).
 *
 * Pure: the same fields give the same bytes.
 *
 * @module
 */

import type { GuestLink } from "../../net/filter/guest_link.ts";
import { ARP_LEN, ARP_REQUEST, writeArp } from "../../net/wire/arp.ts";
import { readU16, writeU16 } from "../../net/wire/bytes.ts";
import { checksum, pseudoHeaderSum } from "../../net/wire/checksum.ts";
import {
  ETH_HEADER_LEN,
  ETHERTYPE,
  MAC_BROADCAST,
  writeEthernet,
} from "../../net/wire/ethernet.ts";
import { ICMP, ICMP_HEADER_LEN, ICMP_TYPE } from "../../net/wire/icmp.ts";
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_HEADER_LEN,
  ipv4HeaderSum,
  PROTOCOL,
  writeIpv4,
} from "../../net/wire/ipv4.ts";
import { TCP_HEADER_LEN } from "../../net/wire/tcp.ts";
import { UDP_HEADER_LEN, UDP_LENGTH, writeUdp } from "../../net/wire/udp.ts";
import { ipv6 } from "./scene.ts";

/** Where the IPv4 header begins. */
export const IP: number = ETH_HEADER_LEN;
/** Where the header of UDP, TCP or ICMP begins, behind an IPv4 header without options. */
export const INNER: number = IP + IPV4_HEADER_LEN;

/** Length of the usual payload, in bytes: a multiple of 16, as of WireGuard's transport data. */
const PAYLOAD_LEN = 96;
/** Where the mark is in it. */
const MARK_AT = 16;
/** Shortest frame on a real wire, up to which the rest of an ARP frame is padding. */
const PADDED_LEN = 60;
/** What no guest's tunnel uses: above the range from which Linux picks ports. */
const SOURCE_PORT = 61_937;
/** A host limit that lets a frame through a few routers. */
const HOP_LIMIT = 16;

/** A payload with the shape of WireGuard's transport data, and the mark in it. */
export function payload(mark: Uint8Array, length: number = PAYLOAD_LEN): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  out[0] = 4;
  out.set(mark, Math.min(MARK_AT, length - mark.length));
  return out;
}

/** Fields of an IPv4 frame that are not the usual ones: from the guest, to its tunnel. */
export interface IpFields {
  /** Destination MAC address. @default {the gateway's} */
  readonly destinationMac?: number;
  /** Source MAC address. @default {the guest's} */
  readonly sourceMac?: number;
  /** Source IPv4 address. @default {the guest's} */
  readonly from?: number;
  /** Destination IPv4 address. @default {the gateway's} */
  readonly to?: number;
  /** Flags and fragment offset, 16 bits. @default {0x4000} */
  readonly fragment?: number;
}

/** Fields of a UDP frame that are not the usual ones. */
export interface UdpFields extends IpFields {
  /** Source port. @default {one that no tunnel uses} */
  readonly sourcePort?: number;
  /** Destination port. @default {the tunnel's} */
  readonly port?: number;
  /** Payload. @default {see {@link payload}} */
  readonly payload?: Uint8Array;
}

/** An IPv4 frame around `inner`. */
export function ipFrame(
  link: GuestLink,
  protocol: number,
  inner: Uint8Array,
  fields: IpFields = {},
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(INNER + inner.length);
  const from = fields.from ?? link.guestAddress;
  const to = fields.to ?? link.gatewayAddress;
  writeEthernet(
    frame,
    0,
    fields.destinationMac ?? link.gatewayMac,
    fields.sourceMac ?? link.guestMac,
    ETHERTYPE.ipv4,
  );
  writeIpv4(frame, IP, from, to, protocol, frame.length - IP, 7);
  frame.set(inner, INNER);
  if (fields.fragment !== undefined) {
    writeU16(frame, IP + IPV4_FRAGMENT, fields.fragment);
    fixChecksum(frame);
  }
  return frame;
}

/** Makes the header checksum right again after a change; for a header without options. */
export function fixChecksum(frame: Uint8Array): void {
  writeU16(frame, IP + IPV4_CHECKSUM, 0);
  writeU16(frame, IP + IPV4_CHECKSUM, ~ipv4HeaderSum(frame, IP));
}

/** A UDP frame. */
export function udpFrame(
  link: GuestLink,
  mark: Uint8Array,
  fields: UdpFields = {},
): Uint8Array<ArrayBuffer> {
  const body = fields.payload ?? payload(mark);
  const inner = new Uint8Array(UDP_HEADER_LEN + body.length);
  const frame = ipFrame(link, PROTOCOL.udp, inner, fields);
  frame.set(body, INNER + UDP_HEADER_LEN);
  const from = fields.from ?? link.guestAddress;
  const to = fields.to ?? link.gatewayAddress;
  const port = fields.port ?? link.gatewayPort;
  writeUdp(frame, INNER, from, fields.sourcePort ?? SOURCE_PORT, to, port, body.length);
  return frame;
}

/** A TCP segment that opens a connection and brings the mark along (RFC 7413 has such). */
export function synFrame(
  link: GuestLink,
  mark: Uint8Array,
  port: number,
  fields: IpFields = {},
): Uint8Array<ArrayBuffer> {
  const body = payload(mark);
  const inner = new Uint8Array(TCP_HEADER_LEN + body.length);
  inner.set(body, TCP_HEADER_LEN);
  writeU16(inner, 0, SOURCE_PORT);
  writeU16(inner, 2, port);
  inner[12] = (TCP_HEADER_LEN / 4) << 4;
  inner[13] = 0x02; // SYN
  writeU16(inner, 14, 0xffff);
  const from = fields.from ?? link.guestAddress;
  const to = fields.to ?? link.gatewayAddress;
  const pseudo = pseudoHeaderSum(from, to, PROTOCOL.tcp, inner.length);
  writeU16(inner, 16, checksum(inner, 0, inner.length, pseudo));
  return ipFrame(link, PROTOCOL.tcp, inner, fields);
}

/** An ICMP echo request. */
export function pingFrame(
  link: GuestLink,
  mark: Uint8Array,
  fields: IpFields = {},
): Uint8Array<ArrayBuffer> {
  const body = payload(mark);
  const inner = new Uint8Array(ICMP_HEADER_LEN + body.length);
  inner.set(body, ICMP_HEADER_LEN);
  inner[ICMP_TYPE] = ICMP.echoRequest;
  writeU16(inner, 2, checksum(inner, 0, inner.length));
  return ipFrame(link, PROTOCOL.icmp, inner, fields);
}

/** Fields of an ARP frame. */
export interface ArpFields {
  /** Opcode: 1 asks, 2 answers. @default {1} */
  readonly opcode?: number;
  /** IPv4 address that the sender says it has. @default {the guest's} */
  readonly sender?: number;
  /** IPv4 address that is asked for. */
  readonly target: number;
}

/** A broadcast ARP frame, with the mark in its padding. */
export function arpFrame(
  link: GuestLink,
  mark: Uint8Array,
  fields: ArpFields,
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(PADDED_LEN);
  const { opcode = ARP_REQUEST, sender = link.guestAddress, target } = fields;
  writeEthernet(frame, 0, MAC_BROADCAST, link.guestMac, ETHERTYPE.arp);
  writeArp(frame, IP, opcode, link.guestMac, sender, 0, target);
  frame.set(mark, IP + ARP_LEN);
  return frame;
}

/** A frame of any type around the usual payload. */
export function rawFrame(
  link: GuestLink,
  mark: Uint8Array,
  type: number,
  destinationMac: number = link.gatewayMac,
): Uint8Array<ArrayBuffer> {
  const body = payload(mark);
  const frame = new Uint8Array(ETH_HEADER_LEN + body.length);
  writeEthernet(frame, 0, destinationMac, link.guestMac, type);
  frame.set(body, ETH_HEADER_LEN);
  return frame;
}

/** `frame` with a VLAN tag of this type (IEEE 802.1Q, clause 9.3) for VLAN 1. */
export function tagged(frame: Uint8Array, type: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(frame.length + 4);
  out.set(frame.subarray(0, 12));
  writeU16(out, 12, type);
  writeU16(out, 14, 1);
  out.set(frame.subarray(12), 16);
  return out;
}

/** Next headers of IPv6 (RFC 8200). */
export const NEXT_HEADER = { hopByHop: 0, udp: 17, icmpv6: 58 } as const;

/** An IPv6 frame (RFC 8200) around `inner`, whose checksum at `checksumAt` is completed. */
export function ip6Frame(
  link: GuestLink,
  o: {
    /** Destination MAC address. */
    readonly destinationMac: number;
    /** Source address, 16 bytes. */
    readonly from: Uint8Array;
    /** Destination address, 16 bytes. */
    readonly to: Uint8Array;
    /** What `inner` is: one of {@link NEXT_HEADER}. */
    readonly next: number;
    /** What the packet carries. */
    readonly inner: Uint8Array;
    /** Where in `inner` the checksum is, in bytes. */
    readonly checksumAt: number;
    /** Hops. @default {16} */
    readonly hops?: number;
  },
): Uint8Array<ArrayBuffer> {
  const header = 40;
  const frame = new Uint8Array(ETH_HEADER_LEN + header + o.inner.length);
  writeEthernet(frame, 0, o.destinationMac, link.guestMac, ETHERTYPE.ipv6);
  frame[IP] = 0x60;
  writeU16(frame, IP + 4, o.inner.length);
  frame[IP + 6] = o.next;
  frame[IP + 7] = o.hops ?? HOP_LIMIT;
  frame.set(o.from, IP + 8);
  frame.set(o.to, IP + 24);
  frame.set(o.inner, IP + header);
  // RFC 8200 section 8.1: addresses, length and next header come first.
  let pseudo = o.inner.length + o.next;
  for (let at = IP + 8; at < IP + header; at += 2) pseudo += readU16(frame, at);
  writeU16(
    frame,
    IP + header + o.checksumAt,
    checksum(frame, IP + header, o.inner.length, pseudo),
  );
  return frame;
}

/** Link-local IPv6 address of a guest. */
export const GUEST6: Uint8Array = ipv6("fe80::5054:ff:fe00:6402");

/** A UDP datagram for an IPv6 packet, its checksum still 0. */
export function udp6(port: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(UDP_HEADER_LEN + body.length);
  writeU16(out, 0, 40_000);
  writeU16(out, 2, port);
  writeU16(out, UDP_LENGTH, out.length);
  out.set(body, UDP_HEADER_LEN);
  return out;
}

/** A DNS question (RFC 1035) for A, whose first label is the mark. */
export function dnsQuestion(mark: Uint8Array): Uint8Array {
  const head = [0x6f, 0x6d, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
  const tail = [...new TextEncoder().encode("\x07example"), 0, 0, 1, 0, 1];
  return Uint8Array.from([...head, mark.length, ...mark, ...tail]);
}
