/**
 * The two primitives that have several implementations: ChaCha20-Poly1305 for packets and X25519.
 * All of them give the same bytes; they differ in speed. `suite.ts` chooses.
 *
 * JavaScript gives no constant-time guarantee, and a runtime may have copied a key before `wipe`
 * is called: wiping is done on every way out, but it is best effort.
 *
 * @module
 */

/** Bytes of a key, private or public or shared. */
export const KEY_LEN = 32;
/** Bytes that sealing adds. */
export const TAG_LEN = 16;

/** Seals packets under one key. The nonce is the counter, RFC 8439 section 2.8 and paper 5.4.6. */
export interface Sealer {
  /**
   * Writes `length` bytes of ciphertext and the 16-byte tag to `dst[dstAt..]`, which may be the
   * same place as `src[srcAt..]` or must not overlap it. `counter` is an integer below 2^53.
   */
  seal(
    counter: number,
    src: Uint8Array,
    srcAt: number,
    length: number,
    dst: Uint8Array,
    dstAt: number,
  ): void;
  /** Forgets the key; nothing can be sealed afterwards. */
  wipe(): void;
}

/** Opens packets under one key. */
export interface Opener {
  /**
   * Opens `length` bytes, the last 16 of them the tag, and writes `length - 16` bytes to
   * `dst[dstAt..]`, which may be the same place or must not overlap. False when the tag is wrong;
   * what was written to `dst` is then undefined and must not be used.
   */
  open(
    counter: number,
    src: Uint8Array,
    srcAt: number,
    length: number,
    dst: Uint8Array,
    dstAt: number,
  ): boolean;
  /** Forgets the key; nothing can be opened afterwards. */
  wipe(): void;
}

/** ChaCha20-Poly1305 (RFC 8439) without associated data, one object for each key and direction. */
export interface Aead {
  /** For logs: `noble`, `node`, `libcrypto`. */
  readonly name: string;
  /** Takes a copy of the 32-byte key. */
  sealer(key: Uint8Array): Sealer;
  /** Takes a copy of the 32-byte key. */
  opener(key: Uint8Array): Opener;
}

/** An X25519 private key in use. */
export interface DhKey {
  /** Its 32-byte public key. */
  readonly publicKey: Uint8Array;
  /** The 32-byte shared secret, or undefined for a point of low order (RFC 7748 section 6.1). */
  shared(publicKey: Uint8Array): Uint8Array | undefined;
  /** Forgets the key. */
  wipe(): void;
}

/** X25519 (RFC 7748). */
export interface Dh {
  /** For logs: `noble`, `node`. */
  readonly name: string;
  /** Takes a copy of the 32-byte private key; clamped as RFC 7748 section 5 says. */
  key(privateKey: Uint8Array): DhKey;
}

/** What a device computes with. */
export interface CryptoSuite {
  /** For packets. */
  readonly aead: Aead;
  /** For handshakes. */
  readonly dh: Dh;
}
