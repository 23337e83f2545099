/**
 * Pacing: spreading a window over its round trip instead of sending it at once.
 *
 * A schedule says when the next byte may go; it may run ahead of the clock by a small burst, because
 * whoever drives the stack wakes once in a millisecond at best. Whoever wakes later than that catches up
 * with what it missed, within bounds: else a busy machine would send less than the rate. What was sent
 * ahead is owed in bytes, so that it is worked off at the rate of now when that is higher: behind a
 * reader that took a few bytes at a time, a full segment would otherwise be owed for seconds.
 *
 * @module
 */

/** The window is sent in this part of a round trip, as in Linux: room to grow. */
const SLOW_START_GAIN = 2;
const AVOIDANCE_GAIN = 1.2;
/** How far the schedule may run ahead of the clock, in ms. */
const AHEAD_MS = 1.5;
/** How far behind the clock it may stay, to catch up, in ms. */
const BEHIND_MS = 2;

/** The schedule of one connection. */
export class Pacing {
  /** Bytes per ms; Infinity: not paced, nothing is known of the path yet. */
  rate: number = Infinity;
  #since = 0;
  #owed = 0;
  /** The rate when that was sent. */
  #rateThen = 0;

  /** Sets the rate from the window (bytes) and the round trip (ms). */
  setWindow(window: number, roundTrip: number, slowStart: boolean): void {
    const gain = slowStart ? SLOW_START_GAIN : AVOIDANCE_GAIN;
    this.rate = roundTrip > 0 ? gain * window / roundTrip : Infinity;
  }

  /** When the next segment may go, in ms; not later than `now`: at once. */
  nextAt(now: number): number {
    return this.rate === Infinity ? now : Math.max(now, this.#next() - AHEAD_MS);
  }

  /** `bytes` were sent. */
  sent(bytes: number, now: number): void {
    if (this.rate === Infinity) return;
    const next = this.#next();
    this.#owed = bytes + Math.max(0, next - now) * this.rate;
    this.#since = next > now ? now : Math.max(next, now - BEHIND_MS);
    this.#rateThen = this.rate;
  }

  /** When nothing is owed any more. */
  #next(): number {
    return this.#since + this.#owed / Math.max(this.rate, this.#rateThen);
  }
}
