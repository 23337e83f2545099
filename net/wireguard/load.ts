/**
 * Whether a device is under load (paper 5.3), by the handshake messages of the last second.
 *
 * @module
 */

import { LOAD_HANDSHAKES_PER_SECOND, LOAD_HOLD_MS } from "./constants.ts";

const SECOND = 1_000;

/** Counts handshake messages by the second. */
export class LoadMeter {
  readonly #limit: number;
  #second = -Infinity;
  #count = 0;
  #busyUntil = -Infinity;

  /** `limit` is the number of handshake messages in one second that are still no load. */
  constructor(limit: number = LOAD_HANDSHAKES_PER_SECOND) {
    this.#limit = limit;
  }

  /** Counts one message; true when there are so many that a cookie is to be asked for. */
  isUnderLoad(now: number): boolean {
    if (now - this.#second >= SECOND) {
      this.#second = now;
      this.#count = 0;
    }
    if (++this.#count > this.#limit) this.#busyUntil = this.#second + SECOND + LOAD_HOLD_MS;
    return now < this.#busyUntil;
  }
}
