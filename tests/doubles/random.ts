/**
 * Random numbers that come again: the same seed gives the same numbers on every machine, so a
 * failure is repeated by the seed in its message.
 *
 * @module
 */

/** A generator of small random numbers: mulberry32, 32 bits of state. Not for secrets. */
export class Random {
  #state: number;

  /** A generator that begins at `seed`. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 to `limit` - 1; `limit` up to 2^32. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  /** One of several. */
  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.below(list.length)] ?? list[0];
  }
}
