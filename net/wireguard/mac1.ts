/**
 * mac1: proof that whoever sent a handshake message knows our public key (paper 5.4.4). It is
 * checked before anything else, and lets several devices share one socket.
 *
 * @module
 */

import { LABEL_MAC1 } from "./constants.ts";
import { INITIATION, MAC_LEN, MACS_LEN, messageType, RESPONSE } from "./messages.ts";
import { hash, mac } from "./noise.ts";

/** `HASH(LABEL_MAC1 || publicKey)` */
export function mac1Key(publicKey: Uint8Array): Uint8Array {
  return hash(new TextEncoder().encode(LABEL_MAC1), publicKey);
}

/** Whether two runs of bytes are equal, in a time that does not depend on where they differ. */
export function equalBytes(a: Uint8Array, b: Uint8Array, bAt: number): boolean {
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[bAt + i] ?? 0);
  return difference === 0;
}

/** Tells handshake messages for one public key from all others. */
export class Mac1Check {
  readonly #key: Uint8Array;

  /** `publicKey` is that of the device which messages are meant for. */
  constructor(publicKey: Uint8Array) {
    this.#key = mac1Key(publicKey);
  }

  /** Whether the `length` bytes at `at` are an initiation or a response for this key. */
  matches(buffer: Uint8Array, at: number, length: number): boolean {
    const type = messageType(buffer, at, length);
    if (type !== INITIATION && type !== RESPONSE) return false;
    const end = at + length - MACS_LEN;
    return equalBytes(mac(this.#key, buffer.subarray(at, end)), buffer, end);
  }
}

/** Where mac1 begins in a handshake message of this length. */
export function mac1At(length: number): number {
  return length - MACS_LEN;
}

/** Where mac2 begins in a handshake message of this length. */
export function mac2At(length: number): number {
  return length - MAC_LEN;
}
