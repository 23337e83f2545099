/**
 * The retransmission timeout from measured round trips (RFC 6298).
 *
 * The least timeout is 200 ms, as in Linux, instead of the one second of section 2.4: tail loss
 * probes repair most losses before it, and a delayed ACK takes 40 ms here and in Linux.
 *
 * @module
 */

/** Before anything was measured, in ms (section 2.1). */
const INITIAL_MS = 1000;
/** After a SYN had to be sent again and nothing was measured, in ms (section 5.7). */
const AFTER_LOST_SYN_MS = 3000;
const MIN_MS = 200;
/** Most, also when backed off, in ms (section 2.5). */
const MAX_MS = 60_000;
/** Clock granularity G, in ms. */
const GRANULARITY_MS = 1;

/** Round-trip estimate of one connection. */
export class RetransmissionTimeout {
  /** SRTT, in ms; -1: nothing measured yet. */
  smoothed = -1;
  /** RTTVAR, in ms. */
  variation = 0;
  /** How often the timer has run out since the last progress. */
  backoff = 0;
  #base = INITIAL_MS;

  /** The timeout, backed off (section 5.5), in ms. */
  get value(): number {
    return Math.min(MAX_MS, this.#base * 2 ** Math.min(this.backoff, 16));
  }

  /** Takes a measured round trip, in ms (section 2.2 and 2.3). */
  sample(roundTrip: number): void {
    const r = Math.max(0, roundTrip);
    if (this.smoothed < 0) {
      this.smoothed = r;
      this.variation = r / 2;
    } else {
      this.variation += (Math.abs(this.smoothed - r) - this.variation) / 4;
      this.smoothed += (r - this.smoothed) / 8;
    }
    const margin = Math.max(GRANULARITY_MS, 4 * this.variation);
    this.#base = Math.min(MAX_MS, Math.max(MIN_MS, this.smoothed + margin));
  }

  /** The timer has run out. */
  expired(): void {
    this.backoff++;
  }

  /** Something new was acknowledged. */
  progress(): void {
    this.backoff = 0;
  }

  /** The handshake is done, and its SYN had to be sent again (section 5.7). */
  synWasLost(): void {
    if (this.smoothed < 0) this.#base = AFTER_LOST_SYN_MS;
  }
}
