/**
 * ChaCha20-Poly1305 by `node:crypto`: native code behind one object per packet.
 *
 * A cipher object that never reaches `final()` leaks, so each one is finished on every way out.
 *
 * @module
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import { type Aead, type Opener, type Sealer, TAG_LEN } from "./crypto.ts";
import { NONCE_LEN, writeNonce } from "./_nonce.ts";

const ALGORITHM = "chacha20-poly1305";
const OPTIONS = { authTagLength: TAG_LEN };

class NodeKey implements Sealer, Opener {
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
    const cipher = createCipheriv(ALGORITHM, this.#key, this.#nonce, OPTIONS);
    dst.set(cipher.update(src.subarray(srcAt, srcAt + length)), dstAt);
    cipher.final();
    dst.set(cipher.getAuthTag(), dstAt + length);
  }

  open(
    counter: number,
    src: Uint8Array,
    srcAt: number,
    length: number,
    dst: Uint8Array,
    dstAt: number,
  ): boolean {
    const end = srcAt + length - TAG_LEN;
    // A tag that is too short would be refused by an exception, before the object is finished.
    const outside = end + TAG_LEN > src.length || dstAt + length - TAG_LEN > dst.length;
    if (length < TAG_LEN || outside) return false;
    writeNonce(this.#nonce, counter);
    const decipher = createDecipheriv(ALGORITHM, this.#key, this.#nonce, OPTIONS);
    decipher.setAuthTag(src.subarray(end, end + TAG_LEN));
    const plain = decipher.update(src.subarray(srcAt, end));
    try {
      decipher.final();
    } catch {
      return false;
    }
    dst.set(plain, dstAt);
    return true;
  }

  wipe(): void {
    this.#key.fill(0);
  }
}

/** The implementation by `node:crypto`. */
export const nodeAead: Aead = {
  name: "node",
  sealer: (key: Uint8Array): Sealer => new NodeKey(key),
  opener: (key: Uint8Array): Opener => new NodeKey(key),
};
