/**
 * What both programs of the kernel filter are put together from: fields of the packet's context,
 * the copy of its headers on the stack, sums, verdicts.
 *
 * Registers keep one meaning in a whole program: `r6` is the context, `r7` a length in bytes, `r8`
 * the memory that is worked on, `r9` the verdict that applies when the next rule fails.
 *
 * ```
 * stack   r10-66 .. r10-2      the first 64 bytes of the frame; the IPv4 header is aligned to 4
 *         r10-112 .. r10-66    headers that are being written
 *         r10-512 .. r10-112   the program's own
 * ```
 *
 * @module
 */

import type { Verdict } from "../verdict.ts";
import type { Assembler, Reg } from "./assembler.ts";
import { COUNTERS, RING, UPLINK } from "./layout.ts";
import { IPV4_HEADER_LEN } from "../../wire/ipv4.ts";
import { ETH_HEADER_LEN } from "../../wire/ethernet.ts";
import { UDP_HEADER_LEN } from "../../wire/udp.ts";
import { SNAP_LEN } from "../refusals.ts";

/** Fields of `struct __sk_buff` (linux/bpf.h); all are u32. */
export const SKB = {
  len: 0,
  packetType: 4,
  protocol: 16,
  vlanPresent: 20,
  ifindex: 40,
  gsoSize: 176,
} as const;

/** Numbers of the helpers (linux/bpf.h). */
export const HELPER = {
  getPrandomU32: 7,
  skbStoreBytes: 9,
  l4CsumReplace: 11,
  redirect: 23,
  skbLoadBytes: 26,
  skbChangeTail: 38,
  ktimeGetBootNs: 125,
  redirectNeigh: 152,
} as const;

/** Where the copy of the frame begins, from the frame pointer. */
const FRAME = -66;
/** Bytes of the frame that are copied. */
const FRAME_LEN = 64;
/** Where headers are written before they are stored, from the frame pointer. */
export const SCRATCH = -112;
/** Free for a program below this, from the frame pointer. */
export const FREE = -112;

/** Offsets in a frame with a plain IPv4 header. */
export const IP: number = ETH_HEADER_LEN;
/** See {@link IP}. */
export const UDP: number = IP + IPV4_HEADER_LEN;
/** See {@link IP}. */
export const PAYLOAD: number = UDP + UDP_HEADER_LEN;

/** Reads from the copy of the frame, in the order of the wire. */
export function frameField(a: Assembler, size: "b" | "h" | "w", dst: Reg, at: number): void {
  a.load(size, dst, "r10", FRAME + at);
}

/** The same as a number. */
export function frameNumber(a: Assembler, dst: Reg, at: number): void {
  frameField(a, "h", dst, at);
  a.swap(dst, 16);
}

/** The number that this host reads where these bytes lie: what {@link frameField} gives for them. */
export function asLoaded(value: number, bytes: 2 | 4): number {
  const view = new DataView(new ArrayBuffer(4));
  if (bytes === 2) view.setUint16(0, value);
  else view.setUint32(0, value);
  return bytes === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
}

/**
 * Copies the beginning of the frame, whose length is in `r7` and at least 14, and what is missing as
 * zeros. Goes to `failed` when the kernel cannot give it.
 */
export function copyFrame(a: Assembler, failed: string): void {
  // Less than is copied: the verifier must know that every byte was written.
  for (let at = -8; at >= -72; at -= 8) a.store("dw", "r10", at, 0);
  a.mov("r4", "r7");
  a.jumpIf("le", "r4", FRAME_LEN, "copy");
  a.mov("r4", FRAME_LEN);
  a.label("copy");
  a.mov("r1", "r6");
  a.mov("r2", 0);
  a.mov("r3", "r10");
  a.add("r3", FRAME);
  a.call(HELPER.skbLoadBytes);
  a.jumpIf("ne", "r0", 0, failed);
}

/** Goes to `label` unless the MAC address at `at` of the frame, 48 bits, is `mac`. */
export function unlessMac(a: Assembler, at: number, mac: number, label: string): void {
  const high = Math.floor(mac / 0x10000);
  const low = mac % 0x10000;
  if ((FRAME + at) % 4 === 0) {
    frameField(a, "w", "r1", at);
    a.jumpIf32("ne", "r1", asLoaded(high, 4), label);
    frameField(a, "h", "r1", at + 4);
    a.jumpIf("ne", "r1", asLoaded(low, 2), label);
    return;
  }
  frameField(a, "h", "r1", at);
  a.jumpIf("ne", "r1", asLoaded(Math.floor(mac / 0x100000000), 2), label);
  frameField(a, "w", "r1", at + 2);
  a.jumpIf32("ne", "r1", asLoaded(mac % 0x100000000, 4), label);
}

