/**
 * Why VMs were ended, for borrowers that could not be told at the time: the network was down, or
 * their machine asleep. Whoever says that he still uses such a VM is told then.
 *
 * ## Limits
 *
 * {@link MAX_ENDED} VMs; the one that ended first makes room. Its borrower then only learns that
 * the VM is not there.
 *
 * @module
 */

import type { VmId } from "../core/ids.ts";
import type { Lease } from "./lease.ts";

/** VMs that are remembered. */
export const MAX_ENDED = 64;

/** A VM that was ended. */
export interface EndedVm<Ended> {
  /** What it was lent as. */
  readonly lease: Ended;
  /** Why it was ended. */
  readonly reason: string;
}

/** VMs that were ended, and why. */
export class EndedVms<Ended extends Pick<Lease, "id" | "machine">> {
  readonly #ended = new Map<VmId, EndedVm<Ended>>();

  /** Remembers a VM. */
  add(lease: Ended, reason: string): void {
    this.#ended.set(lease.id, { lease, reason });
    for (const id of this.#ended.keys()) {
      if (this.#ended.size <= MAX_ENDED) break;
      this.#ended.delete(id);
    }
  }

  /** Those of these VMs that were lent to this machine and have ended. */
  of(machine: string, ids: readonly string[]): EndedVm<Ended>[] {
    return ids.flatMap((id) => this.#ended.get(id as VmId) ?? [])
      .filter(({ lease }) => lease.machine === machine);
  }
}
