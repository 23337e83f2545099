/**
 * ChaCha20-Poly1305 by noble: pure TypeScript, works everywhere, is the reference for the others.
 *
 * @module
 */

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { type Aead, type Opener, type Sealer, TAG_LEN } from "./crypto.ts";
import { NONCE_LEN, writeNonce } from "./_nonce.ts";

class NobleKey implements Sealer, Opener {
  readonly #key: Uint8Array;
  readonly #nonce = new Uint8Array(NONCE_LEN);

  constructor(key: Uint8Array) {
    this.#key = key.slice();
  }

  seal(
    counter: number,
    src: Uint8Array,
    srcAt: number,
    length: number,
    dst: Uint8Array,
    dstAt: number,
  ): void {
    writeNonce(this.#nonce, counter);
    chacha20poly1305(this.#key, this.#nonce).encrypt(
      src.subarray(srcAt, srcAt + length),
      dst.subarray(dstAt, dstAt + length + TAG_LEN),
    );
  }

  open(
    counter: number,
    src: Uint8Array,
    srcAt: number,
    length: number,
    dst: Uint8Array,
    dstAt: number,
  ): boolean {
    writeNonce(this.#nonce, counter);
    try {
      chacha20poly1305(this.#key, this.#nonce).decrypt(
        src.subarray(srcAt, srcAt + length),
        dst.subarray(dstAt, dstAt + length - TAG_LEN),
      );
      return true;
    } catch {
      return false;
    }
  }

  wipe(): void {
    this.#key.fill(0);
  }
}

/** The implementation by noble. */
export const nobleAead: Aead = {
  name: "noble",
  sealer: (key: Uint8Array): Sealer => new NobleKey(key),
  opener: (key: Uint8Array): Opener => new NobleKey(key),
};
