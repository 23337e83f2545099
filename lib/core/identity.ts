/**
 * Who a node is: an Ed25519 key for the peer (a person) and an X25519 key for the machine, which is
 * also its WireGuard key. The peer signs the machine key together with the time it was made, which
 * binds the two: one peer may have several machines, no machine two peers.
 *
 * @module
 */

import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { Buffer } from "node:buffer";
import { type MachineId, machineIdOf, type PeerId, peerIdOf } from "./ids.ts";

/** Bytes of a key, private or public, of either kind. */
export const KEY_LEN = 32;
/** Bytes of an Ed25519 signature. */
export const SIGNATURE_LEN = 64;

/** What must be kept to be the same peer and machine again. */
export interface IdentityKeys {
  /** Ed25519 seed of the peer, 32 bytes. Secret. */
  readonly peerSeed: Uint8Array;
  /** X25519 private key of the machine, 32 bytes. Secret. */
  readonly machineKey: Uint8Array;
  /** When the machine key was made, in ms since 1970. */
  readonly machineCreated: number;
}

// RFC 8410 section 7 and 4: the fixed DER in front of a raw key.
const ED25519_PKCS8 = Uint8Array.fromHex("302e020100300506032b657004220420");
const ED25519_SPKI = Uint8Array.fromHex("302a300506032b6570032100");
const X25519_PKCS8 = Uint8Array.fromHex("302e020100300506032b656e04220420");
const SPKI_PREFIX_LEN = 12;

const BINDING_CONTEXT = new TextEncoder().encode("omerta machine binding v1");

/** Fresh random keys. */
export function generateIdentity(now: number): IdentityKeys {
  return {
    peerSeed: new Uint8Array(randomBytes(KEY_LEN)),
    machineKey: new Uint8Array(randomBytes(KEY_LEN)),
    machineCreated: now,
  };
}

/** A peer and one machine of it, able to sign. */
export class Identity {
  /** Ed25519 public key, 32 bytes. */
  readonly peerKey: Uint8Array;
  /** X25519 public key, 32 bytes. */
  readonly machineKey: Uint8Array;
  /** X25519 private key, 32 bytes: the WireGuard key of this machine. Secret. */
  readonly machinePrivateKey: Uint8Array;
  /** When the machine key was made, in ms since 1970. */
  readonly machineCreated: number;
  /** Id of the peer. */
  readonly peerId: PeerId;
  /** Id of the machine. */
  readonly machineId: MachineId;
  readonly #signingKey: KeyObject;

  /**
   * The identity of a pair of keys.
   *
   * @param keys From {@link generateIdentity}, or read from the configuration.
   */
  constructor(keys: IdentityKeys) {
    this.#signingKey = privateKey(ED25519_PKCS8, keys.peerSeed);
    this.peerKey = rawPublicKey(this.#signingKey);
    this.machineKey = rawPublicKey(privateKey(X25519_PKCS8, keys.machineKey));
    this.machinePrivateKey = keys.machineKey;
    this.machineCreated = keys.machineCreated;
    this.peerId = peerIdOf(this.peerKey);
    this.machineId = machineIdOf(this.machineKey);
  }

  /** Ed25519 signature of `data` by the peer, 64 bytes. */
  sign(data: Uint8Array): Uint8Array {
    return new Uint8Array(sign(null, data, this.#signingKey));
  }

  /** The peer's signature that this machine key is its own. */
  bindMachine(): Uint8Array {
    return this.sign(bindingOf(this.machineKey, this.machineCreated));
  }
}

/** Whether `signature` over `data` is by the owner of the Ed25519 key `peerKey`. Never throws. */
export function verifySignature(
  peerKey: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (peerKey.length !== KEY_LEN || signature.length !== SIGNATURE_LEN) return false;
  try {
    const key = createPublicKey({
      key: joined(ED25519_SPKI, peerKey),
      format: "der",
      type: "spki",
    });
    return verify(null, data, key, signature);
  } catch {
    return false; // 32 bytes that are no point of the curve
  }
}

/** Whether `peerKey` has signed that `machineKey`, made at `created`, is its own. */
export function verifyBinding(
  peerKey: Uint8Array,
  machineKey: Uint8Array,
  created: number,
  signature: Uint8Array,
): boolean {
  return verifySignature(peerKey, bindingOf(machineKey, created), signature);
}

function bindingOf(machineKey: Uint8Array, created: number): Uint8Array {
  const time = new Uint8Array(8);
  new DataView(time.buffer).setBigUint64(0, BigInt(created));
  return joined(BINDING_CONTEXT, machineKey, time);
}

function privateKey(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: joined(prefix, raw), format: "der", type: "pkcs8" });
}

function rawPublicKey(key: KeyObject): Uint8Array {
  const der = createPublicKey(key).export({ format: "der", type: "spki" });
  return new Uint8Array(der.subarray(SPKI_PREFIX_LEN));
}

function joined(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat(parts);
}
