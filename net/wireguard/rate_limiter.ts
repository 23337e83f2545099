/**
 * Handshake messages per source: a bucket of tokens for each address (paper 5.3). Asked only after
 * the source has proved with a cookie that it owns the address.
 *
 * The table holds at most {@link MAX_SOURCES}; when it is full of sources that are still busy,
 * an unknown source is refused.
 *
 * @module
 */

/** Messages per second and source. */
const PER_SECOND = 20;
/** Messages in a row. */
const BURST = 5;
/** A source that was quiet this long has a full bucket again and is forgotten. In ms. */
const FORGET_MS = 1_000;
/** Sources remembered. */
export const MAX_SOURCES = 8192;

interface Bucket {
  /** Messages left, a fraction between 0 and BURST. */
  tokens: number;
  /** When tokens were last added, in ms. */
  at: number;
}

/** Says who has sent too much. */
export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();
  #sweptAt = 0;

  /** Takes one token of the source of a `sockaddr_in6`; false when there is none. */
  allow(names: Uint8Array, nameAt: number, now: number): boolean {
    const key = sourceOf(names, nameAt);
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_SOURCES) this.#sweep(now);
      if (this.#buckets.size >= MAX_SOURCES) return false;
      bucket = { tokens: BURST, at: now };
      this.#buckets.set(key, bucket);
    }
    bucket.tokens = Math.min(BURST, bucket.tokens + (now - bucket.at) * PER_SECOND / 1000);
    bucket.at = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  #sweep(now: number): void {
    // At most once for each time a source is remembered, so that a flood does not buy a walk each.
    if (now - this.#sweptAt < FORGET_MS) return;
    this.#sweptAt = now;
    for (const [key, bucket] of this.#buckets) {
      if (now - bucket.at >= FORGET_MS) this.#buckets.delete(key);
    }
  }
}

/** An IPv4 address, or the 64-bit network of an IPv6 one: a host owns all of its network. */
function sourceOf(names: Uint8Array, nameAt: number): string {
  const address = names.subarray(nameAt + 8, nameAt + 24);
  const mapped = address[10] === 0xff && address[11] === 0xff &&
    address.subarray(0, 10).every((b) => b === 0);
  return (mapped ? address.subarray(12) : address.subarray(0, 8)).toHex();
}
