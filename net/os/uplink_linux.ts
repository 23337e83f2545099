/**
 * Whether and how the kernel can forward a guest's tunnel to a borrower: the interface, and this
 * host's address there. Where it cannot, the error says why in plain words.
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { parseIpv4 } from "../wire/ip_address.ts";
import type { Endpoint } from "./endpoint.ts";
import { linkInfo, routeTo } from "./route_linux.ts";

/** Longest IP packet of a guest's cable, in bytes; a message of the tunnel is one packet. */
const CABLE_MTU = 1500;

/** A way to a borrower that the kernel can take by itself. */
export interface KernelUplink {
  /** Interface that leads there. */
  readonly ifindex: number;
  /** This host's address, unsigned 32 bits. */
  readonly hostAddress: number;
  /** The borrower's address, unsigned 32 bits. */
  readonly borrowerAddress: number;
  /** The borrower's UDP port. */
  readonly borrowerPort: number;
}

/** Whether two ways are the same. */
export function sameUplink(a: KernelUplink, b: KernelUplink): boolean {
  return a.ifindex === b.ifindex && a.hostAddress === b.hostAddress &&
    a.borrowerAddress === b.borrowerAddress && a.borrowerPort === b.borrowerPort;
}

/**
 * The way to a borrower, as the routes are now.
 *
 * @throws {OmertaError} `uplink-impossible`.
 */
export function kernelUplink(endpoint: Endpoint): KernelUplink {
  const { address, port } = endpoint;
  const borrowerAddress = parseIpv4(address);
  if (borrowerAddress === undefined) throw impossible(endpoint, "the address is not IPv4");
  try {
    const route = routeTo(borrowerAddress, `find the route to ${address}`);
    if (!route.unicast || route.ifindex === 0 || route.source === 0) {
      throw impossible(endpoint, "the route leads to this host itself, or nowhere");
    }
    const link = linkInfo(route.ifindex);
    if (!link.ethernet) {
      throw impossible(endpoint, `the route leads out of ${link.name}, which is not Ethernet`);
    }
    if (link.mtu < CABLE_MTU) {
      throw impossible(
        endpoint,
        `the route leads out of ${link.name}, whose MTU is ${link.mtu}, want ${CABLE_MTU}`,
      );
    }
    return {
      ifindex: route.ifindex,
      hostAddress: route.source,
      borrowerAddress,
      borrowerPort: port,
    };
  } catch (error) {
    if (error instanceof OmertaError && error.code === "uplink-impossible") throw error;
    throw impossible(endpoint, messageOf(error));
  }
}

function impossible(endpoint: Endpoint, why: string): OmertaError {
  return new OmertaError(
    "uplink-impossible",
    `Cannot forward to ${endpoint} in the kernel: ${why}`,
    { exit: EXIT.refused, next: "Ask with --mode filtered" },
  );
}
