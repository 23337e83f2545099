/**
 * Addresses inside a borrower's tunnel: 10.0.0.0/16, the borrower itself is 10.0.0.1.
 *
 * 10.0.255.0/24 is kept for what else of the borrower's has a tunnel to a VM (carried_tunnels.ts).
 *
 * A lender picks the address of a VM so that it does not meet another of the same borrower's. It
 * means nothing on the lender's side, where only encrypted packets are seen.
 *
 * @module
 */

import { ipv4ToString, parseIpv4 } from "../../net/wire/ip_address.ts";
import { OmertaError } from "../core/errors.ts";

const NETWORK = 0x0a000000;
const FIRST_HOST = 2;
const LAST_HOST = 0xfeff;
const FIRST_CLIENT = 0xff01;

/** Addresses for clients of VMs: 10.0.255.1 to 10.0.255.254. */
export const CLIENT_HOSTS = 254;

/** The borrower's own address. */
export const BORROWER_ADDRESS = "10.0.0.1";
/** Bits of the tunnel's prefix. */
export const TUNNEL_PREFIX_BITS = 16;

/**
 * The lowest host number that is not taken.
 *
 * @throws {OmertaError} `no-address` when all are.
 */
export function firstFreeHost(taken: ReadonlySet<number>): number {
  for (let host = FIRST_HOST; host <= LAST_HOST; host++) if (!taken.has(host)) return host;
  throw new OmertaError(
    "no-address",
    "Cannot give the VM an address: all of 10.0.0.0/16 are taken",
  );
}

/** The address of a host number. */
export function hostAddress(host: number): string {
  return ipv4ToString(NETWORK + host);
}

/** The address of a client, by its number from 0. */
export function clientAddress(number: number): string {
  return hostAddress(FIRST_CLIENT + number);
}

/** The host number of an address in the tunnel, or undefined when it is none. */
export function hostOf(address: string): number | undefined {
  const value = parseIpv4(address);
  if (value === undefined || ((value & 0xffff0000) >>> 0) !== NETWORK) return undefined;
  const host = value & 0xffff;
  return host >= FIRST_HOST && host <= LAST_HOST ? host : undefined;
}