/** Folds a sum of words in `reg` to 16 bits, with end-around carry (RFC 1071); uses `tmp`. */
export function fold(a: Assembler, reg: Reg, tmp: Reg): void {
  a.mov(tmp, reg);
  a.alu("rsh", tmp, 32);
  a.alu32("mov", reg, reg);
  a.add(reg, tmp);
  for (let i = 0; i < 3; i++) {
    a.mov(tmp, reg);
    a.alu("rsh", tmp, 16);
    a.alu("and", reg, 0xffff);
    a.add(reg, tmp);
  }
}

/** Goes to `label` unless the words of the IPv4 header add up. */
export function unlessHeaderSum(a: Assembler, label: string): void {
  a.mov("r1", 0);
  for (let at = IP; at < UDP; at += 4) {
    frameField(a, "w", "r2", at);
    a.add("r1", "r2");
  }
  fold(a, "r1", "r2");
  a.jumpIf("ne", "r1", 0xffff, label);
}

/** `r8` = the slot of the uplink that counts. */
export function activeSlot(a: Assembler, uplinkFd: number): void {
  a.mapValue("r8", uplinkFd);
  a.load("w", "r1", "r8", UPLINK.active);
  a.alu("and", "r1", 1);
  a.alu("lsh", "r1", UPLINK.slotBits);
  a.add("r8", UPLINK.slots);
  a.add("r8", "r1");
}

/** The verdict of the rule that follows. */
export function rule(a: Assembler, verdict: Verdict): void {
  a.mov("r9", verdict);
}

/** Adds one for the verdict in `r9`; `base` is one of {@link COUNTERS}. Uses `r1` to `r3`. */
export function countVerdict(a: Assembler, countersFd: number, base: number): void {
  a.mapValue("r1", countersFd);
  a.mov("r2", "r9");
  a.alu("lsh", "r2", 3);
  a.add("r1", "r2");
  a.mov("r3", 1);
  a.atomicAdd("r1", base, "r3");
}

/** Puts the frame into the ring: verdict in `r9`, length in `r7`. Uses `r1` to `r5`, `r8`. */
export function keepRefused(a: Assembler, countersFd: number, ringFd: number): void {
  a.mapValue("r1", countersFd);
  a.mov("r2", 1);
  a.atomicFetchAdd("r1", COUNTERS.refused, "r2");
  a.alu("and", "r2", RING.frames - 1);
  a.mov("r3", 0);
  // times RING.entry, which is no power of two, by its bits
  for (let bit = 0; bit < 16; bit++) {
    if ((RING.entry >> bit & 1) === 0) continue;
    a.mov("r4", "r2");
    a.alu("lsh", "r4", bit);
    a.add("r3", "r4");
  }
  a.mapValue("r8", ringFd);
  a.add("r8", "r3");
  a.call(HELPER.ktimeGetBootNs);
  a.store("dw", "r8", RING.time, "r0");
  a.store("w", "r8", RING.verdict, "r9");
  a.store("w", "r8", RING.length, "r7");
  // The packet itself may be shorter by a VLAN tag that the kernel has taken out.
  a.load("w", "r4", "r6", SKB.len);
  a.jumpIf("eq", "r4", 0, "kept");
  a.jumpIf("le", "r4", SNAP_LEN, "keep");
  a.mov("r4", SNAP_LEN);
  a.label("keep");
  a.mov("r1", "r6");
  a.mov("r2", 0);
  a.mov("r3", "r8");
  a.add("r3", RING.bytes);
  a.call(HELPER.skbLoadBytes);
  a.label("kept");
}

/**
 * Rule `not-wireguard`: goes to `refused` unless a payload of `size` bytes, in a register, whose
 * first word is in `word` as loaded, has the shape of a WireGuard message (wireguard_shape.ts).
 * Uses `tmp`; falls through when it has. `name` makes the labels unique.
 */
export function unlessShaped(
  a: Assembler,
  { size, word, tmp, name, refused }: {
    readonly size: Reg;
    readonly word: Reg;
    readonly tmp: Reg;
    readonly name: string;
    readonly refused: string;
  },
): void {
  a.jumpIf("lt", size, 32, refused);
  a.jumpIf("eq", word, 4, `${name}-data`);
  for (const [type, length] of [[1, 148], [2, 92], [3, 64]] as const) {
    a.jumpIf("ne", word, type, `${name}-not-${type}`);
    a.jumpIf("eq", size, length, `${name}-shaped`);
    a.label(`${name}-not-${type}`);
  }
  a.jump(refused);
  a.label(`${name}-data`);
  a.jumpIf("ge", size, 1280 + 32, `${name}-shaped`);
  a.mov(tmp, size);
  a.alu("and", tmp, 15);
  a.jumpIf("ne", tmp, 0, refused);
  a.label(`${name}-shaped`);
}
