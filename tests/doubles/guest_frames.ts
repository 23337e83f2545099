/**
 * Frames as a guest sends them, good by default; each field can be made bad. Checksums are right
 * for the fields as they are, unless the frame is changed afterwards.
 *
 * @module
 */

import { guestLink } from "../../net/filter/guest_link.ts";
import { ARP_LEN, ARP_REQUEST, writeArp } from "../../net/wire/arp.ts";
import { writeU16 } from "../../net/wire/bytes.ts";
import { ETHERTYPE, MAC_BROADCAST, writeEthernet } from "../../net/wire/ethernet.ts";
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  ipv4HeaderSum,
  PROTOCOL,
  writeIpv4,
} from "../../net/wire/ipv4.ts";
import { writeUdp } from "../../net/wire/udp.ts";

const LINK = guestLink();
const IP = 14;
const UDP = 34;
const PAYLOAD = 42;

/** Fields of a frame that are not the usual ones. */
export interface GuestFrame {
  /** Destination MAC address. @default {the gateway's} */
  readonly destinationMac?: number;
  /** Source MAC address. @default {the guest's} */
  readonly sourceMac?: number;
  /** EtherType. @default {0x0800} */
  readonly type?: number;
  /** Source IPv4 address. @default {192.168.100.2} */
  readonly source?: number;
  /** Destination IPv4 address. @default {192.168.100.1} */
  readonly destination?: number;
  /** Protocol number. @default {17} */
  readonly protocol?: number;
  /** Flags and fragment offset, 16 bits. @default {0x4000} */
  readonly fragment?: number;
  /** Source port. @default {40000} */
  readonly sourcePort?: number;
  /** Destination port. @default {51820} */
  readonly destinationPort?: number;
  /** Payload. @default {transport data of 96 bytes} */
  readonly payload?: Uint8Array;
}

/** Bytes with the shape of a WireGuard message, counting up behind its head. */
export function wireguardMessage(length = 96, type = 4): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(length).map((_, i) => i);
  message.set([type, 0, 0, 0]);
  return message;
}

/** A UDP frame from the guest. */
export function guestFrame(o: GuestFrame = {}): Uint8Array<ArrayBuffer> {
  const payload = o.payload ?? wireguardMessage();
  const frame = new Uint8Array(PAYLOAD + payload.length);
  const source = o.source ?? LINK.guestAddress;
  const destination = o.destination ?? LINK.gatewayAddress;
  frame.set(payload, PAYLOAD);
  writeEthernet(
    frame,
    0,
    o.destinationMac ?? LINK.gatewayMac,
    o.sourceMac ?? LINK.guestMac,
    o.type ?? ETHERTYPE.ipv4,
  );
  const protocol = o.protocol ?? PROTOCOL.udp;
  writeIpv4(frame, IP, source, destination, protocol, frame.length - IP, 7);
  if (o.fragment !== undefined) {
    writeU16(frame, IP + IPV4_FRAGMENT, o.fragment);
    fixHeaderChecksum(frame);
  }
  const from = o.sourcePort ?? 40000;
  const to = o.destinationPort ?? LINK.gatewayPort;
  writeUdp(frame, UDP, source, from, destination, to, payload.length);
  return frame;
}

/** Makes the IPv4 header checksum of a frame without options right again. */
export function fixHeaderChecksum(frame: Uint8Array): void {
  writeU16(frame, IP + IPV4_CHECKSUM, 0);
  writeU16(frame, IP + IPV4_CHECKSUM, ~ipv4HeaderSum(frame, IP));
}

/** Fields of an ARP frame that are not the usual ones. */
export interface GuestArp {
  /** Destination MAC address of the frame. @default {broadcast} */
  readonly destinationMac?: number;
  /** Opcode. @default {1, request} */
  readonly opcode?: number;
  /** MAC address of the sender inside the packet. @default {the guest's} */
  readonly senderMac?: number;
  /** IPv4 address of the sender. @default {192.168.100.2} */
  readonly senderIp?: number;
  /** IPv4 address of the target. @default {192.168.100.1} */
  readonly targetIp?: number;
}

/** An ARP frame from the guest. */
export function guestArp(o: GuestArp = {}): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(IP + ARP_LEN);
  writeEthernet(frame, 0, o.destinationMac ?? MAC_BROADCAST, LINK.guestMac, ETHERTYPE.arp);
  writeArp(
    frame,
    IP,
    o.opcode ?? ARP_REQUEST,
    o.senderMac ?? LINK.guestMac,
    o.senderIp ?? LINK.guestAddress,
    0,
    o.targetIp ?? LINK.gatewayAddress,
  );
  return frame;
}
