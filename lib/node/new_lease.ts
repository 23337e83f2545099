/**
 * What a lender promises for a request: an id, an address, and keys made for this one VM.
 *
 * @module
 */

import type { Accelerator } from "../../vm/accelerator.ts";
import { NO_STAGE, reachStage } from "../../vm/stages.ts";
import type { RogueLimits } from "../../net/filter/rogue.ts";
import { formatKey, generatePrivateKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import { newVmId, peerIdOf } from "../core/ids.ts";
import { generateSshKey } from "../core/ssh_key.ts";
import type { Origin } from "./control.ts";
import type { Lease } from "./lease.ts";
import type { VmRequest } from "./messages.ts";
import { firstFreeHost, hostAddress } from "./tunnel_addresses.ts";
import type { GuestKeys } from "./vm_for_lease.ts";

/** What the lender adds to a request. */
export interface LeaseTerms {
  /** What runs VMs on this host. */
  readonly accelerator: Accelerator;
  /** Whether nothing will be started. */
  readonly dryRun: boolean;
  /** Share of the frames that is judged in mode `sampled`. */
  readonly sampleRate: number;
  /** From when on it is called rogue. */
  readonly rogue: RogueLimits;
  /** Time of now in ms since 1970. */
  readonly now: number;
}

/** A lease at the stage `accepted`, and the keys that only the guest is told. */
export function newLease(
  request: VmRequest,
  origin: Origin,
  { accelerator, dryRun, sampleRate, rogue, now }: LeaseTerms,
): { readonly lease: Lease; readonly keys: GuestKeys } {
  const id = newVmId();
  const hostKey = generateSshKey(request.name);
  const privateKey = generatePrivateKey();
  const publicKey = publicKeyOf(privateKey);
  const lease: Lease = {
    id,
    request,
    machine: origin.machineKey.toHex(),
    peer: peerIdOf(origin.peerKey),
    network: origin.network,
    accepted: {
      vmId: id,
      address: hostAddress(firstFreeHost(new Set(request.taken))),
      wireguardKey: formatKey(publicKey),
      hostKey: hostKey.publicLine,
      accelerator,
      dryRun,
    },
    sampleRate,
    rogue,
    since: now,
    abort: new AbortController(),
    started: Promise.resolve(),
    endpoint: origin.from,
    stages: reachStage(NO_STAGE, "accepted", 0),
    next: undefined,
    lastSeen: now,
    cpus: request.cpus,
    memoryMiB: request.memoryMiB,
    diskGiB: request.diskGiB,
  };
  const borrowerKey = origin.machineKey;
  return { lease, keys: { privateKey, publicKey, hostKeyPem: hostKey.privatePem, borrowerKey } };
}
