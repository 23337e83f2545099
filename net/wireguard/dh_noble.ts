/**
 * X25519 by noble.
 *
 * @module
 */

import { x25519 } from "@noble/curves/ed25519.js";
import type { Dh, DhKey } from "./crypto.ts";

class NobleDhKey implements DhKey {
  readonly publicKey: Uint8Array;
  readonly #privateKey: Uint8Array;

  constructor(privateKey: Uint8Array) {
    this.#privateKey = privateKey.slice();
    this.publicKey = x25519.getPublicKey(this.#privateKey);
  }

  shared(publicKey: Uint8Array): Uint8Array | undefined {
    try {
      return x25519.getSharedSecret(this.#privateKey, publicKey);
    } catch {
      // Noble refuses an all-zero result, which is what every point of low order gives.
      return undefined;
    }
  }

  wipe(): void {
    this.#privateKey.fill(0);
  }
}

/** The implementation by noble. */
export const nobleDh: Dh = {
  name: "noble",
  key: (privateKey: Uint8Array): DhKey => new NobleDhKey(privateKey),
};
