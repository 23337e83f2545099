/**
 * Which program runs the guests of this host.
 *
 * @module
 */

import { run } from "../lib/core/process.ts";
import type { Hypervisor } from "./hypervisor.ts";
import { Qemu } from "./qemu.ts";
import { Vfkit } from "./vfkit.ts";

/** On macOS vfkit when it is installed (its disks are made by qemu-img); QEMU elsewhere. */
export async function chooseHypervisor(os: string = Deno.build.os): Promise<Hypervisor> {
  return os === "darwin" && await hasVfkit() ? new Vfkit() : new Qemu();
}

async function hasVfkit(): Promise<boolean> {
  try {
    return (await run("vfkit", ["--version"], { timeoutMs: 10_000 })).code === 0;
  } catch {
    return false;
  }
}
