/**
 * Whether there is room for a VM on this host. Checked before anything is made.
 *
 * @module
 */

import { OmertaError } from "../lib/core/errors.ts";
import type { MachineSpec } from "./hypervisor.ts";
import { freeDiskMiB } from "./requirements.ts";

/** Least memory with which the guest gets to its end of cloud-init, in MiB. */
export const MIN_MEMORY_MIB = 256;

/** What this host can still give. */
export interface HostRoom {
  /** Processors. */
  readonly cpus: number;
  /** Memory that could be given without swapping, in MiB. */
  readonly memoryMiB: number;
  /** Space on the disk, in MiB. */
  readonly diskMiB: number;
}

/** Looks at this host. `folder` must exist. */
export async function hostRoom(folder: string): Promise<HostRoom> {
  return {
    cpus: navigator.hardwareConcurrency,
    memoryMiB: Math.floor(Deno.systemMemoryInfo().available / 2 ** 20),
    diskMiB: await freeDiskMiB(folder),
  };
}

/**
 * Refuses a VM that cannot fit.
 *
 * @throws {OmertaError} `bad-cpus`, `bad-memory`, `bad-disk`.
 */
export function checkRoom(spec: MachineSpec, room: HostRoom): void {
  const { cpus, memoryMiB, diskGiB, image } = spec;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > room.cpus) {
    throw refused(spec, "cpus", `${cpus} processors, need 1 to ${room.cpus}`);
  }
  if (!Number.isInteger(memoryMiB) || memoryMiB < MIN_MEMORY_MIB) {
    throw refused(
      spec,
      "memory",
      `memory is ${memoryMiB} MiB, need at least ${MIN_MEMORY_MIB} MiB`,
    );
  }
  if (memoryMiB > room.memoryMiB) {
    throw refused(
      spec,
      "memory",
      `memory is ${memoryMiB} MiB, this host has ${room.memoryMiB} MiB free`,
    );
  }
  if (!Number.isInteger(diskGiB) || diskGiB * 1024 < image.virtualSizeMiB) {
    const least = Math.ceil(image.virtualSizeMiB / 1024);
    throw refused(spec, "disk", `disk is ${diskGiB} GiB, need at least ${least} GiB for the image`);
  }
  if (diskGiB * 1024 > room.diskMiB) {
    const free = Math.floor(room.diskMiB / 1024);
    throw refused(spec, "disk", `disk is ${diskGiB} GiB, this host has ${free} GiB free`);
  }
}

function refused(spec: MachineSpec, what: string, why: string): OmertaError {
  return new OmertaError(`bad-${what}`, `Cannot create VM "${spec.name}": ${why}`, {
    next: `Ask for another amount with --${what === "cpus" ? "cpu" : what}`,
  });
}
