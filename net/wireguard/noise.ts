/**
 * The symmetric half of the handshake: hash, MAC, key derivation and sealing with associated data
 * (paper 5.4, "Noise protocol framework" revision 34, section 5.2).
 *
 * @module
 */

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2s } from "@noble/hashes/blake2.js";
import { hmac } from "@noble/hashes/hmac.js";
import { CONSTRUCTION, IDENTIFIER } from "./constants.ts";

/** Bytes of a hash and of a chaining key. */
export const HASH_LEN = 32;
const NOTHING = new Uint8Array(0);
/** Every handshake key seals one text, so its nonce is always 0. */
const ZERO_NONCE = new Uint8Array(12);

/** BLAKE2s-256 of the parts one behind the other. */
export function hash(...parts: readonly Uint8Array[]): Uint8Array {
  const state = blake2s.create({ dkLen: HASH_LEN });
  for (const part of parts) state.update(part);
  return state.digest();
}

/** Keyed BLAKE2s-128. */
export function mac(key: Uint8Array, input: Uint8Array): Uint8Array {
  return blake2s(input, { key, dkLen: 16 });
}

/** HKDF with HMAC-BLAKE2s: `n` keys out of a chaining key and an input. */
export function kdf(n: 1 | 2 | 3, chainingKey: Uint8Array, input: Uint8Array): Uint8Array[] {
  const secret = hmac(blake2s, chainingKey, input);
  const keys: Uint8Array[] = [];
  const block = new Uint8Array(HASH_LEN + 1);
  for (let i = 1; i <= n; i++) {
    block[HASH_LEN] = i;
    const key = hmac(blake2s, secret, i === 1 ? block.subarray(HASH_LEN) : block);
    keys.push(key);
    block.set(key);
  }
  secret.fill(0);
  block.fill(0);
  return keys;
}

/** Chaining key and hash before the first token: paper 5.4.2. */
export const INITIAL_CHAINING_KEY: Uint8Array = hash(new TextEncoder().encode(CONSTRUCTION));
/** See {@link INITIAL_CHAINING_KEY}. */
export const INITIAL_HASH: Uint8Array = hash(
  INITIAL_CHAINING_KEY,
  new TextEncoder().encode(IDENTIFIER),
);

/** Chaining key and running hash of one handshake; Noise calls it SymmetricState. */
export class SymmetricState {
  readonly #chainingKey: Uint8Array;
  readonly #hash: Uint8Array;

  private constructor(chainingKey: Uint8Array, hash: Uint8Array) {
    this.#chainingKey = chainingKey;
    this.#hash = hash;
  }

  /** The start of a handshake with the owner of `responder`, a public key. */
  static start(responder: Uint8Array): SymmetricState {
    return new SymmetricState(INITIAL_CHAINING_KEY.slice(), hash(INITIAL_HASH, responder));
  }

  /** A copy, so that a message that turns out to be forged leaves the original as it was. */
  clone(): SymmetricState {
    return new SymmetricState(this.#chainingKey.slice(), this.#hash.slice());
  }

  /** `H := HASH(H || data)` */
  mixHash(data: Uint8Array): void {
    this.#hash.set(hash(this.#hash, data));
  }

  /** `C := KDF1(C, input)` */
  mixKey(input: Uint8Array): void {
    const [chainingKey] = kdf(1, this.#chainingKey, input) as [Uint8Array];
    this.#take(chainingKey);
  }

  /** `(C, k) := KDF2(C, input)`; the caller wipes k. */
  mixKeyToKey(input: Uint8Array): Uint8Array {
    const [chainingKey, key] = kdf(2, this.#chainingKey, input) as [Uint8Array, Uint8Array];
    this.#take(chainingKey);
    return key;
  }

  /** `(C, t, k) := KDF3(C, psk); H := HASH(H || t)`; the caller wipes k. */
  mixPresharedKey(psk: Uint8Array): Uint8Array {
    const [chainingKey, t, key] = kdf(3, this.#chainingKey, psk) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    this.#take(chainingKey);
    this.mixHash(t);
    t.fill(0);
    return key;
  }

  /** Seals under `key` and takes the result into the hash. Wipes `key`. */
  sealAndHash(key: Uint8Array, plain: Uint8Array): Uint8Array {
    const sealed = chacha20poly1305(key, ZERO_NONCE, this.#hash).encrypt(plain);
    key.fill(0);
    this.mixHash(sealed);
    return sealed;
  }

  /** Opens under `key` and takes `sealed` into the hash; undefined when forged. Wipes `key`. */
  openAndHash(key: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    try {
      const plain = chacha20poly1305(key, ZERO_NONCE, this.#hash).decrypt(sealed);
      this.mixHash(sealed);
      return plain;
    } catch {
      return undefined;
    } finally {
      key.fill(0);
    }
  }

  /** The two transport keys (paper 5.4.5), the initiator's sending key first. Wipes the state. */
  split(): [Uint8Array, Uint8Array] {
    const keys = kdf(2, this.#chainingKey, NOTHING) as [Uint8Array, Uint8Array];
    this.wipe();
    return keys;
  }

  /** Forgets everything. */
  wipe(): void {
    this.#chainingKey.fill(0);
    this.#hash.fill(0);
  }

  #take(chainingKey: Uint8Array): void {
    this.#chainingKey.set(chainingKey);
    chainingKey.fill(0);
  }
}
