/**
 * The program at the entrance of the interface that leads to the borrower: takes the guest's
 * WireGuard messages out of what comes in, and leaves everything else untouched for the next
 * program and the host's stack, where the node's socket is.
 *
 * A datagram is the guest's when it comes from the borrower's address and port to this host's address
 * and the node's port, and is one of these, as in net/plane/wireguard_switch.ts:
 *
 * - an initiation whose mac1 is right for the guest's public key;
 * - any other message that carries an index which the guest has sent as its own.
 *
 * Then the rules "from the uplink" of filtered_nat.ts apply, and it goes to the guest's TAP with new
 * headers; what fails one is dropped and counted.
 *
 * Several datagrams may come as one, joined by the sender's kernel or this one's. They are taken
 * when all of them are data for this guest. When only some are, or a datagram comes in fragments, it
 * goes to the stack, and so to the node's packet thread.
 *
 * @module
 */

import type { GuestLink } from "../guest_link.ts";
import { VERDICT } from "../verdict.ts";
import { ETHERTYPE, writeEthernet } from "../../wire/ethernet.ts";
import { PROTOCOL, writeIpv4 } from "../../wire/ipv4.ts";
import {
  blake2s,
  BLAKE2S_STACK,
  MAC1_COVERS,
  MESSAGE_AT,
  RESULT_AT,
  writeKey,
} from "./_blake2s.ts";
import {
  activeSlot,
  asLoaded,
  copyFrame,
  countVerdict,
  fold,
  frameField,
  frameNumber,
  FREE,
  HELPER,
  IP,
  PAYLOAD,
  rule,
  SCRATCH,
  SKB,
  UDP,
  unlessHeaderSum,
  unlessShaped,
} from "./_parts.ts";
import { Assembler, type Reg } from "./assembler.ts";
import { COUNTERS, type MapFds, RECENT, SESSION, SLOT } from "./layout.ts";

/** TC_ACT_UNSPEC: as if this program had not been there. */
const PASS = -1;
/** TC_ACT_SHOT: the packet is gone. */
const DROP = 2;
/** A frame with the shortest WireGuard message, in bytes. */
const MIN_LEN = PAYLOAD + 32;
/** Longest payload that fits a frame of the guest's cable, in bytes. */
const MAX_PAYLOAD = 1514 - PAYLOAD;
/** Datagrams that come as one, at the most (UDP_MAX_SEGMENTS of the kernel). */
const MAX_JOINED = 128;
/** "More fragments" and the offset. */
const FRAGMENT_BITS = 0x3fff;
/** BPF_F_PSEUDO_HDR: the change is one of the pseudo header too. */
const PSEUDO_HEADER = 0x10;
/** BPF_F_MARK_MANGLED_0: no checksum stays none. */
const KEEP_NONE = 0x20;
/** BPF_F_INVALIDATE_HASH. */
const NEW_FLOW = 2;
/** Headers up to the UDP ports. */
const HEADERS = UDP + 4;

/** Where the hash works, from the frame pointer. */
const HASH = FREE - BLAKE2S_STACK;
/** Two words of a joined datagram, from the frame pointer. */
const WORDS = FREE - 8;
/** Where the joined datagram begins that is looked at. */
const JOINED_AT = FREE - 16;
/** Joined datagrams seen so far. */
const JOINED = FREE - 24;

/** What the program is made for. */
export interface FromUplinkOptions {
  /** The ends of the guest's cable. */
  readonly link: GuestLink;
  /** `HASH("mac1----" || public key of the guest)`, 32 bytes (paper 5.4.4). */
  readonly mac1Key: Uint8Array;
  /** The guest's TAP. */
  readonly tapIndex: number;
  /** The maps. */
  readonly maps: MapFds;
}

/** The program for one guest. */
export function fromUplinkProgram(options: FromUplinkOptions): Uint8Array<ArrayBuffer> {
  const { maps } = options;
  const a = new Assembler();
  a.mov("r6", "r1");
  unlessForNode(a, maps);
  const shared = { size: "r7", word: "r2", tmp: "r3", refused: "refused" } as const;

  a.load("w", "r9", "r6", SKB.gsoSize);
  a.jumpIf("ne", "r9", 0, "joined");
  a.add("r7", -PAYLOAD);
  frameField(a, "w", "r2", PAYLOAD);
  a.jumpIf("eq", "r2", 1, "initiation");
  a.jumpIf("gt", "r2", 4, "pass");
  a.jumpIf("eq", "r2", 0, "pass");
  frameField(a, "w", "r1", PAYLOAD + 4);
  a.jumpIf("ne", "r2", 2, "indexed");
  frameField(a, "w", "r1", PAYLOAD + 8);
  a.label("indexed");
  a.mapValue("r5", maps.session);
  findIndex(a, "r1", "single", "pass");
  a.label("mine");
  rule(a, VERDICT.tooLong);
  a.jumpIf("gt", "r7", MAX_PAYLOAD, "refused");
  rule(a, VERDICT.notWireguard);
  unlessShaped(a, { ...shared, name: "in" });
  rule(a, VERDICT.noFlow);
  a.mapValue("r5", maps.session);
  a.load("h", "r1", "r5", SESSION.guestPort);
  a.jumpIf("eq", "r1", 0, "refused");
  a.mov("r1", 1);
  a.jump("forward");

  judgeJoined(a, maps);
  forward(a, options);
  checkMac1(a, options.mac1Key);

  a.label("refused");
  countVerdict(a, maps.counters, COUNTERS.fromUplink);
  a.label("lost");
  a.mov("r0", DROP);
  a.exit();
  a.label("pass");
  a.mov("r0", PASS);
  a.exit();
  return a.bytes();
}

