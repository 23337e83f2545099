/**
 * The program at the guest's end: judges each frame that comes out of the guest's TAP by the rules
 * of filtered_nat.ts, in their order, and sends what may pass to the borrower with headers of this
 * host's making. It has an answer for every frame, so nothing goes on to the host's own stack.
 *
 * What is different here, and why it cannot be otherwise:
 *
 * - The UDP checksum is carried over to the new addresses and ports, not made anew: a guest that
 *   sends a wrong one has its datagrams dropped by the borrower's kernel instead of mended.
 * - The kernel hands over frames of 14 bytes and more, and takes a VLAN tag out of them before.
 * - `no-room` is the kernel's: it drops silently when an interface is full.
 *
 * @module
 */

import { ARP_FRAME_LEN, ETH_PADDED_LEN, writeArpAnswer } from "../guest_arp.ts";
import type { GuestLink } from "../guest_link.ts";
import { VERDICT } from "../verdict.ts";
import { ARP_REPLY, ARP_REQUEST } from "../../wire/arp.ts";
import { ETH_HEADER_LEN, ETH_MAX_LEN, ETHERTYPE, MAC_BROADCAST } from "../../wire/ethernet.ts";
import { PROTOCOL } from "../../wire/ipv4.ts";
import {
  activeSlot,
  asLoaded,
  copyFrame,
  countVerdict,
  fold,
  frameField,
  frameNumber,
  HELPER,
  IP,
  keepRefused,
  PAYLOAD,
  rule,
  SCRATCH,
  SKB,
  UDP,
  unlessHeaderSum,
  unlessMac,
  unlessShaped,
} from "./_parts.ts";
import { Assembler } from "./assembler.ts";
import { COUNTERS, type MapFds, RECENT, SESSION, SLOT } from "./layout.ts";

/** TC_ACT_SHOT: the frame is gone. */
const DROP = 2;
/** BPF_F_INVALIDATE_HASH: the flow is another one afterwards. */
const NEW_FLOW = 2;
/** Reserved bit, "more fragments" and offset of an IPv4 header: all but DF. */
const FRAGMENT_BITS = 0xbfff;

/** The program for the guest at `link`. */
export function fromGuestProgram(link: GuestLink, maps: MapFds): Uint8Array<ArrayBuffer> {
  const a = new Assembler();
  a.mov("r6", "r1");
  a.load("w", "r7", "r6", SKB.len);
  rule(a, VERDICT.truncated);
  a.jumpIf("lt", "r7", ETH_HEADER_LEN, "refused");
  rule(a, VERDICT.tooLong);
  a.jumpIf("gt", "r7", ETH_MAX_LEN, "refused");
  // One frame that stands for many: their lengths are checked nowhere else.
  a.load("w", "r1", "r6", SKB.gsoSize);
  a.jumpIf("ne", "r1", 0, "refused");
  rule(a, VERDICT.truncated);
  copyFrame(a, "refused");

  rule(a, VERDICT.sourceMac);
  unlessMac(a, 6, link.guestMac, "refused");
  rule(a, VERDICT.vlan);
  a.load("w", "r1", "r6", SKB.vlanPresent);
  a.jumpIf("ne", "r1", 0, "refused");
  frameNumber(a, "r1", 12);
  a.jumpIf("eq", "r1", ETHERTYPE.arp, "arp");
  for (const type of [ETHERTYPE.vlan, ETHERTYPE.serviceVlan]) {
    a.jumpIf("eq", "r1", type, "refused");
  }
  rule(a, VERDICT.ipv6);
  a.jumpIf("eq", "r1", ETHERTYPE.ipv6, "refused");
  rule(a, VERDICT.etherType);
  a.jumpIf("ne", "r1", ETHERTYPE.ipv4, "refused");
  judgeIpv4(a, link);
  learn(a, maps);
  forward(a, maps);
  judgeArp(a, link);
  answerArp(a, link, maps);

  a.label("announced");
  rule(a, VERDICT.announced);
  countVerdict(a, maps.counters, COUNTERS.fromGuest);
  a.mov("r0", DROP);
  a.exit();
  a.label("refused");
  countVerdict(a, maps.counters, COUNTERS.fromGuest);
  keepRefused(a, maps.counters, maps.ring);
  a.mov("r0", DROP);
  a.exit();
  return a.bytes();
}

