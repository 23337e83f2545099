/**
 * Proportional rate reduction: how the window comes down to the threshold during a recovery, so that
 * sending neither stops nor bursts (RFC 6937; the safe bound of RFC 9937 section 6.2).
 *
 * @module
 */

/** One recovery. */
export class RateReduction {
  #recoverFlight = 1;
  #delivered = 0;
  #out = 0;

  /** A recovery begins with `flight` bytes in flight. */
  begin(flight: number): void {
    this.#recoverFlight = Math.max(1, flight);
    this.#delivered = 0;
    this.#out = 0;
  }

  /** `bytes` were sent, for the first time or again. */
  sent(bytes: number): void {
    this.#out += bytes;
  }

  /**
   * Bytes that may be sent now, after acknowledgments that delivered `delivered` bytes.
   *
   * @param pipe Bytes on their way.
   * @param threshold Where the window is to end.
   * @param safe Whether something was acknowledged in order and nothing more was lost.
   * @param first Whether the recovery has just begun: one segment goes out in any case.
   */
  allowance(
    delivered: number,
    pipe: number,
    threshold: number,
    mss: number,
    safe: boolean,
    first: boolean,
  ): number {
    this.#delivered += delivered;
    let allowed: number;
    if (pipe > threshold) {
      const share = Math.ceil(this.#delivered * threshold / this.#recoverFlight);
      allowed = share - this.#out;
    } else {
      let limit = Math.max(this.#delivered - this.#out, delivered);
      if (safe) limit += mss;
      allowed = Math.min(threshold - pipe, limit);
    }
    return Math.max(allowed, first ? mss : 0);
  }
}
