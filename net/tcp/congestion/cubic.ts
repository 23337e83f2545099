/**
 * CUBIC congestion control (RFC 9438), with the frame of RFC 5681: slow start, congestion avoidance,
 * the answer to a loss and to a timeout.
 *
 * The window is in bytes. It grows by what was acknowledged, without the limit of two segments per
 * acknowledgment (RFC 3465 section 2.3): acknowledgments come one for a whole batch, and pacing takes
 * the place of that limit.
 *
 * @module
 */

import { HyStart } from "./hystart.ts";

/** RFC 9438 section 5: C, in segments per second cubed, and beta. */
const C = 0.4;
const BETA = 0.7;
/** RFC 9438 section 4.3: what makes the Reno estimate as aggressive as Reno. */
const ALPHA = 3 * (1 - BETA) / (1 + BETA);
/** Initial window (RFC 6928), in segments and bytes. */
const INITIAL_SEGMENTS = 10;
const INITIAL_BYTES = 14600;

/** Initial window for segments of `mss` bytes (RFC 6928 section 2). */
export function initialWindow(mss: number): number {
  return Math.min(INITIAL_SEGMENTS * mss, Math.max(2 * mss, INITIAL_BYTES));
}

/** The congestion window of one connection. */
export class Cubic {
  /** Congestion window, in bytes. */
  window: number;
  /** Slow-start threshold, in bytes. */
  threshold: number = Infinity;
  #mss: number;
  #wMax = 0;
  #epochAt = -1;
  /** When something was acknowledged last, or sending began anew. */
  #seenAt = 0;
  #k = 0;
  #reno = 0;
  #prior = 0;
  #undoWindow = 0;
  #undoThreshold = Infinity;
  readonly #hystart = new HyStart();

  /** A connection that begins, with segments of `mss` bytes. */
  constructor(mss: number) {
    this.#mss = mss;
    this.window = initialWindow(mss);
  }

  /** The handshake is done, and the size of segments known. */
  begin(mss: number): void {
    this.#mss = mss;
    this.window = initialWindow(mss);
  }

  /** The size of segments changed. */
  setMss(mss: number): void {
    this.window = Math.max(2 * mss, this.window);
    this.#mss = mss;
  }

  /** Whether the window grows exponentially. */
  get slowStart(): boolean {
    return this.window < this.threshold;
  }

  /** A round trip was measured (ms). */
  sample(roundTrip: number, acknowledged: number, next: number): void {
    if (!this.slowStart) return;
    if (this.#hystart.sample(roundTrip, acknowledged, next)) this.threshold = this.window;
  }

  /**
   * `bytes` were acknowledged while the window was what held the sender back.
   *
   * @param smoothed Smoothed round trip, in ms.
   */
  acknowledged(bytes: number, smoothed: number, now: number): void {
    this.#seenAt = now;
    let rest = bytes;
    if (this.slowStart) {
      // RFC 5681 section 3.1, RFC 9406 section 4.2.
      const grown = this.window + bytes / this.#hystart.divisor;
      this.window = Math.min(grown, Math.max(this.window, this.threshold));
      rest = grown - this.window;
      if (rest <= 0) return;
    }
    if (this.#epochAt < 0) this.#beginEpoch(now);
    const mss = this.#mss;
    const t = (now - this.#epochAt) / 1000;
    // RFC 9438 section 4.2: where the curve is one round trip from now, at most half as much again.
    const ahead = t + Math.max(0, smoothed) / 1000 - this.#k;
    const target = Math.min(
      Math.max(this.#wMax + C * ahead ** 3 * mss, this.window),
      1.5 * this.window,
    );
    // Section 4.3: never slower than Reno would be.
    const alpha = this.#reno >= this.#prior ? 1 : ALPHA;
    this.#reno += alpha * mss * rest / this.window;
    const at = this.#wMax + C * (t - this.#k) ** 3 * mss;
    if (at < this.#reno) this.window = Math.max(this.window, this.#reno);
    else this.window += (target - this.window) * rest / this.window;
  }

  /**
   * The owner, not the window, held the sender back since the last acknowledgment: the curve waits for
   * it (RFC 9438 section 4.2), or the window would jump to where the curve is by then.
   */
  skip(now: number): void {
    if (this.#epochAt >= 0) this.#epochAt += now - this.#seenAt;
    this.#seenAt = now;
  }

  /** A loss (RFC 9438 section 4.6): sets the threshold; the window follows by rate reduction. */
  lost(flight: number): void {
    this.#remember();
    this.#reduce();
    this.threshold = Math.max(2 * this.#mss, Math.min(this.window, flight) * BETA);
  }

  /** The retransmission timer ran out (RFC 5681 section 3.1, RFC 9438 section 4.8). */
  timedOut(flight: number): void {
    this.#remember();
    this.#reduce();
    this.threshold = Math.max(2 * this.#mss, Math.max(this.window, flight) * BETA);
    this.#hystart.reset();
  }

  /** The loss was none: the window is what it was before. */
  undo(): void {
    this.window = Math.max(this.window, this.#undoWindow);
    this.threshold = this.#undoThreshold;
    this.#epochAt = -1;
  }

  /** Nothing was sent for a timeout's time: the window says nothing any more (RFC 5681 section 4.1). */
  idle(): void {
    this.window = Math.min(this.window, initialWindow(this.#mss));
    this.#epochAt = -1;
  }

  #remember(): void {
    this.#undoWindow = this.window;
    this.#undoThreshold = this.threshold;
  }

  #reduce(): void {
    // Section 4.7, fast convergence: below the last maximum, leave room for others.
    this.#wMax = this.window < this.#wMax ? this.window * (1 + BETA) / 2 : this.window;
    this.#prior = this.window;
    this.#epochAt = -1;
  }

  #beginEpoch(now: number): void {
    this.#epochAt = now;
    this.#reno = this.window;
    if (this.#wMax < this.window) {
      this.#wMax = this.window;
      this.#k = 0;
    } else this.#k = Math.cbrt((this.#wMax - this.window) / this.#mss / C);
  }
}
