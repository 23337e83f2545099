/**
 * The ARP of a guest's cable: the guest may ask for the gateway and speak of its own address
 * (RFC 826; probes and announcements: RFC 5227). The rules are rule 4 of filtered_nat.ts.
 *
 * @module
 */

import {
  ARP_LEN,
  ARP_OPCODE,
  ARP_REPLY,
  ARP_REQUEST,
  ARP_SENDER_IP,
  ARP_SENDER_MAC,
  ARP_TARGET_IP,
  isArpIpv4,
  writeArp,
} from "../wire/arp.ts";
import { readU16, readU32 } from "../wire/bytes.ts";
import {
  ETH_DESTINATION,
  ETH_HEADER_LEN,
  ETHERTYPE,
  MAC_BROADCAST,
  readMac,
  writeEthernet,
} from "../wire/ethernet.ts";
import type { GuestLink } from "./guest_link.ts";
import { VERDICT, type Verdict } from "./verdict.ts";

/** Length of an ARP frame without padding, in bytes. */
export const ARP_FRAME_LEN: number = ETH_HEADER_LEN + ARP_LEN;
/** Shortest frame on a real wire, up to which drivers pad (IEEE 802.3 clause 3.2.8). */
export const ETH_PADDED_LEN = 60;

/** What is to become of an ARP frame from the guest's MAC address. Sends nothing. */
export function judgeArp(guest: GuestLink, b: Uint8Array, at: number, length: number): Verdict {
  if (length < ARP_FRAME_LEN) return VERDICT.truncated;
  if (length > ETH_PADDED_LEN) return VERDICT.badLength;
  const destination = readMac(b, at + ETH_DESTINATION);
  if (destination !== MAC_BROADCAST && destination !== guest.gatewayMac) {
    return VERDICT.destinationMac;
  }
  const arp = at + ETH_HEADER_LEN;
  if (!isArpIpv4(b, arp)) return VERDICT.arp;
  if (readMac(b, arp + ARP_SENDER_MAC) !== guest.guestMac) return VERDICT.arp;
  const opcode = readU16(b, arp + ARP_OPCODE);
  const sender = readU32(b, arp + ARP_SENDER_IP);
  const target = readU32(b, arp + ARP_TARGET_IP);
  const own = sender === guest.guestAddress;
  if (target === guest.guestAddress) {
    // RFC 5227 sections 2.1.1 (probe: no sender yet) and 2.3 (announcement, as request or reply).
    const probe = opcode === ARP_REQUEST && sender === 0;
    const announcement = own && (opcode === ARP_REQUEST || opcode === ARP_REPLY);
    return probe || announcement ? VERDICT.announced : VERDICT.arp;
  }
  const asked = opcode === ARP_REQUEST && own && target === guest.gatewayAddress;
  return asked ? VERDICT.answered : VERDICT.arp;
}

/** Writes the gateway's answer to the guest at `at`: {@link ARP_FRAME_LEN} bytes. */
export function writeArpAnswer(guest: GuestLink, b: Uint8Array, at: number): void {
  const { guestMac, guestAddress, gatewayMac, gatewayAddress } = guest;
  writeEthernet(b, at, guestMac, gatewayMac, ETHERTYPE.arp);
  const arp = at + ETH_HEADER_LEN;
  writeArp(b, arp, ARP_REPLY, gatewayMac, gatewayAddress, guestMac, guestAddress);
}
