/**
 * HyStart++: leaving slow start when the round trip grows, before anything is lost (RFC 9406).
 *
 * @module
 */

import { seqAtMost } from "../sequence.ts";

/** Section 4.3. */
const MIN_RTT_THRESH_MS = 4;
const MAX_RTT_THRESH_MS = 16;
const MIN_RTT_DIVISOR = 8;
const N_RTT_SAMPLE = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

/** Watches the rounds of a slow start. */
export class HyStart {
  #roundEnd = 0;
  #inRound = false;
  #samples = 0;
  #current = Infinity;
  #last = Infinity;
  /** Conservative slow start: the round trip it began with; -1: not in it. */
  #baseline = -1;
  #rounds = 0;

  /** Begins anew. */
  reset(): void {
    this.#inRound = false;
    this.#last = Infinity;
    this.#current = Infinity;
    this.#baseline = -1;
  }

  /** What growth is divided by. */
  get divisor(): number {
    return this.#baseline >= 0 ? CSS_GROWTH_DIVISOR : 1;
  }

  /**
   * Takes a measured round trip (ms) of an acknowledgment.
   *
   * @param acknowledged SND.UNA after it.
   * @param next SND.NXT.
   * @returns Whether slow start is over (section 4.2: after five conservative rounds).
   */
  sample(roundTrip: number, acknowledged: number, next: number): boolean {
    if (!this.#inRound || seqAtMost(this.#roundEnd, acknowledged)) {
      const over = this.#baseline >= 0 && this.#inRound && ++this.#rounds >= CSS_ROUNDS;
      this.#inRound = true;
      this.#roundEnd = next;
      this.#last = this.#current;
      this.#current = Infinity;
      this.#samples = 0;
      if (over) return true;
    }
    this.#samples++;
    this.#current = Math.min(this.#current, roundTrip);
    if (this.#samples < N_RTT_SAMPLE || this.#current === Infinity) return false;
    if (this.#baseline >= 0) {
      // The round trip went down again: it was no queue, back to slow start.
      if (this.#current < this.#baseline) this.#baseline = -1;
    } else if (this.#last !== Infinity) {
      const threshold = Math.max(
        MIN_RTT_THRESH_MS,
        Math.min(this.#last / MIN_RTT_DIVISOR, MAX_RTT_THRESH_MS),
      );
      if (this.#current >= this.#last + threshold) {
        this.#baseline = this.#current;
        this.#rounds = 0;
      }
    }
    return false;
  }
}