/**
 * Goes to `pass` unless this is a whole UDP datagram from the borrower to the node's port, or some
 * that are joined. Leaves the slot in `r8`, the length in `r7`.
 */
function unlessForNode(a: Assembler, maps: MapFds): void {
  a.load("w", "r1", "r6", SKB.protocol);
  a.jumpIf("ne", "r1", asLoaded(ETHERTYPE.ipv4, 2), "pass");
  for (const field of [SKB.vlanPresent, SKB.packetType]) {
    a.load("w", "r1", "r6", field);
    a.jumpIf("ne", "r1", 0, "pass");
  }
  a.load("w", "r7", "r6", SKB.len);
  a.jumpIf("lt", "r7", MIN_LEN, "pass");
  copyFrame(a, "pass");
  frameField(a, "b", "r1", IP);
  a.jumpIf("ne", "r1", 0x45, "pass");
  frameField(a, "b", "r1", IP + 9);
  a.jumpIf("ne", "r1", PROTOCOL.udp, "pass");
  activeSlot(a, maps.uplink);
  a.load("w", "r1", "r8", SLOT.ifindex);
  a.jumpIf("eq", "r1", 0, "pass");
  const wanted = [
    ["w", IP + 12, SLOT.borrowerAddress],
    ["w", IP + 16, SLOT.hostAddress],
    ["h", UDP, SLOT.borrowerPort],
    ["h", UDP + 2, SLOT.nodePort],
  ] as const;
  for (const [size, at, field] of wanted) {
    frameField(a, size, "r1", at);
    a.load(size, "r2", "r8", field);
    a.jumpIf("ne", "r1", "r2", "pass");
  }
  frameNumber(a, "r1", IP + 6);
  a.jumpIf("set", "r1", FRAGMENT_BITS, "pass");
  // What the stack would not take is left to it.
  unlessHeaderSum(a, "pass");
  frameNumber(a, "r1", IP + 2);
  a.add("r1", IP);
  a.jumpIf("ne", "r1", "r7", "pass");
  frameNumber(a, "r1", UDP + 4);
  a.add("r1", UDP);
  a.jumpIf("ne", "r1", "r7", "pass");
}

/**
 * Goes to `none` unless the index is one of the guest's; notes which. `r5` is the session. Uses `r3`,
 * `r4`. No jump for each comparison: the verifier would follow them all, in a loop again and again.
 */
function findIndex(a: Assembler, index: Reg, name: string, none: string): void {
  a.jumpIf("eq", index, 0, none);
  a.mov("r4", 0);
  for (let i = 0; i < RECENT; i++) {
    a.load("w", "r3", "r5", SESSION.indices + 4 * i);
    a.alu("xor", "r3", index);
    // 1 when they are equal: only 0 gets a highest bit by losing 1.
    a.add("r3", -1);
    a.alu("rsh", "r3", 63);
    a.alu("mul", "r3", i + 1);
    a.alu("or", "r4", "r3");
  }
  a.jumpIf("eq", "r4", 0, none);
  a.load("w", "r3", "r5", SESSION.active);
  a.jumpIf("eq", "r3", "r4", `${name}-active`);
  a.store("w", "r5", SESSION.active, "r4");
  a.label(`${name}-active`);
}

/** Several datagrams of `r9` bytes each, the last of at most so many: all of them, or none. */
function judgeJoined(a: Assembler, maps: MapFds): void {
  a.label("joined");
  a.jumpIf("gt", "r9", MAX_PAYLOAD, "pass");
  a.mov("r2", 4);
  const data = { word: "r2", tmp: "r3", refused: "pass" } as const;
  unlessShaped(a, { ...data, size: "r9", name: "each" });
  a.mapValue("r5", maps.session);
  a.load("h", "r1", "r5", SESSION.guestPort);
  a.jumpIf("eq", "r1", 0, "pass");
  a.store("dw", "r10", JOINED_AT, PAYLOAD);
  a.store("dw", "r10", JOINED, 0);
  a.label("next");
  a.mov("r1", "r6");
  a.load("dw", "r2", "r10", JOINED_AT);
  a.mov("r3", "r10");
  a.add("r3", WORDS);
  a.mov("r4", 8);
  a.call(HELPER.skbLoadBytes);
  a.jumpIf("ne", "r0", 0, "pass");
  a.load("w", "r1", "r10", WORDS);
  a.jumpIf("ne", "r1", 4, "pass");
  a.load("w", "r1", "r10", WORDS + 4);
  a.mapValue("r5", maps.session);
  findIndex(a, "r1", "joined", "pass");
  a.load("dw", "r2", "r10", JOINED_AT);
  a.add("r2", "r9");
  a.store("dw", "r10", JOINED_AT, "r2");
  a.load("dw", "r1", "r10", JOINED);
  a.add("r1", 1);
  a.store("dw", "r10", JOINED, "r1");
  a.jumpIf("ge", "r2", "r7", "last");
  a.jumpIf("lt", "r1", MAX_JOINED, "next");
  a.jump("pass");
  a.label("last");
  a.mov("r4", "r7");
  a.add("r4", "r9");
  a.alu("sub", "r4", "r2");
  a.mov("r2", 4);
  unlessShaped(a, { ...data, size: "r4", name: "rest" });
  a.add("r7", -PAYLOAD);
}

