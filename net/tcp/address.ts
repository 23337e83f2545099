/**
 * Addresses as the stack keeps them.
 *
 * An {@link IpAddress} is an IPv4 address as a signed 32-bit number, which the engine stores without
 * allocating. Everything above `ip_in.ts`, `ip_out.ts` and `icmp.ts` only hands addresses on, compares
 * them with `===` and hashes them with {@link hashAddress}. For IPv6 this type becomes an interned
 * object (one for each address, so that `===` holds), and those three files get a second format.
 *
 * @module
 */

/** An address, to be compared with `===`. */
export type IpAddress = number;

/** From the unsigned number that the rest of the project uses (net/wire/ip_address.ts). */
export function toIpAddress(address: number): IpAddress {
  return address | 0;
}

/** To the unsigned number that the rest of the project uses. */
export function fromIpAddress(address: IpAddress): number {
  return address >>> 0;
}

/** A number that differs for most addresses. */
export function hashAddress(address: IpAddress): number {
  return address;
}

/**
 * Whether a packet may come from here: not unspecified or "this network" (RFC 6890), loopback,
 * multicast, reserved or broadcast (RFC 1122 section 3.2.1.3).
 */
export function isUnicast(address: IpAddress): boolean {
  const first = address >>> 24;
  return first !== 0 && first < 224 && first !== 127;
}
