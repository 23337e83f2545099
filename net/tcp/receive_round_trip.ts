/**
 * The round trip as a receiver sees it: whoever sends nothing gets no acknowledgments to measure it by,
 * and the one of the handshake need not be that of the path by now, or is none, when a SYN was lost.
 *
 * With timestamps it is the time since that of our acknowledgment which data echoes (RFC 7323 section
 * 4.1), smoothed, as data may have waited for more than our acknowledgment. Without, it is at most the
 * time in which one window arrives. Linux does the same (tcp_rcv_rtt_measure).
 *
 * @module
 */

import { seqBefore } from "./sequence.ts";

/** Part of a new measurement in the smoothed one. */
const GAIN = 1 / 8;

/** One connection's. */
export class ReceiveRoundTrip {
  /** In ms; -1: not measured yet. */
  value = -1;
  #echo = 0;
  #edge = 0;
  #since = -1;

  /** Data has come that echoes timestamp `echo`, which was sent `age` ms ago. */
  echoed(echo: number, age: number): void {
    if (age < 0 || (echo === this.#echo && this.value >= 0)) return;
    this.#echo = echo;
    this.value = this.value < 0 ? age : this.value + GAIN * (age - this.value);
  }

  /** All before `next` has come, and the other side may send up to `edge`. */
  arrived(next: number, edge: number, now: number): void {
    if (this.#since >= 0) {
      if (seqBefore(next, this.#edge)) return;
      const took = now - this.#since;
      if (this.value < 0 || took < this.value) this.value = took;
    }
    this.#edge = edge;
    this.#since = now;
  }
}
