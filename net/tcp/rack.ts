/**
 * RACK: finding losses by time (RFC 8985 section 6). A segment is lost when one that was sent after
 * it has arrived, and time for reordering has passed since.
 *
 * Names are those of section 5.2. The list of segments is the scoreboard's.
 *
 * @module
 */

import { seqBefore } from "./sequence.ts";

/** Segments acknowledged above a hole that mean loss at once, while nothing was ever reordered. */
export const DUP_THRESH = 3;
/** Recoveries after which the window for reordering shrinks again (section 6.2, step 4). */
const REO_WND_PERSIST = 16;

/** What RACK knows of one connection. */
export class Rack {
  /** When the segment that was sent last of all that have arrived was sent, in ms; -1: none yet. */
  sentAt = -1;
  /** Its end. */
  end = 0;
  /** Its round trip, in ms. */
  roundTrip = 0;
  /** Least round trip of late, in ms; Infinity: not known. */
  minRoundTrip: number = Infinity;
  /** Whether segments were seen to arrive in another order than they were sent in. */
  reordered = false;
  /** What the window for reordering is multiplied by: grows when a loss was none. */
  multiplier = 1;
  #minAt = -Infinity;
  #highest = 0;
  #highestKnown = false;
  #persist = 0;
  #roundEnd = 0;
  #inRound = false;

  /** The handshake has measured a round trip, in ms. */
  handshake(roundTrip: number, now: number): void {
    this.#sample(roundTrip, now);
  }

  /**
   * A segment has arrived for the first time (section 6.2, steps 1 to 3).
   *
   * @param retransmitted Whether it was sent more than once.
   * @param echoOlder Whether a timestamp says that an earlier transmission arrived.
   * @param ambiguous Whether it may have arrived earlier than now.
   */
  delivered(
    sentAt: number,
    end: number,
    retransmitted: boolean,
    echoOlder: boolean,
    ambiguous: boolean,
    now: number,
  ): void {
    const roundTrip = now - sentAt;
    if (retransmitted) {
      // Step 2: which of the two transmissions arrived? The echo, or a time that cannot be, tells.
      if (echoOlder || roundTrip < this.minRoundTrip) return;
    } else {
      if (!ambiguous) this.#sample(roundTrip, now);
      if (!this.#highestKnown || seqBefore(this.#highest, end)) {
        this.#highest = end;
        this.#highestKnown = true;
      } else if (seqBefore(end, this.#highest)) this.reordered = true;
    }
    this.roundTrip = roundTrip;
    if (this.sentBefore(this.sentAt, this.end, sentAt, end)) {
      this.sentAt = sentAt;
      this.end = end;
    }
  }

  /** RACK_sent_after(): whether segment 1 was sent before segment 2. */
  sentBefore(sentAt1: number, end1: number, sentAt2: number, end2: number): boolean {
    return sentAt1 < sentAt2 || (sentAt1 === sentAt2 && seqBefore(end1, end2));
  }

  /**
   * Time that a segment may arrive late, in ms (step 4).
   *
   * @param eager Whether a recovery runs, or enough segments have arrived to begin one.
   */
  reorderWindow(smoothed: number, eager: boolean): number {
    if (!this.reordered && eager) return 0;
    if (this.minRoundTrip === Infinity) return 0;
    return Math.min(this.multiplier * this.minRoundTrip / 4, Math.max(smoothed, 0));
  }

  /** The other side reported a segment twice: a loss was none (step 4, once per round trip). */
  duplicateSeen(acknowledged: number, next: number): void {
    if (this.#inRound && seqBefore(acknowledged, this.#roundEnd)) return;
    this.#inRound = true;
    this.#roundEnd = next;
    this.multiplier = Math.min(this.multiplier + 1, 64);
    this.#persist = REO_WND_PERSIST;
  }

  /** A recovery has ended. */
  recovered(): void {
    if (this.#persist > 0 && --this.#persist === 0) this.multiplier = 1;
  }

  /** Least round trip within the last ten seconds or so (section 6.2, step 1 leaves the window open). */
  #sample(roundTrip: number, now: number): void {
    if (roundTrip <= this.minRoundTrip || now - this.#minAt > 10_000) {
      this.minRoundTrip = roundTrip;
      this.#minAt = now;
    }
  }
}
