/**
 * The tunnels that a node carries without opening them; relay.ts is one of them.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { Relay, type RelayOptions } from "./relay.ts";
import type { PlaneRelayStats } from "./stats.ts";

/** Relays of one node; one more is an error. */
export const MAX_RELAYS = 64;

/** The relays of a node. */
export class Relays implements Disposable {
  readonly #list: Relay[] = [];

  /**
   * Adds a relay, in place of one of the same id.
   *
   * @throws {OmertaError} `too-many-relays`.
   */
  add(options: RelayOptions): void {
    this.remove(options.id);
    if (this.#list.length >= MAX_RELAYS) {
      throw new OmertaError(
        "too-many-relays",
        `Cannot carry tunnel ${options.id}: ${MAX_RELAYS} is the limit`,
      );
    }
    this.#list.push(new Relay(options));
  }

  /** Removes a relay; nothing when there is none. */
  remove(id: string): void {
    const at = this.#list.findIndex((relay) => relay.id === id);
    if (at >= 0) this.#list.splice(at, 1)[0]?.[Symbol.dispose]();
  }

  /**
   * Takes a WireGuard message, `length` bytes at `at`, when the `sockaddr_in6` at `names[nameAt]` is a
   * client's. @returns Whether it was.
   */
  takeFromClient(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): boolean {
    const list = this.#list;
    for (let i = 0; i < list.length; i++) {
      const relay = list[i];
      if (!relay?.isClient(names, nameAt)) continue;
      relay.fromClient(buffer, at, length);
      return true;
    }
    return false;
  }

  /** What was counted of each. */
  stats(): PlaneRelayStats[] {
    return this.#list.map((relay) => relay.stats());
  }

  /** Removes all. */
  [Symbol.dispose](): void {
    for (const relay of this.#list.splice(0)) relay[Symbol.dispose]();
  }
}
