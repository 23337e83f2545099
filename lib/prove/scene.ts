/**
 * Where the targets of a proof are.
 *
 * @module
 */

import { type GuestLink, guestLink } from "../../net/filter/guest_link.ts";
import { ipv4ToString, parseIpv4, parseIpv6 } from "../../net/wire/ip_address.ts";

/** The gateway, as every guest knows it. */
export const GATEWAY: string = ipv4ToString(guestLink().gatewayAddress);

/** The addresses that a guest tries to reach. IPv4 as text, as in a packet's way through people. */
export interface Scene {
  /** The ends of the guest's cable. */
  readonly link: GuestLink;
  /** IPv4 addresses of the lender's host, by what they are: `uplink`, `loopback`... */
  readonly host: Readonly<Record<string, string>>;
  /** IPv6 addresses of the lender's host. */
  readonly host6: readonly string[];
  /** MAC addresses of cards on the lender's network, the lender's own first; 48 bits each. */
  readonly cards: readonly number[];
  /** UDP port of the lender's daemon. */
  readonly lenderPort: number;
  /** A host on the lender's network. */
  readonly neighbour: string;
  /** The router of that network. */
  readonly router: string;
  /** The broadcast address of that network. */
  readonly broadcast: string;
  /** A host beyond the router. */
  readonly internet: string;
  /** Where the borrower really is. */
  readonly borrower: { readonly address: string; readonly port: number };
  /** Another guest of the same lender. */
  readonly other: {
    /** Its MAC address, 48 bits. */
    readonly mac: number;
    /** Its address in the borrower's tunnel. */
    readonly tunnel: string;
  };
}

/** An IPv4 address of a scene as a number. */
export function ipv4(text: string): number {
  const address = parseIpv4(text);
  if (address !== undefined) return address;
  throw new TypeError(`Cannot use ${text}: it is no IPv4 address`);
}

/** An IPv6 address of a scene as bytes. */
export function ipv6(text: string): Uint8Array {
  const address = parseIpv6(text);
  if (address !== undefined) return address;
  throw new TypeError(`Cannot use ${text}: it is no IPv6 address`);
}
