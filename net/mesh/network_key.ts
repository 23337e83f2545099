/**
 * What is derived from a network's 32-byte key (HKDF with SHA-256, RFC 5869): one key for each use,
 * so that none of them tells anything about another or about the network key.
 *
 * @module
 */

import { hkdfSync } from "node:crypto";

/** Bytes of every key here. */
const KEY_LEN = 32;

/** Key that seals the control envelopes of a network. */
export function envelopeKeyOf(networkKey: Uint8Array): Uint8Array {
  return derive(networkKey, new Uint8Array(0), "omerta envelope v1");
}

/**
 * WireGuard preshared key between two members: an outsider who learns both public keys still cannot
 * complete a handshake. Both ends derive the same from the two public keys, in any order.
 */
export function presharedKeyOf(
  networkKey: Uint8Array,
  a: Uint8Array,
  b: Uint8Array,
): Uint8Array {
  const [low, high] = a.toHex() < b.toHex() ? [a, b] : [b, a];
  const salt = new Uint8Array(2 * KEY_LEN);
  salt.set(low);
  salt.set(high, KEY_LEN);
  return derive(networkKey, salt, "omerta wireguard psk v1");
}

function derive(key: Uint8Array, salt: Uint8Array, label: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, salt, label, KEY_LEN));
}