/** Rules 5 to 13 of filtered_nat.ts; falls through for what may pass. */
function judgeIpv4(a: Assembler, link: GuestLink): void {
  rule(a, VERDICT.destinationMac);
  unlessMac(a, 0, link.gatewayMac, "refused");
  rule(a, VERDICT.truncated);
  a.jumpIf("lt", "r7", UDP, "refused");
  frameField(a, "b", "r1", IP);
  a.jumpIf("eq", "r1", 0x45, "plain");
  rule(a, VERDICT.badHeader);
  a.jumpIf("lt", "r1", 0x45, "refused");
  a.jumpIf("gt", "r1", 0x4f, "refused");
  rule(a, VERDICT.options);
  a.jump("refused");
  a.label("plain");
  rule(a, VERDICT.badLength);
  frameNumber(a, "r1", IP + 2);
  a.add("r1", IP);
  a.jumpIf("ne", "r1", "r7", "refused");
  rule(a, VERDICT.badChecksum);
  unlessHeaderSum(a, "refused");
  rule(a, VERDICT.fragment);
  frameNumber(a, "r1", IP + 6);
  a.jumpIf("set", "r1", FRAGMENT_BITS, "refused");
  rule(a, VERDICT.sourceAddress);
  frameField(a, "w", "r1", IP + 12);
  a.jumpIf32("ne", "r1", asLoaded(link.guestAddress, 4), "refused");
  rule(a, VERDICT.destination);
  frameField(a, "w", "r1", IP + 16);
  a.jumpIf32("ne", "r1", asLoaded(link.gatewayAddress, 4), "refused");
  rule(a, VERDICT.protocol);
  frameField(a, "b", "r1", IP + 9);
  a.jumpIf("ne", "r1", PROTOCOL.udp, "refused");
  rule(a, VERDICT.badLength);
  a.jumpIf("lt", "r7", PAYLOAD, "refused");
  frameNumber(a, "r1", UDP + 4);
  a.add("r1", UDP);
  a.jumpIf("ne", "r1", "r7", "refused");
  rule(a, VERDICT.port);
  frameField(a, "h", "r1", UDP);
  a.jumpIf("eq", "r1", 0, "refused");
  frameNumber(a, "r1", UDP + 2);
  a.jumpIf("ne", "r1", link.gatewayPort, "refused");
  rule(a, VERDICT.notWireguard);
  a.mov("r1", "r7");
  a.add("r1", -PAYLOAD);
  frameField(a, "w", "r2", PAYLOAD);
  unlessShaped(a, { size: "r1", word: "r2", tmp: "r3", name: "out", refused: "refused" });
}

