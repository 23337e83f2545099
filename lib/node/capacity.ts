/**
 * What a lender lends in all, and whether one more VM fits.
 *
 * @module
 */

import { availableParallelism, totalmem } from "node:os";
import { MIN_MEMORY_MIB } from "../../vm/manager.ts";
import type { Config } from "../core/config.ts";
import { EXIT, OmertaError } from "../core/errors.ts";

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
export function capacityOf(lend: Config["lend"]): Capacity {
  return {
    cpus: lend.cpus ?? availableParallelism(),
    memoryMiB: lend.memoryMiB ?? Math.floor(totalmem() / 2 / 1024 / 1024),
    diskGiB: lend.diskGiB,
    vms: lend.vms,
  };
}

/**
 * Checks that `wanted` fits beside `used`.
 *
 * @throws {OmertaError} Naming the limit, what is free, and what was asked for.
 */
export function checkCapacity(
  capacity: Capacity,
  used: readonly Resources[],
  wanted: Resources,
): void {
  if (wanted.memoryMiB < MIN_MEMORY_MIB) {
    throw new OmertaError(
      "too-little-memory",
      `Cannot lend a VM with ${wanted.memoryMiB} MiB of memory: ${MIN_MEMORY_MIB} MiB is the least`,
      { exit: EXIT.usage, next: `Ask with --memory ${MIN_MEMORY_MIB} or more` },
    );
  }
  if (used.length >= capacity.vms) {
    throw new OmertaError(
      "no-room",
      `Cannot lend one more VM: ${used.length} of ${capacity.vms} are lent`,
      { exit: EXIT.refused, next: "Release a VM, or ask again later" },
    );
  }
  for (
    const [field, name, unit, option] of [
      ["cpus", "processors", "", "--cpu"],
      ["memoryMiB", "memory", " MiB", "--memory"],
      ["diskGiB", "disk", " GiB", "--disk"],
    ] as const
  ) {
    const free = capacity[field] - used.reduce((sum, vm) => sum + vm[field], 0);
    if (wanted[field] <= free) continue;
    throw new OmertaError(
      "no-room",
      `Cannot lend ${wanted[field]}${unit} of ${name}: ${free}${unit} of ${
        capacity[field]
      }${unit} are free`,
      {
        exit: EXIT.refused,
        next: free > 0 ? `Ask with ${option} ${free} or less` : "Ask again later",
      },
    );
  }
}
