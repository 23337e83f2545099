/**
 * Names of the hosts inside of the tunnels. Nothing is ever looked up outside.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { parseIpv4 } from "../wire/ip_address.ts";

/** Names, and the addresses that they lead to. */
export class Names {
  #addresses: ReadonlyMap<string, number> = new Map();

  /**
   * Replaces all of them.
   *
   * @throws {OmertaError} `bad-address`.
   */
  set(names: readonly (readonly [name: string, address: string])[]): void {
    this.#addresses = new Map(names.map(([name, text]) => {
      const address = parseIpv4(text);
      if (address !== undefined) return [name, address];
      throw new OmertaError("bad-address", `Cannot use '${text}': want an IPv4 address`);
    }));
  }

  /**
   * The address of a name, or of an IPv4 literal, unsigned 32 bits; undefined: nobody's. Names are in
   * lower case, and found by whatever case they are asked for in (RFC 4343).
   */
  resolve(host: string): number | undefined {
    // Datagrams of SOCKS5 name their host in lower case, and are found without another string.
    return this.#addresses.get(host) ?? parseIpv4(host) ?? this.#addresses.get(host.toLowerCase());
  }

  /**
   * The same for somebody who wants to do something with it.
   *
   * @param what What that is: `Cannot <what> '<host>'`.
   * @throws {OmertaError} `unknown-host`.
   */
  find(host: string, what: string): number {
    const address = this.resolve(host);
    if (address !== undefined) return address;
    throw new OmertaError("unknown-host", `Cannot ${what} '${host}': nothing has that name`, {
      exit: EXIT.usage,
      next: "See 'omerta vm list'",
    });
  }
}
