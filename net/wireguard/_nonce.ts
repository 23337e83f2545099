/**
 * The nonce of a packet: four zero bytes, then the counter, little-endian (paper 5.4.6).
 *
 * @module
 */

/** Bytes of a ChaCha20-Poly1305 nonce. */
export const NONCE_LEN = 12;

/** Writes `counter`, an integer below 2^53, into a nonce whose first four bytes are zero. */
export function writeNonce(nonce: Uint8Array, counter: number): void {
  const low = counter >>> 0;
  const high = (counter - low) / 0x1_0000_0000;
  nonce[4] = low;
  nonce[5] = low >>> 8;
  nonce[6] = low >>> 16;
  nonce[7] = low >>> 24;
  nonce[8] = high;
  nonce[9] = high >>> 8;
  nonce[10] = high >>> 16;
  nonce[11] = high >>> 24;
}
