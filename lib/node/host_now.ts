/**
 * What this host has at the moment, for the rules of a lender.
 *
 * @module
 */

import { availableParallelism } from "node:os";

/** What a host has at the moment. */
export interface HostNow {
  /** Processors, busy or not. */
  readonly cpus: number;
  /** Memory that could be given without swapping, in MiB. */
  readonly memoryMiB: number;
}

/** This host, at the moment. */
export function hostNow(): HostNow {
  return {
    cpus: availableParallelism(),
    memoryMiB: Math.floor(Deno.systemMemoryInfo().available / 2 ** 20),
  };
}

/**
 * How much of a VM's memory its guest has touched, and so taken from the host, in MiB. What the
 * hypervisor needs for itself is not in it.
 *
 * 0 where it cannot be told: then the whole memory of the VM counts as still to be taken, which is
 * too much and never too little.
 *
 * @param pid Process id of its hypervisor.
 */
export function takenMemory(pid: number | undefined, memoryMiB: number): number {
  if (pid === undefined) return 0;
  try {
    return touchedIn(Deno.readTextFileSync(`/proc/${pid}/smaps`), memoryMiB);
  } catch {
    return 0; // it has just ended, or this is not Linux
  }
}

/**
 * The part of a guest's memory that is there, in MiB, from the text of proc_pid_smaps(5). It is the
 * one mapping of exactly its size that is written and not executed; translated code may lie in
 * another that is as large. The least counts when there are several.
 */
export function touchedIn(smaps: string, memoryMiB: number): number {
  const mapping = new RegExp(
    `^[0-9a-f]+-[0-9a-f]+ rw-.*\\nSize: +${memoryMiB * 1024} kB\\n(?:[A-Z].*\\n)*?Rss: +(\\d+) kB$`,
    "gm",
  );
  const sizes = [...smaps.matchAll(mapping)].map(([, kib]) => Math.floor(Number(kib) / 1024));
  return sizes.length === 0 ? 0 : Math.min(...sizes);
}
