/**
 * What mode `ebpf` needs of this host, and what killed nodes have left of it.
 *
 * @module
 */

import { allLinks } from "../../net/os/route_linux.ts";
import { libc } from "../../net/os/libc.ts";
import { removeTcFilter, tcFilters } from "../../net/os/tc_linux.ts";
import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import { logger } from "../core/log.ts";
import { startTimeOf } from "../core/process.ts";

/**
 * Capabilities (linux/capability.h). Without CAP_PERFMON the verifier takes no pointers that are
 * calculated, which the counters need.
 */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_PERFMON: 38, CAP_BPF: 39 } as const;
/** Stands for CAP_PERFMON and CAP_BPF too, as before these were split off. */
const CAP_SYS_ADMIN = 21;
/** What our filters at an interface are called: whose they are. */
const OWNER = /^omerta (\d+) (\d+)$/;

const log = logger("kernel");

/**
 * Checks what can be found out of this host without changing anything.
 *
 * @throws {OmertaError} `mode-impossible`, with what is missing.
 */
export function checkHost(): void {
  if (Deno.build.os !== "linux") throw modeImpossible("it needs Linux");
  let status: string;
  try {
    Deno.statSync("/dev/net/tun");
    status = Deno.readTextFileSync("/proc/self/status");
  } catch (error) {
    throw modeImpossible(messageOf(error));
  }
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const has = (bit: number): boolean => (effective >> BigInt(bit) & 1n) === 1n;
  const missing = Object.entries(CAPABILITIES)
    .filter(([name, bit]) => !has(bit) && (name === "CAP_NET_ADMIN" || !has(CAP_SYS_ADMIN)))
    .map(([name]) => name);
  if (missing.length > 0) throw modeImpossible(`its daemon lacks ${missing.join(", ")}`);
}

/** The error for a request in mode `ebpf` on a host that cannot. */
export function modeImpossible(why: string): OmertaError {
  return new OmertaError("mode-impossible", `Cannot lend a VM in mode ebpf here: ${why}`, {
    exit: EXIT.refused,
    next: "Ask with --mode filtered",
  });
}

/** What filters at interfaces of this host are called that are this process's. */
export async function ownerName(): Promise<string> {
  return `omerta ${Deno.pid} ${await startTimeOf(Deno.pid)}`;
}

/**
 * Removes the filters that killed nodes have left at interfaces of this host, where kernels are too
 * old for links. The filter in front of a TAP stays: it goes with the guest.
 *
 * @returns One sentence for each.
 */
export async function sweepKernelFilters(): Promise<string[]> {
  const done: string[] = [];
  if (libc() === undefined) return done;
  try {
    for (const { ifindex, name } of allLinks()) {
      for (const filter of tcFilters(ifindex)) {
        const owner = OWNER.exec(filter.name);
        if (owner === null || await startTimeOf(Number(owner[1])) === owner[2]) continue;
        removeTcFilter(filter);
        done.push(`Removed the filter of a node that is gone from interface ${name}`);
      }
    }
  } catch (error) {
    log.warning("Cannot remove what a node that is gone left: {error}", {
      error: messageOf(error),
    });
  }
  return done;
}
