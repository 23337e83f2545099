/**
 * Identifiers: 8 bytes, written as 16 hex characters. Peer, machine and network ids are the first
 * 8 bytes of SHA-256 of the key they name, so nobody can choose one; a VM id is random.
 *
 * They are branded: handing a machine id to something that wants a peer id does not type-check.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";

/** Tells the brands apart; exists for the type checker alone. */
declare const brand: unique symbol;
type Id<Name extends string> = string & { readonly [brand]: Name };

/** Names an Ed25519 public key: a person. */
export type PeerId = Id<"peer">;
/** Names an X25519 public key: a computer, and its WireGuard key. */
export type MachineId = Id<"machine">;
/** Names a 32-byte network key. */
export type NetworkId = Id<"network">;
/** Names a virtual machine; chosen by its lender. */
export type VmId = Id<"vm">;

const ID_BYTES = 8;
const ID_REGEXP = /^[0-9a-f]{16}$/;

function hashId(key: Uint8Array): string {
  return createHash("sha256").update(key).digest("hex").slice(0, ID_BYTES * 2);
}

/** Id of a peer, from its 32-byte Ed25519 public key. */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return hashId(publicKey) as PeerId;
}

/** Id of a machine, from its 32-byte X25519 public key. */
export function machineIdOf(publicKey: Uint8Array): MachineId {
  return hashId(publicKey) as MachineId;
}

/** Id of a network, from its 32-byte key. */
export function networkIdOf(key: Uint8Array): NetworkId {
  return hashId(key) as NetworkId;
}

/** A fresh random VM id. */
export function newVmId(): VmId {
  return randomBytes(ID_BYTES).toString("hex") as VmId;
}

/** `text` as a VM id, or undefined when it is not 16 lower-case hex characters. */
export function parseVmId(text: string): VmId | undefined {
  return ID_REGEXP.test(text) ? text as VmId : undefined;
}
