/**
 * Closes an interface to the host's own stack before it is brought up, so that nothing of what comes
 * in by it is delivered or forwarded even where no program stands in front: no address, no IPv6, no
 * forwarding, no answer to ARP, and no source address is right on it (RFC 3704 section 2.2).
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { configureInterface } from "./interface_config.ts";
import { needLibc } from "./libc.ts";

/** Longest IP packet of a guest's cable, in bytes. */
const CABLE_MTU = 1500;
/** Settings below /proc/sys/net; see Documentation/networking/ip-sysctl.rst of the kernel. */
const SETTINGS = [
  ["ipv6", "disable_ipv6", "1"],
  ["ipv4", "forwarding", "0"],
  ["ipv4", "rp_filter", "1"],
  ["ipv4", "arp_ignore", "8"],
  ["ipv4", "accept_local", "0"],
] as const;

/**
 * Shuts an interface that is down.
 *
 * @throws {OmertaError} `interface-failed`.
 */
export function shutInterface(name: string): void {
  for (const [family, setting, value] of SETTINGS) {
    const path = `/proc/sys/net/${family}/conf/${name}/${setting}`;
    try {
      Deno.writeTextFileSync(path, value, { create: false });
    } catch (error) {
      // A kernel without IPv6 has nothing to switch off.
      if (family === "ipv6" && error instanceof Deno.errors.NotFound) continue;
      throw new OmertaError(
        "interface-failed",
        `Cannot shut interface ${name}: cannot set ${setting}: ${messageOf(error)}`,
        { exit: EXIT.missing },
      );
    }
  }
}

/**
 * Brings a guest's interface up; what comes in by it counts from then on.
 *
 * @throws {OmertaError} `interface-failed`.
 */
export function raiseInterface(name: string): void {
  configureInterface(needLibc(`bring interface ${name} up`), name, { mtu: CABLE_MTU });
}
