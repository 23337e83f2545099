/**
 * The few things of ip-netns(8) that a lab needs.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { messageOf } from "../core/errors.ts";
import { exists } from "../core/files.ts";
import { run, runChecked, signalIfThere, startTimeOf } from "../core/process.ts";

/** Where iproute2 keeps named namespaces. */
const NETNS_FOLDER = "/run/netns";
/** How long a process may take to end by itself when its namespace goes, in ms. */
const GRACE_MS = 3000;
const POLL_MS = 20;

/** Runs `ip` and returns what it printed. */
export async function ip(...args: string[]): Promise<string> {
  return (await runChecked("ip", args, { timeoutMs: 10_000 })).stdout;
}

/** Why namespaces cannot be used here, found out by making one; undefined when they can. */
export async function namespacesMissing(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "network namespaces need Linux";
  if (Deno.uid() !== 0) return "network namespaces need root";
  const name = `omlab-probe-${crypto.randomUUID().slice(0, 8)}`;
  try {
    await ip("netns", "add", name);
    await ip("netns", "delete", name);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Names of the namespaces whose owner no longer runs. */
export async function namesOfDeadOwners(): Promise<string[]> {
  const names: string[] = [];
  if (!await exists(NETNS_FOLDER)) return names;
  for await (const { name } of Deno.readDir(NETNS_FOLDER)) {
    const owner = /^omlab-(\d+)-(\d+)-/.exec(name);
    if (owner?.[1] === undefined) continue;
    if (await startTimeOf(Number(owner[1])) !== owner[2]) names.push(name);
  }
  return names;
}

/** Process ids inside a namespace. */
export async function processesIn(name: string): Promise<number[]> {
  // Exit code 1 means that the namespace is gone, and so is everything in it.
  const { stdout } = await run("ip", ["netns", "pids", name], { timeoutMs: 10_000 });
  return stdout.split("\n").filter((line) => line !== "").map(Number);
}

/** Ends what runs in a namespace, politely first, and removes it; no error when it is gone. */
export async function removeNamespace(name: string): Promise<void> {
  if (!await signalAll(name, "SIGTERM")) {
    const deadline = performance.now() + GRACE_MS;
    while ((await processesIn(name)).length > 0 && performance.now() < deadline) {
      await pause(POLL_MS);
    }
    await signalAll(name, "SIGKILL");
  }
  const { code, stderr } = await run("ip", ["netns", "delete", name], { timeoutMs: 10_000 });
  if (code !== 0 && !stderr.includes("No such file")) {
    throw new Error(`Cannot remove namespace ${name}: ${stderr.trim()}`);
  }
}

/** Signals every process in a namespace; whether there was none. */
async function signalAll(name: string, signal: Deno.Signal): Promise<boolean> {
  const pids = await processesIn(name);
  for (const pid of pids) signalIfThere(pid, signal);
  return pids.length === 0;
}
