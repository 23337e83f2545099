/**
 * The record of a VM on disk, which is how the next process finds what a killed one left behind:
 * who runs it, and as which process. A process id counts only together with its start time.
 *
 * @module
 */

import { join } from "node:path";
import { z } from "zod";
import { OmertaError } from "../lib/core/errors.ts";
import {
  exists,
  makePrivateFolder,
  readTextIfThere,
  removeIfThere,
  writeFileAtomic,
} from "../lib/core/files.ts";
import { parseVmId } from "../lib/core/ids.ts";
import { startTimeOf } from "../lib/core/process.ts";
import { delay } from "./_wait.ts";
import { type Hypervisor, type VmPaths, vmPaths } from "./hypervisor.ts";

const processSchema = z.object({ pid: z.number().int().positive(), startTime: z.string().min(1) });
const recordSchema = z.object({
  name: z.string(),
  /** The process whose manager made it. */
  owner: processSchema,
  /** The hypervisor, as soon as there is one. */
  machine: processSchema.optional(),
});

/** Who runs a VM. */
type VmRecord = z.infer<typeof recordSchema>;
/** One process for good. */
type ProcessMark = z.infer<typeof processSchema>;

/** Prefix of a folder that is being made; it has no VM yet. */
const NEW = ".new-";
/** Age at which an unfinished folder has no maker any more, in ms. */
const NEW_MS = 60_000;
/** Time allowed for a killed process to be gone, in ms. */
const GONE_MS = 5_000;

async function markOf(pid: number): Promise<ProcessMark | undefined> {
  const startTime = await startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

async function isAlive(mark: ProcessMark): Promise<boolean> {
  return await startTimeOf(mark.pid) === mark.startTime;
}

/**
 * Makes a VM's folder, complete with its record: it appears in one step.
 *
 * @throws {OmertaError} `vm-exists`.
 */
export async function makeVmFolder(vms: string, paths: VmPaths, name: string): Promise<void> {
  await makePrivateFolder(vms);
  const fresh = join(vms, `${NEW}${crypto.randomUUID()}`);
  await makePrivateFolder(fresh);
  try {
    const owner = await markOf(Deno.pid);
    await writeFileAtomic(join(fresh, "vm.json"), JSON.stringify({ name, owner }));
    await Deno.rename(fresh, paths.folder);
  } catch (error) {
    await removeIfThere(fresh);
    if (!await exists(paths.folder)) throw error;
    throw new OmertaError("vm-exists", `Cannot create VM "${name}": ${paths.folder} exists`, {
      cause: error,
    });
  }
}

/** Adds the hypervisor's process to the record. */
export async function recordProcess(paths: VmPaths, name: string, pid: number): Promise<void> {
  const [owner, machine] = await Promise.all([markOf(Deno.pid), markOf(pid)]);
  await writeFileAtomic(paths.record, JSON.stringify({ name, owner, machine }));
}

/** What a sweep did. */
export interface SweepReport {
  /** One sentence for each VM that was ended or removed. */
  readonly done: readonly string[];
  /** VMs that belong to another process of this user which is alive. */
  readonly others: number;
}

/** Ends and removes every VM below `vms` whose owner is not alive any more. */
export async function sweepVms(vms: string, hypervisor: Hypervisor): Promise<SweepReport> {
  const done: string[] = [];
  let others = 0;
  for (const entry of await readFolder(vms)) {
    if (entry.startsWith(NEW)) {
      if (await isOld(join(vms, entry))) await removeIfThere(join(vms, entry));
      continue;
    }
    const id = parseVmId(entry);
    if (id === undefined) continue;
    const paths = vmPaths(vms, id);
    const record = await readRecord(paths.record);
    if (record && await isAlive(record.owner)) {
      others++;
      continue;
    }
    const ended = await endMachine(record, paths, hypervisor);
    await removeIfThere(paths.folder);
    const what = record ? `VM "${record.name}" (${id})` : `VM ${id}, whose record was damaged`;
    done.push(
      ended ? `Ended and removed ${what}: its owner is gone` : `Removed what was left of ${what}`,
    );
  }
  return { done, others };
}

async function endMachine(
  record: VmRecord | undefined,
  paths: VmPaths,
  hypervisor: Hypervisor,
): Promise<boolean> {
  const mark = record?.machine;
  if (!mark || !await isAlive(mark)) return await hypervisor.endLeftover(paths.controlSocket);
  Deno.kill(mark.pid, "SIGKILL");
  const until = performance.now() + GONE_MS;
  while (await isAlive(mark)) {
    if (performance.now() > until) {
      throw new OmertaError(
        "sweep-failed",
        `Cannot end VM "${record.name}": process ${mark.pid} is still there after ${
          GONE_MS / 1000
        } s`,
      );
    }
    await delay(20);
  }
  return true;
}

async function readRecord(path: string): Promise<VmRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readTextIfThere(path) ?? ""));
  } catch {
    return undefined;
  }
}

async function readFolder(path: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(path))).map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function isOld(path: string): Promise<boolean> {
  try {
    const { mtime } = await Deno.stat(path);
    return mtime !== null && Date.now() - mtime.getTime() > NEW_MS;
  } catch {
    return false;
  }
}
