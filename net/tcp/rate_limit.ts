/**
 * A limit on how often something is answered: a bucket of tokens.
 *
 * @module
 */

/** So many per second, and as many at once. */
export class RateLimit {
  readonly #perSecond: number;
  #tokens: number;
  #at: number | undefined;

  /** A full bucket. */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
  }

  /** Takes one; false when there is none left. */
  allow(now: number): boolean {
    this.#at ??= now;
    if (now > this.#at) {
      const gained = (now - this.#at) * this.#perSecond / 1000;
      this.#tokens = Math.min(this.#perSecond, this.#tokens + gained);
      this.#at = now;
    }
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
