/**
 * CUBIC as the congestion control of a connection: the window of `cubic.ts`, how it comes down during
 * a recovery (`rate_reduction.ts`), and the rate that follows from it.
 *
 * @module
 */

import type { AckEvent, CongestionControl } from "./control.ts";
import { Cubic } from "./cubic.ts";
import type { Pacing } from "./pacing.ts";
import { RateReduction } from "./rate_reduction.ts";
import { seqDistance } from "../sequence.ts";

/** Before the handshake says it: MSS when the other side names none (RFC 9293 section 3.7.1). */
const DEFAULT_MSS = 536;

/** CUBIC (RFC 9438) with proportional rate reduction (RFC 6937, RFC 9937). */
export class CubicControl implements CongestionControl {
  /** See {@link CongestionControl.name}. */
  readonly name = "cubic";
  readonly #cubic = new Cubic(DEFAULT_MSS);
  readonly #reduction = new RateReduction();
  readonly #pacing: Pacing;
  #mss: number = DEFAULT_MSS;

  /** Sets the rate of `pacing`. */
  constructor(pacing: Pacing) {
    this.#pacing = pacing;
  }

  /** See {@link CongestionControl.window}. */
  get window(): number {
    return this.#cubic.window;
  }

  /** See {@link CongestionControl.begin}. */
  begin(mss: number, smoothed: number): void {
    this.#mss = mss;
    this.#cubic.begin(mss);
    this.#pacing.setWindow(this.#cubic.window, smoothed, true);
  }

  /** See {@link CongestionControl.setMss}. */
  setMss(mss: number): void {
    this.#mss = mss;
    this.#cubic.setMss(mss);
  }

  /** See {@link CongestionControl.resume}. */
  resume(quiet: boolean, now: number): void {
    if (quiet) this.#cubic.idle();
    this.#cubic.skip(now);
  }

  /** See {@link CongestionControl.sent}. */
  sent(bytes: number): void {
    this.#reduction.sent(bytes);
  }

  /** See {@link CongestionControl.acknowledged}. */
  acknowledged(ack: AckEvent): void {
    const cubic = this.#cubic;
    if (ack.roundTrip >= 0) cubic.sample(ack.roundTrip, ack.una, ack.next);
    if (ack.recovers) {
      const delivered = ack.newlyDelivered + ack.duplicates;
      this.#reduce(delivered, ack.pipe, ack.progress && !ack.newlyLost, ack.begun);
    } else if (ack.newlyDelivered > 0) {
      // RFC 9438 section 5.8: an idle owner must not grow the window.
      if (this.#isLimited(ack)) cubic.acknowledged(ack.newlyDelivered, ack.smoothed, ack.now);
      else cubic.skip(ack.now);
    }
    // During a recovery the window is small, but what it answers to is the flight.
    const paced = Math.max(cubic.window, seqDistance(ack.una, ack.next));
    this.#pacing.setWindow(paced, ack.smoothed, cubic.slowStart);
  }

  /** See {@link CongestionControl.segmentLost}: CUBIC answers to a recovery as a whole. */
  segmentLost(): void {}

  /** See {@link CongestionControl.recoveryBegun}. */
  recoveryBegun(flight: number): void {
    this.#cubic.lost(flight);
    this.#reduction.begin(flight);
  }

  /** See {@link CongestionControl.foundByTimer}. */
  foundByTimer(pipe: number): void {
    this.#reduce(0, pipe, false, true);
  }

  /** See {@link CongestionControl.recovered}. */
  recovered(fast: boolean): void {
    if (fast) this.#cubic.window = Math.max(this.#cubic.threshold, this.#mss);
  }

  /** See {@link CongestionControl.probeRepaired}. */
  probeRepaired(flight: number): void {
    this.#cubic.lost(flight);
    this.#cubic.window = this.#cubic.threshold;
  }

  /** See {@link CongestionControl.timedOut}. */
  timedOut(flight: number): void {
    this.#cubic.timedOut(flight);
  }

  /** See {@link CongestionControl.restart}. */
  restart(pipe: number): void {
    this.#cubic.window = pipe + this.#mss;
  }

  /** See {@link CongestionControl.undo}. */
  undo(): void {
    this.#cubic.undo();
  }

  #reduce(delivered: number, pipe: number, safe: boolean, first: boolean): void {
    const cubic = this.#cubic;
    const mss = this.#mss;
    const more = this.#reduction.allowance(delivered, pipe, cubic.threshold, mss, safe, first);
    cubic.window = Math.max(mss, pipe + more);
  }

  #isLimited(ack: AckEvent): boolean {
    if (ack.limited || ack.restarts) return true;
    return this.#cubic.slowStart && 2 * ack.flightBefore >= this.#cubic.window;
  }
}
