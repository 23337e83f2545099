/**
 * B7: from `omerta vm request` to a shell, by stage, with a real guest between two namespaces; how
 * long the command line takes to start; and what a VM costs the lender's daemon in memory.
 *
 * @module
 */

import { netlabMissing } from "../netlab/netlab.ts";
import { commandMissing } from "../support/requires.ts";
import { LENDER, shareLink, type TwoMachines, twoMachines } from "../support/two_machines.ts";
import type { Bench, Row } from "./bench.ts";
import { residentMemory } from "./forward/resident_memory.ts";

/** Time for a translated guest on a busy host, in ms. */
const READY_MS = 400_000;
const MIB = 1 << 20;
/** Starts of the command line; the quickest counts. */
const STARTS = 5;

/** The benchmark. */
export const requestBench: Bench = {
  name: "request",
  missing: netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img", "ssh"),
  run,
};

async function run(): Promise<readonly Row[]> {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  const starts: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const begun = performance.now();
    await borrower.ok("--version");
    starts.push(performance.now() - begun);
  }
  await lender.shareImages();
  await lender.startDaemon();
  await shareLink(world);

  const empty = await daemonMemory(world);
  const begun = performance.now();
  const request = ["vm", "request", "--provider", LENDER, "--name", "bench", "--cpu", "2"];
  const { stdout, code, stderr } = await borrower.run(request, { timeoutMs: READY_MS });
  if (code !== 0) throw new Error(`Cannot measure the request: ${stderr}`);
  const requested = performance.now() - begun;
  await borrower.ok("ssh", "bench", "true");
  const shell = performance.now() - begun;
  const lending = await daemonMemory(world);
  await borrower.ok("vm", "release", "bench");

  const stages = [...stdout.matchAll(/^ {2}([a-z-]+) +([0-9.]+) s$/gm)];
  return [
    { name: "command line, start", value: Math.min(...starts), unit: "ms", note: "from source" },
    ...stages.map(([, stage = "", seconds = ""]): Row => ({
      name: `vm request, ${stage}`,
      value: Number(seconds),
      unit: "s",
    })),
    { name: "vm request, command ends", value: requested / 1000, unit: "s" },
    { name: "vm request, first command over SSH ends", value: shell / 1000, unit: "s" },
    { name: "lender's daemon, memory before its first VM", value: empty / MIB, unit: "MiB" },
    { name: "lender's daemon, memory with that VM", value: lending / MIB, unit: "MiB" },
  ];
}

/** Memory of the lender's daemon, without its VMs (bytes). */
async function daemonMemory({ lenderMachine }: TwoMachines): Promise<number> {
  for (const pid of await lenderMachine.processes()) {
    const words = (await Deno.readTextFile(`/proc/${pid}/cmdline`)).split("\0");
    if (words.includes("daemon")) return residentMemory(pid);
  }
  throw new Error("Cannot find the lender's daemon");
}
