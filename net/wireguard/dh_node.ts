/**
 * X25519 by `node:crypto`, which takes keys in DER only: RFC 8410 wraps 32 bytes in a fixed prefix.
 *
 * @module
 */

import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from "node:crypto";
import { Buffer } from "node:buffer";
import { type Dh, type DhKey, KEY_LEN } from "./crypto.ts";

/** RFC 8410 section 7: PrivateKeyInfo up to the key itself. */
const PKCS8 = Uint8Array.fromHex("302e020100300506032b656e04220420");
/** RFC 8410 section 4: SubjectPublicKeyInfo up to the key itself. */
const SPKI = Uint8Array.fromHex("302a300506032b656e032100");

class NodeDhKey implements DhKey {
  readonly publicKey: Uint8Array;
  #privateKey: KeyObject | undefined;

  constructor(privateKey: Uint8Array) {
    const der = Buffer.concat([PKCS8, privateKey]);
    this.#privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    der.fill(0);
    const spki = createPublicKey(this.#privateKey).export({ format: "der", type: "spki" });
    this.publicKey = Uint8Array.from(spki.subarray(SPKI.length));
  }

  shared(publicKey: Uint8Array): Uint8Array | undefined {
    if (this.#privateKey === undefined || publicKey.length !== KEY_LEN) return undefined;
    try {
      const key = Buffer.concat([SPKI, publicKey]);
      const secret = diffieHellman({
        privateKey: this.#privateKey,
        publicKey: createPublicKey({ key, format: "der", type: "spki" }),
      });
      const out = Uint8Array.from(secret);
      secret.fill(0);
      return out;
    } catch {
      // OpenSSL refuses an all-zero result, which is what every point of low order gives.
      return undefined;
    }
  }

  /** The key object belongs to the runtime: it is let go of, and its memory cannot be wiped. */
  wipe(): void {
    this.#privateKey = undefined;
  }
}

/** The implementation by `node:crypto`. */
export const nodeDh: Dh = {
  name: "node",
  key: (privateKey: Uint8Array): DhKey => new NodeDhKey(privateKey),
};