/** Notes the guest's port, and its index when the message carries one. */
function learn(a: Assembler, maps: MapFds): void {
  a.mapValue("r8", maps.session);
  frameField(a, "h", "r1", UDP);
  a.load("h", "r2", "r8", SESSION.guestPort);
  // Not written when it is the same: the memory is shared by all processors.
  a.jumpIf("eq", "r1", "r2", "port-known");
  a.store("h", "r8", SESSION.guestPort, "r1");
  a.label("port-known");
  rule(a, VERDICT.noUplink);
  a.mov("r5", "r8");
  activeSlot(a, maps.uplink);
  a.load("w", "r1", "r8", SLOT.ifindex);
  a.jumpIf("eq", "r1", 0, "refused");

  frameField(a, "b", "r1", PAYLOAD);
  a.jumpIf("gt", "r1", 2, "learned");
  frameField(a, "w", "r1", PAYLOAD + 4);
  a.jumpIf("eq", "r1", 0, "learned");
  for (let i = 0; i < RECENT; i++) {
    a.load("w", "r2", "r5", SESSION.indices + 4 * i);
    a.jumpIf("eq", "r1", "r2", "learned");
  }
  a.load("w", "r2", "r5", SESSION.next);
  a.alu("and", "r2", RECENT - 1);
  a.mov("r3", "r2");
  a.add("r3", 1);
  a.load("w", "r4", "r5", SESSION.active);
  a.jumpIf("ne", "r3", "r4", "free");
  a.mov("r2", "r3");
  a.alu("and", "r2", RECENT - 1);
  a.label("free");
  a.mov("r3", "r2");
  a.alu("lsh", "r3", 2);
  a.mov("r4", "r5");
  a.add("r4", "r3");
  a.store("w", "r4", SESSION.indices, "r1");
  a.add("r2", 1);
  a.alu("and", "r2", RECENT - 1);
  a.store("w", "r5", SESSION.next, "r2");
  a.label("learned");
}

/** New headers, and off to the borrower; `r8` is the slot. */
function forward(a: Assembler, maps: MapFds): void {
  rule(a, VERDICT.forwarded);
  countVerdict(a, maps.counters, COUNTERS.fromGuest);
  a.mapValue("r1", maps.counters);
  a.mov("r2", "r7");
  a.add("r2", -PAYLOAD);
  a.atomicAdd("r1", COUNTERS.bytesToUplink, "r2");

  // May be fragmented on the way, so each has an identification (RFC 6864 section 4.2).
  a.call(HELPER.getPrandomU32);
  a.alu("and", "r0", 0xffff);
  const ip = SCRATCH;
  const udp = SCRATCH + 20;
  a.store("h", "r10", ip, asLoaded(0x4500, 2));
  frameField(a, "h", "r1", IP + 2);
  a.store("h", "r10", ip + 2, "r1");
  a.store("h", "r10", ip + 4, "r0");
  a.store("h", "r10", ip + 6, 0);
  a.store("h", "r10", ip + 8, asLoaded(0x4000 | PROTOCOL.udp, 2));
  a.load("w", "r2", "r8", SLOT.headerSum);
  a.add("r2", "r1");
  a.add("r2", "r0");
  fold(a, "r2", "r3");
  a.alu("xor", "r2", 0xffff);
  a.store("h", "r10", ip + 10, "r2");
  for (const [at, field] of [[12, SLOT.hostAddress], [16, SLOT.borrowerAddress]] as const) {
    a.load("w", "r1", "r8", field);
    a.store("w", "r10", ip + at, "r1");
  }
  for (const [at, field] of [[0, SLOT.nodePort], [2, SLOT.borrowerPort]] as const) {
    a.load("h", "r1", "r8", field);
    a.store("h", "r10", udp + at, "r1");
  }
  frameField(a, "h", "r1", UDP + 4);
  a.store("h", "r10", udp + 4, "r1");
  // RFC 1624: HC' = ~(~HC + ~m + m'); 0 says that there is no checksum and stays.
  frameField(a, "h", "r1", UDP + 6);
  a.jumpIf("eq", "r1", 0, "summed");
  a.alu("xor", "r1", 0xffff);
  frameField(a, "h", "r2", UDP);
  a.alu("xor", "r2", 0xffff);
  a.add("r1", "r2");
  a.load("w", "r2", "r8", SLOT.toBorrower);
  a.add("r1", "r2");
  fold(a, "r1", "r2");
  a.alu("xor", "r1", 0xffff);
  a.jumpIf("ne", "r1", 0, "summed");
  a.mov("r1", 0xffff);
  a.label("summed");
  a.store("h", "r10", udp + 6, "r1");
  storeScratch(a, IP, PAYLOAD - IP);
  a.load("w", "r1", "r8", SLOT.ifindex);
  a.mov("r2", 0);
  a.mov("r3", 0);
  a.mov("r4", 0);
  a.call(HELPER.redirectNeigh);
  a.exit();
}

