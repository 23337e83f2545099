/**
 * Allowed IPs: the longest prefix that holds an address names the peer (paper section 2).
 *
 * One hash table for each prefix length in use, asked from the longest to the shortest. A device
 * has one or two lengths, so this is one or two look-ups, without allocation. IPv6 would be a second
 * object of this kind with other keys.
 *
 * @module
 */

import type { Ipv4Prefix } from "../wire/ip_address.ts";

/** Addresses to owners. */
export class AllowedIps<Owner> {
  /** Index is the prefix length. Keys are signed, which keeps them small integers. */
  readonly #tables: (Map<number, Owner> | undefined)[] = new Array(33).fill(undefined);
  /** Prefix lengths in use, longest first, and their masks. */
  #lengths: number[] = [];
  #masks: number[] = [];

  /** Gives `prefix` to `owner` and returns whose it was. */
  set(prefix: Ipv4Prefix, owner: Owner): Owner | undefined {
    const table = this.#tables[prefix.bits] ??= new Map<number, Owner>();
    const before = table.get(prefix.address | 0);
    table.set(prefix.address | 0, owner);
    this.#recount();
    return before;
  }

  /** Takes every prefix from `owner`. */
  remove(owner: Owner): void {
    this.#tables.forEach((table, bits) => {
      for (const [key, value] of table ?? []) if (value === owner) table?.delete(key);
      if (table?.size === 0) this.#tables[bits] = undefined;
    });
    this.#recount();
  }

  /** The owner of the longest prefix that holds `address`, 32 bits, signed or not. */
  lookup(address: number): Owner | undefined {
    const lengths = this.#lengths;
    for (let i = 0; i < lengths.length; i++) {
      const owner = this.#tables[lengths[i] ?? 0]?.get(address & (this.#masks[i] ?? 0));
      if (owner !== undefined) return owner;
    }
    return undefined;
  }

  #recount(): void {
    this.#lengths = [];
    for (let bits = 32; bits >= 0; bits--) if (this.#tables[bits]) this.#lengths.push(bits);
    this.#masks = this.#lengths.map((bits) => bits === 0 ? 0 : -1 << (32 - bits));
  }
}
