/**
 * Those who wait to be let in, up to a cap. The oldest makes room: an honest one is through soonest.
 * One source has at most half of the places; beyond that its own oldest makes room, so that whoever
 * floods from one address does not keep out others.
 *
 * @module
 */

import type { IpAddress } from "./address.ts";

/** Somebody who waits. */
export interface Waiter {
  /** Where it comes from. */
  readonly remote: IpAddress;
}

/** Who waits, oldest first. */
export class Backlog<T extends Waiter> {
  readonly #limit: number;
  readonly #share: number;
  readonly #waiters = new Set<T>();
  /** How many of each source. */
  readonly #held = new Map<IpAddress, number>();

  /** At most `limit` at a time. */
  constructor(limit: number) {
    this.#limit = limit;
    this.#share = Math.ceil(limit / 2);
  }

  /** How many wait. */
  get size(): number {
    return this.#waiters.size;
  }

  /** Adds one; who has to go for it, and is in no longer. */
  add(one: T): T | undefined {
    const { remote } = one;
    let evicted: T | undefined;
    if ((this.#held.get(remote) ?? 0) >= this.#share) evicted = this.#oldest(remote);
    else if (this.#waiters.size >= this.#limit) evicted = this.#oldest();
    if (evicted !== undefined) this.delete(evicted);
    this.#waiters.add(one);
    this.#held.set(remote, (this.#held.get(remote) ?? 0) + 1);
    return evicted;
  }

  /** Takes one out, if it is in. */
  delete(one: T): void {
    if (!this.#waiters.delete(one)) return;
    const left = (this.#held.get(one.remote) ?? 1) - 1;
    if (left === 0) this.#held.delete(one.remote);
    else this.#held.set(one.remote, left);
  }

  /** The oldest of all, or of one source. */
  #oldest(source?: IpAddress): T | undefined {
    for (const one of this.#waiters) {
      if (source === undefined || one.remote === source) return one;
    }
    return undefined;
  }
}
