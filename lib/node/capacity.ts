/**
 * What a lender lends in all. Whether one more VM fits is decided in `rules.ts`.
 *
 * @module
 */

import { availableParallelism, totalmem } from "node:os";
import type { LendRules } from "../core/config.ts";

/** An amount of what VMs use. */
export interface Resources {
  /** Virtual processors. */
  readonly cpus: number;
  /** Memory in MiB. */
  readonly memoryMiB: number;
  /** Disk in GiB. */
  readonly diskGiB: number;
}

/** What a lender lends in all. */
export interface Capacity extends Resources {
  /** VMs at a time. */
  readonly vms: number;
}

/** What this host lends: as configured, else all processors and half of the memory. */
export function capacityOf(
  lend: Pick<LendRules, "cpus" | "memoryMiB" | "diskGiB" | "vms">,
): Capacity {
  return {
    cpus: lend.cpus ?? availableParallelism(),
    memoryMiB: lend.memoryMiB ?? Math.floor(totalmem() / 2 / 1024 / 1024),
    diskGiB: lend.diskGiB,
    vms: lend.vms,
  };
}
