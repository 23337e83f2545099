/**
 * Which IPv4 endpoints a guest may send to, as the guest sees them. Empty means none.
 *
 * Limits: at most {@link ALLOWLIST_MAX} endpoints. A list that is longer is refused as a whole and
 * the old one stays in force, because half a list would allow something that nobody asked for.
 *
 * A lookup is a scan: the usual list has one entry, which a hash would only slow down, and the cap
 * bounds the worst case at about 60 ns.
 *
 * @module
 */

import { ipv4ToString } from "../wire/ip_address.ts";

/** Most endpoints of one list. */
export const ALLOWLIST_MAX = 64;

/** Address and port as a guest addresses them. */
export interface GuestEndpoint {
  /** IPv4 address, unsigned 32 bits. */
  readonly address: number;
  /** UDP port, 1 to 65535. */
  readonly port: number;
}

/** Why a list was refused. */
export type AllowlistFault = "too-many" | "bad-endpoint";

/** A set of endpoints that is replaced as a whole: no packet ever sees half of a change. */
export class EndpointAllowlist {
  #keys: readonly number[] = [];
  #version = 0;

  /** How often the list was replaced: what was found allowed holds for this version only. */
  get version(): number {
    return this.#version;
  }

  /** How many endpoints are allowed. */
  get size(): number {
    return this.#keys.length;
  }

  /** Allows exactly these endpoints; on a fault the list stays as it was. */
  replace(endpoints: readonly GuestEndpoint[]): AllowlistFault | undefined {
    if (endpoints.length > ALLOWLIST_MAX) return "too-many";
    const keys: number[] = [];
    for (const { address, port } of endpoints) {
      if (address >>> 0 !== address || (port & 0xffff) !== port || port === 0) {
        return "bad-endpoint";
      }
      const key = keyOf(address, port);
      if (!keys.includes(key)) keys.push(key);
    }
    this.#keys = keys;
    this.#version++;
    return undefined;
  }

  /** Whether the guest may send to this endpoint. Allocates nothing. */
  has(address: number, port: number): boolean {
    const key = keyOf(address, port);
    const keys = this.#keys;
    for (let i = 0; i < keys.length; i++) if (keys[i] === key) return true;
    return false;
  }

  /** Whether any port of this address is allowed: tells a wrong port from a wrong destination. Allocates nothing. */
  hasAddress(address: number): boolean {
    const keys = this.#keys;
    for (let i = 0; i < keys.length; i++) {
      if (Math.floor((keys[i] ?? 0) / 65536) === address) return true;
    }
    return false;
  }

  /** `192.168.100.1:51820, ...` for logs. */
  toString(): string {
    return this.#keys.map((key) => `${ipv4ToString(Math.floor(key / 65536))}:${key % 65536}`)
      .join(", ");
  }
}

/** 48 bits: exact in a number, where 32 bits of shifting would not be. */
function keyOf(address: number, port: number): number {
  return address * 65536 + port;
}
