/**
 * What all interfaces are made of.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { parseIpv4 } from "../wire/ip_address.ts";

/** RFC 791 section 3.2: what every host takes (bytes). */
const LEAST_MTU = 576;
const MOST_MTU = 65535;

/** Address and largest packet. */
export interface InterfaceOptions {
  /** Its IPv4 address, `a.b.c.d`. */
  readonly address: string;
  /** Largest packet, in bytes: 576 to 65535. */
  readonly mtu: number;
}

/**
 * The address as a number, of options that are in order.
 *
 * @throws {OmertaError} `bad-address`, `bad-mtu`.
 */
export function interfaceAddress({ address, mtu }: InterfaceOptions): number {
  checkMtu(mtu);
  return addressOf(address);
}

/** @throws {OmertaError} `bad-mtu`. */
export function checkMtu(mtu: number): void {
  if (!Number.isInteger(mtu) || mtu < LEAST_MTU || mtu > MOST_MTU) {
    throw new OmertaError(
      "bad-mtu",
      `Cannot make an interface: MTU is ${mtu}, want ${LEAST_MTU} to ${MOST_MTU}`,
    );
  }
}

/**
 * The address that `text` says, unsigned 32 bits.
 *
 * @throws {OmertaError} `bad-address`.
 */
export function addressOf(text: string): number {
  const address = parseIpv4(text);
  if (address !== undefined) return address;
  throw new OmertaError("bad-address", `Cannot use '${text}': want an IPv4 address`);
}
