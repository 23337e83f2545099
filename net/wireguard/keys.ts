/**
 * Keys as text: 32 bytes in base64, 44 characters, as `wg` writes them.
 *
 * @module
 */

import { KEY_LEN } from "./crypto.ts";
import { FASTEST_SUITE } from "./suite.ts";

/** 32 bytes are 42 full characters, one that carries 4 bits, and one of padding. */
const KEY_REGEXP = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

/** A fresh private key, clamped as RFC 7748 section 5 says, so that `wg` shows the same text. */
export function generatePrivateKey(): Uint8Array {
  const key = crypto.getRandomValues(new Uint8Array(KEY_LEN));
  key[0] = (key[0] ?? 0) & 248;
  key[31] = ((key[31] ?? 0) & 127) | 64;
  return key;
}

/** A fresh preshared key. */
export function generatePresharedKey(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(KEY_LEN));
}

/** The public key that belongs to a 32-byte private key. */
export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  const key = FASTEST_SUITE.dh.key(privateKey);
  key.wipe();
  return key.publicKey;
}

/** 44 characters. */
export function formatKey(key: Uint8Array): string {
  return key.toBase64();
}

/** The key, or undefined when `text` is not exactly what {@link formatKey} writes. */
export function parseKey(text: string): Uint8Array | undefined {
  return KEY_REGEXP.test(text) ? Uint8Array.fromBase64(text) : undefined;
}