/** New headers, and off to the guest: `r1` datagrams with `r7` bytes of payload. */
function forward(a: Assembler, { link, maps, tapIndex }: FromUplinkOptions): void {
  a.label("forward");
  a.mapValue("r2", maps.counters);
  a.atomicAdd("r2", COUNTERS.fromUplink + 8 * VERDICT.forwarded, "r1");
  a.atomicAdd("r2", COUNTERS.bytesToGuest, "r7");

  const headers = new Uint8Array(UDP + 4);
  writeEthernet(headers, 0, link.guestMac, link.gatewayMac, ETHERTYPE.ipv4);
  writeIpv4(headers, IP, link.gatewayAddress, link.guestAddress, PROTOCOL.udp, 0, 0);
  const view = new DataView(headers.buffer);
  for (let at = 0; at < UDP; at += 2) {
    a.store("h", "r10", SCRATCH + at, view.getUint16(at, true));
  }
  frameField(a, "h", "r1", IP + 2);
  a.store("h", "r10", SCRATCH + IP + 2, "r1");
  // The sum of a header with length 0, and the length.
  a.mov("r2", view.getUint16(IP + 10, true) ^ 0xffff);
  a.add("r2", "r1");
  fold(a, "r2", "r3");
  a.alu("xor", "r2", 0xffff);
  a.store("h", "r10", SCRATCH + IP + 10, "r2");
  a.store("h", "r10", SCRATCH + UDP, asLoaded(link.gatewayPort, 2));
  a.mapValue("r5", maps.session);
  a.load("h", "r9", "r5", SESSION.guestPort);
  a.store("h", "r10", SCRATCH + UDP + 2, "r9");

  // By helpers: the checksum may be one that the sender's kernel has left to its network card.
  a.load("w", "r4", "r8", SLOT.toGuest);
  replaceSum(a, () => a.mov("r3", 0), PSEUDO_HEADER | KEEP_NONE);
  a.mov("r4", asLoaded(link.gatewayPort, 2));
  replaceSum(a, () => frameField(a, "h", "r3", UDP), KEEP_NONE | 2);
  a.mov("r4", "r9");
  replaceSum(a, () => frameField(a, "h", "r3", UDP + 2), KEEP_NONE | 2);

  a.mov("r1", "r6");
  a.mov("r2", 0);
  a.mov("r3", "r10");
  a.add("r3", SCRATCH);
  a.mov("r4", HEADERS);
  a.mov("r5", NEW_FLOW);
  a.call(HELPER.skbStoreBytes);
  a.jumpIf("ne", "r0", 0, "lost");
  a.mov("r1", tapIndex);
  a.mov("r2", 0);
  a.call(HELPER.redirect);
  a.exit();
}

/** Changes the UDP checksum for a field that becomes `r4`; `from` loads what it was into `r3`. */
function replaceSum(a: Assembler, from: () => void, flags: number): void {
  a.mov("r1", "r6");
  a.mov("r2", UDP + 6);
  from();
  a.mov("r5", flags);
  a.call(HELPER.l4CsumReplace);
  a.jumpIf("ne", "r0", 0, "lost");
}

/** Whether an initiation is for the guest: goes to `mine` or `pass`. */
function checkMac1(a: Assembler, key: Uint8Array): void {
  a.label("initiation");
  a.jumpIf("ne", "r7", 148, "pass");
  writeKey(a, HASH, key);
  const load = (at: number, to: number, length: number): void => {
    a.mov("r1", "r6");
    a.mov("r2", PAYLOAD + at);
    a.mov("r3", "r10");
    a.add("r3", to);
    a.mov("r4", length);
    a.call(HELPER.skbLoadBytes);
    a.jumpIf("ne", "r0", 0, "pass");
  };
  load(0, HASH + MESSAGE_AT, MAC1_COVERS);
  blake2s(a, HASH);
  // In the place of the message, which is not needed any more.
  load(MAC1_COVERS, HASH + MESSAGE_AT, 16);
  for (let at = 0; at < 16; at += 4) {
    a.load("w", "r1", "r10", HASH + MESSAGE_AT + at);
    a.load("w", "r2", "r10", HASH + RESULT_AT + at);
    a.jumpIf("ne", "r1", "r2", "pass");
  }
  a.mov("r7", 148);
  a.mov("r2", 1);
  a.jump("mine");
}