/** Writes `length` bytes of the scratch memory over the frame at `at`; drops it when that fails. */
function storeScratch(a: Assembler, at: number, length: number): void {
  a.mov("r1", "r6");
  a.mov("r2", at);
  a.mov("r3", "r10");
  a.add("r3", SCRATCH);
  a.mov("r4", length);
  a.mov("r5", NEW_FLOW);
  a.call(HELPER.skbStoreBytes);
  a.jumpIf("ne", "r0", 0, "lost");
}

/** Rule 4 of filtered_nat.ts. */
function judgeArp(a: Assembler, link: GuestLink): void {
  a.label("arp");
  rule(a, VERDICT.truncated);
  a.jumpIf("lt", "r7", ARP_FRAME_LEN, "refused");
  rule(a, VERDICT.badLength);
  a.jumpIf("gt", "r7", ETH_PADDED_LEN, "refused");
  rule(a, VERDICT.destinationMac);
  unlessMac(a, 0, MAC_BROADCAST, "arp-not-all");
  a.jump("arp-for-gateway");
  a.label("arp-not-all");
  unlessMac(a, 0, link.gatewayMac, "refused");
  a.label("arp-for-gateway");
  rule(a, VERDICT.arp);
  // Ethernet, IPv4, addresses of 6 and 4 bytes.
  for (const [at, value] of [[14, 1], [16, ETHERTYPE.ipv4], [18, 0x0604]] as const) {
    frameNumber(a, "r1", at);
    a.jumpIf("ne", "r1", value, "refused");
  }
  unlessMac(a, 22, link.guestMac, "refused");
  frameNumber(a, "r2", 20);
  frameNumber(a, "r3", 28);
  a.alu("lsh", "r3", 16);
  frameNumber(a, "r4", 30);
  a.alu("or", "r3", "r4");
  frameField(a, "w", "r5", 38);
  a.swap("r5", 32);
  // r2 operation, r3 sender's address, r5 address that is asked for
  a.jumpIf32("eq", "r5", link.guestAddress, "arp-own");
  a.jumpIf("ne", "r2", ARP_REQUEST, "refused");
  a.jumpIf32("ne", "r3", link.guestAddress, "refused");
  a.jumpIf32("ne", "r5", link.gatewayAddress, "refused");
  a.jump("answer");
  a.label("arp-own");
  a.jumpIf("eq", "r3", 0, "arp-probe");
  a.jumpIf32("ne", "r3", link.guestAddress, "refused");
  a.jumpIf("eq", "r2", ARP_REPLY, "announced");
  a.label("arp-probe");
  a.jumpIf("eq", "r2", ARP_REQUEST, "announced");
  a.jump("refused");
}

/** Turns the question into the gateway's answer and sends it back. */
function answerArp(a: Assembler, link: GuestLink, maps: MapFds): void {
  const answer = new Uint8Array(44);
  writeArpAnswer(link, answer, 0);
  const words = new DataView(answer.buffer);
  a.label("answer");
  rule(a, VERDICT.answered);
  countVerdict(a, maps.counters, COUNTERS.fromGuest);
  for (let at = 0; at < answer.length; at += 4) {
    a.store("w", "r10", SCRATCH + at, words.getInt32(at, true));
  }
  storeScratch(a, 0, ARP_FRAME_LEN);
  a.mov("r1", "r6");
  a.mov("r2", ARP_FRAME_LEN);
  a.mov("r3", 0);
  a.call(HELPER.skbChangeTail);
  a.jumpIf("ne", "r0", 0, "lost");
  a.load("w", "r1", "r6", SKB.ifindex);
  a.mov("r2", 0);
  a.call(HELPER.redirect);
  a.exit();
  a.label("lost");
  a.mov("r0", DROP);
  a.exit();
}
