/**
 * WireGuard messages that say whose they are: with indices, or with a mac1.
 *
 * @module
 */

import { hash, mac } from "../../net/wireguard/noise.ts";

/** A message of this type with its indices; the rest counts up. */
export function indexedMessage(type: number, sender: number, receiver = 0): Uint8Array {
  const bytes = new Uint8Array([0, 148, 92, 64, 96][type] ?? 32).map((_, i) => i);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, type <= 2 ? sender : receiver, true);
  if (type === 2) view.setUint32(8, receiver, true);
  return bytes;
}

/** An initiation with the mac1 of paper 5.4.4 for `publicKey`. */
export function initiationFor(publicKey: Uint8Array): Uint8Array {
  const bytes = indexedMessage(1, 0x1234);
  const key = hash(new TextEncoder().encode("mac1----"), publicKey);
  bytes.set(mac(key, bytes.subarray(0, 116)), 116);
  return bytes;
}
