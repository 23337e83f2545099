/**
 * BLAKE2s (RFC 7693) for the kernel: the keyed hash over the 116 bytes of a handshake initiation
 * that mac1 covers (WireGuard paper, section 5.4.4), 16 bytes long. One block for the key, two for
 * the message; the block function stands there once and is gone through three times.
 *
 * ```
 * input   192 bytes: key and 32 zeros | message, zeros up to 128 bytes
 * state   16 words v, 8 words h
 * ```
 *
 * @module
 */

import type { Assembler, Reg } from "./assembler.ts";

/** Bytes of the message that mac1 covers. */
export const MAC1_COVERS = 116;
/** Bytes of the key, and of a hash that is used as one. */
const KEY_LEN = 32;
/** Bytes of a block. */
const BLOCK = 64;
/** Bytes of the result. */
const OUT_LEN = 16;
/** Section 2.6: the initialization vector, that of SHA-256. */
const IV = [
  ...[0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a],
  ...[0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19],
] as const;
/** Section 2.7: the order of the message words in each round. */
const SIGMA = [
  "0123456789abcdef",
  "ea489fd61c02b753",
  "b8c052fdae367194",
  "7931dcbe265a40f8",
  "905724afe1bc683d",
  "2c6a0b834d75fe19",
  "c51fed4a0763928b",
  "db7ec13950f4862a",
  "6fe9b308c2d714a5",
  "a2847615fb9e3cd0",
] as const;
/** Section 3.1: the words that one mixing takes; columns, then diagonals. */
const MIXED = [
  ...[[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]],
  ...[[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]],
] as const;

/** Bytes of stack that {@link blake2s} needs, a multiple of 8. */
export const BLAKE2S_STACK: number = 3 * BLOCK + 64 + 32 + 8;

/**
 * Hashes what stands at `r10 + base + MESSAGE_AT`; leaves the result's four words at
 * `r10 + base + RESULT_AT`. `base` is a multiple of 8. Uses `r0` to `r5`, `r7`, `r9`.
 */
export function blake2s(a: Assembler, base: number): void {
  const v = base + 3 * BLOCK;
  const h = v + 64;
  const round = h + 32;
  IV.forEach((word, i) => {
    // Section 2.5: length of the result, of the key, fanout 1, depth 1.
    const parameters = i === 0 ? 0x01010000 | KEY_LEN << 8 | OUT_LEN : 0;
    a.store("w", "r10", h + 4 * i, (word ^ parameters) | 0);
  });
  a.store("dw", "r10", round, 0);
  a.mov("r7", 0);
  a.label("blake2s");
  for (let i = 0; i < 8; i++) {
    a.load("w", "r1", "r10", h + 4 * i);
    a.store("w", "r10", v + 4 * i, "r1");
    a.store("w", "r10", v + 32 + 4 * i, (IV[i] ?? 0) | 0);
  }
  // r9 = the block; the counter of bytes goes into v[12], the last block is marked in v[14].
  a.mov("r9", "r10");
  a.add("r9", base);
  a.add("r9", "r7");
  a.mov("r1", "r7");
  a.add("r1", BLOCK);
  a.jumpIf("ne", "r7", 2 * BLOCK, "blake2s-more");
  a.mov("r1", BLOCK + MAC1_COVERS);
  a.store("w", "r10", v + 56, ~(IV[6]) | 0);
  a.label("blake2s-more");
  a.alu32("xor", "r1", IV[4]);
  a.store("w", "r10", v + 48, "r1");
  for (const sigma of SIGMA) {
    MIXED.forEach((words, i) => {
      const x = parseInt(sigma[2 * i] ?? "", 16);
      const y = parseInt(sigma[2 * i + 1] ?? "", 16);
      mix(a, v, words, 4 * x, 4 * y);
    });
  }
  for (let i = 0; i < 8; i++) {
    a.load("w", "r1", "r10", h + 4 * i);
    a.load("w", "r2", "r10", v + 4 * i);
    a.alu32("xor", "r1", "r2");
    a.load("w", "r2", "r10", v + 32 + 4 * i);
    a.alu32("xor", "r1", "r2");
    a.store("w", "r10", h + 4 * i, "r1");
  }
  a.add("r7", BLOCK);
  a.jumpIf("lt", "r7", 3 * BLOCK, "blake2s");
}

/** Where the message of {@link blake2s} stands, from its base. */
export const MESSAGE_AT: number = BLOCK;
/** Where its result is left, from its base. */
export const RESULT_AT: number = 3 * BLOCK + 64;

/** Writes the key, and zeros where the message does not reach. */
export function writeKey(a: Assembler, base: number, key: Uint8Array): void {
  const words = new DataView(key.buffer, key.byteOffset, KEY_LEN);
  for (let at = 0; at < KEY_LEN; at += 4) {
    a.store("w", "r10", base + at, words.getInt32(at, true));
  }
  for (let at = KEY_LEN; at < BLOCK; at += 8) a.store("dw", "r10", base + at, 0);
  for (let at = MESSAGE_AT + 112; at < 3 * BLOCK; at += 8) a.store("dw", "r10", base + at, 0);
}

/** Section 3.1: the function G on four words of v, with the message words at `x` and `y`. */
function mix(a: Assembler, v: number, words: readonly number[], x: number, y: number): void {
  const registers = ["r1", "r2", "r3", "r4"] as const;
  words.forEach((word, i) => a.load("w", registers[i] ?? "r1", "r10", v + 4 * word));
  for (const [message, first, second] of [[x, 16, 12], [y, 8, 7]] as const) {
    a.alu32("add", "r1", "r2");
    a.load("w", "r0", "r9", message);
    a.alu32("add", "r1", "r0");
    a.alu32("xor", "r4", "r1");
    rotate(a, "r4", first);
    a.alu32("add", "r3", "r4");
    a.alu32("xor", "r2", "r3");
    rotate(a, "r2", second);
  }
  words.forEach((word, i) => a.store("w", "r10", v + 4 * word, registers[i] ?? "r1"));
}

function rotate(a: Assembler, reg: Reg, bits: number): void {
  a.alu32("mov", "r5", reg);
  a.alu32("rsh", "r5", bits);
  a.alu32("lsh", reg, 32 - bits);
  a.alu32("or", reg, "r5");
}
