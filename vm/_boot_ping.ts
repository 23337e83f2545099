/**
 * Boot test `tap-ping`: the guest's card is an interface of Linux, and the guest answers ping on it.
 *
 * QEMU runs in a network namespace of its own, so the interface is never one of this host's, no
 * packet can leave, and everything is gone with QEMU.
 *
 * @module
 */

import { run, runChecked } from "../lib/core/process.ts";
import { delay } from "./_wait.ts";
import type { Vm } from "./manager.ts";
import { checkOwnNetwork, inNetworkOf } from "./own_network.ts";
import { programMissing } from "./requirements.ts";

/** Name of the interface, in the namespace. */
export const TAP_NAME = "omerta-test";
/** Our address on it. */
const OUR_ADDRESS = "192.168.100.1/24";
/** The guest's. */
const GUEST_ADDRESS = "192.168.100.2";
/** Time between two tries, in ms. */
const RETRY_MS = 500;

/**
 * Checks that the test can run here, before a guest is booted for it.
 *
 * @throws {OmertaError} `ping-missing`, or those of {@link checkOwnNetwork}.
 */
export async function checkPing(): Promise<void> {
  await checkOwnNetwork("boot test tap-ping");
  await run("ping", ["-V"]).catch((error: unknown) => {
    throw programMissing(error, "ping");
  });
}

/**
 * Brings the interface up and pings the guest until it answers.
 *
 * @returns The answer in words.
 * @throws The reason of `signal`.
 */
export async function tryPing(vm: Vm, signal: AbortSignal): Promise<string> {
  const ip = (...words: string[]): Promise<unknown> => inside(vm, ["ip", ...words], signal);
  await ip("address", "add", OUR_ADDRESS, "dev", TAP_NAME);
  await ip("link", "set", TAP_NAME, "up");
  const ping = ["ping", "-n", "-c", "1", "-W", "1", GUEST_ADDRESS];
  for (;;) {
    const [program, ...args] = inNetworkOf(pidOf(vm), ping);
    const { code, stdout } = await run(program, args, { signal });
    const ms = /time[=<]([0-9.]+) ms/.exec(stdout)?.[1];
    if (code === 0 && ms !== undefined) return `${GUEST_ADDRESS} answers ping in ${ms} ms`;
    await delay(RETRY_MS, signal);
  }
}

async function inside(vm: Vm, command: readonly string[], signal: AbortSignal): Promise<void> {
  const [program, ...args] = inNetworkOf(pidOf(vm), command);
  await runChecked(program, args, { signal });
}

function pidOf(vm: Vm): number {
  if (vm.pid === undefined) throw new Error("The hypervisor has ended");
  return vm.pid;
}
