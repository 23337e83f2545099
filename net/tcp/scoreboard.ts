/**
 * The sender's record of what is in flight: one entry for each segment, in order of sequence numbers
 * (RFC 6675 section 3, RFC 8985 section 5.1).
 *
 * Of a segment it knows when it was sent last, whether it was sent again, whether a SACK block has
 * covered it and whether it counts as lost. What is on its way, RFC 6675's "pipe", is the flight
 * without what was SACKed and without what counts as lost; a lost segment that is sent again counts
 * as lost no longer.
 *
 * It is one file because every change of an entry changes the same few sums.
 *
 * At {@link MAX_IN_FLIGHT} entries `push` refuses and the sender waits for acknowledgments.
 *
 * @module
 */

import type { CongestionControl } from "./congestion/control.ts";
import type { DeliveryRate } from "./congestion/delivery_rate.ts";
import type { Rack } from "./rack.ts";
import { type SegmentRing, type SegmentRingPool, SENT, SNAPSHOT } from "./segment_ring.ts";
import { seqAtMost, seqBefore, seqDistance } from "./sequence.ts";

/** Segments in flight. */
export class Scoreboard {
  /** Segments. */
  count = 0;
  /** Bytes of sequence space that SACK blocks cover. */
  sacked = 0;
  /** Segments that SACK blocks cover. */
  sackedCount = 0;
  /** Bytes of sequence space that count as lost. */
  lost = 0;
  /** Segments that were sent more than once. */
  again = 0;

  // What the acknowledgments since `beginAck` have told.
  /** Bytes that have arrived for the first time, acknowledged or SACKed. */
  newlyDelivered = 0;
  /** When the oldest newly acknowledged segment that was sent only once was sent; -1: none. */
  oldestSentAt = -1;
  /** When the newest segment that has arrived and was sent only once was sent; -1: none. */
  newestSentAt = -1;

  readonly #pool: SegmentRingPool;
  readonly #rack: Rack;
  readonly #rate: DeliveryRate;
  readonly #congestion: CongestionControl;
  #ring: SegmentRing | undefined;
  #head = 0;
  // Ranges that the last SACK blocks covered: the next ones mostly repeat them.
  readonly #seenLeft = [0, 0, 0, 0];
  readonly #seenRight = [0, 0, 0, 0];
  #anySeen = false;

  /** An empty one, with no memory. It tells the others what has arrived and what is lost. */
  constructor(
    pool: SegmentRingPool,
    rack: Rack,
    rate: DeliveryRate,
    congestion: CongestionControl,
  ) {
    this.#pool = pool;
    this.#rack = rack;
    this.#rate = rate;
    this.#congestion = congestion;
  }

  #slot(i: number): number {
    return (this.#head + i) & ((this.#ring?.size ?? 1) - 1);
  }

  /** First sequence number of entry `i`. */
  startOf(i: number): number {
    return this.#ring?.start[this.#slot(i)] ?? 0;
  }

  /** Sequence number behind entry `i`. */
  endOf(i: number): number {
    return this.#ring?.end[this.#slot(i)] ?? 0;
  }

  /** Bits of {@link SENT} of entry `i`. */
  flagsOf(i: number): number {
    return this.#ring?.flags[this.#slot(i)] ?? 0;
  }

  /** When entry `i` was sent last, in ms. */
  sentAtOf(i: number): number {
    return this.#ring?.sentAt[this.#slot(i)] ?? 0;
  }

  /** Whether `push` would take another segment. */
  hasRoom(): boolean {
    const ring = this.#ring;
    if (ring !== undefined && this.count < ring.size) return true;
    return this.#grow();
  }

  /**
   * Adds a segment that is about to be sent for the first time; there is room.
   *
   * @param inFlight Bytes on their way, with it.
   */
  push(start: number, end: number, flags: number, inFlight: number, now: number): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    const slot = this.#slot(this.count++);
    ring.start[slot] = start;
    ring.end[slot] = end;
    this.#stamp(ring, slot, flags, inFlight, now);
  }

  /** Entry `i` was sent again: it is on its way, with `inFlight` bytes that were before. */
  sentAgain(i: number, inFlight: number, now: number): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    const slot = this.#slot(i);
    const flags = ring.flags[slot] ?? 0;
    if ((flags & SENT.lost) !== 0) this.lost -= seqDistance(this.startOf(i), this.endOf(i));
    if ((flags & SENT.again) === 0) this.again++;
    const length = seqDistance(this.startOf(i), this.endOf(i));
    const kept = flags & ~(SENT.lost | SENT.ownerLimited);
    this.#stamp(ring, slot, kept | SENT.again, inFlight + length, now);
  }

  /** Forgets what earlier acknowledgments have told. */
  beginAck(): void {
    this.#rate.beginAck();
    this.newlyDelivered = 0;
    this.oldestSentAt = -1;
    this.newestSentAt = -1;
  }

  /**
   * Takes out everything before `acknowledged`.
   *
   * @param echo When the segment that is acknowledged was sent, by its timestamp, in ms; -1: not known.
   */
  acknowledge(acknowledged: number, echo: number, now: number): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    const mask = ring.size - 1;
    const ambiguous = this.again > 0 && this.#coversAgain(acknowledged);
    while (this.count > 0) {
      const slot = this.#head & mask;
      const start = ring.start[slot] ?? 0;
      const end = ring.end[slot] ?? 0;
      const flags = ring.flags[slot] ?? 0;
      if (seqBefore(acknowledged, end)) {
        const part = seqDistance(start, acknowledged);
        if (part <= 0) break;
        ring.start[slot] = acknowledged;
        if ((flags & SENT.sacked) !== 0) this.sacked -= part;
        else {
          if ((flags & SENT.lost) !== 0) this.lost -= part;
          this.newlyDelivered += part;
          this.#rate.delivered += part;
        }
        break;
      }
      if ((flags & SENT.sacked) !== 0) {
        this.sacked -= seqDistance(start, end);
        this.sackedCount--;
      } else {
        if ((flags & SENT.lost) !== 0) this.lost -= seqDistance(start, end);
        if (!ambiguous && this.oldestSentAt < 0) this.oldestSentAt = ring.sentAt[slot] ?? 0;
        this.#arrived(ring, slot, echo, ambiguous, now);
      }
      if ((flags & SENT.again) !== 0) this.again--;
      this.#head++;
      this.count--;
    }
    this.#rate.take(ring, now);
    if (this.count === 0) this.#release();
    else if (this.sacked === 0) this.#forgetSeen();
  }

  /** A SACK block: marks the segments that lie in `[left, right)` as a whole. */
  sack(left: number, right: number, echo: number, now: number): void {
    const ring = this.#ring;
    if (ring === undefined || this.count === 0) return;
    let from = left;
    let seen = -1;
    for (let c = 0; c < 4; c++) {
      const seenLeft = this.#seenLeft[c] ?? 0;
      const seenRight = this.#seenRight[c] ?? 0;
      if (seenLeft === seenRight || seqBefore(left, seenLeft) || seqBefore(seenRight, left)) {
        continue;
      }
      if (seqAtMost(right, seenRight)) return;
      from = seenRight;
      seen = c;
      break;
    }
    const first = this.#indexAt(from);
    let covered = from;
    for (let i = first; i < this.count; i++) {
      const slot = this.#slot(i);
      const end = ring.end[slot] ?? 0;
      if (seqBefore(right, end)) break;
      covered = end;
      const flags = ring.flags[slot] ?? 0;
      if ((flags & SENT.sacked) !== 0) continue;
      const length = seqDistance(ring.start[slot] ?? 0, end);
      if ((flags & SENT.lost) !== 0) this.lost -= length;
      ring.flags[slot] = (flags & ~SENT.lost) | SENT.sacked;
      this.sacked += length;
      this.sackedCount++;
      this.#arrived(ring, slot, echo, false, now);
    }
    if (covered === from) return;
    this.#rate.take(ring, now);
    const keep = seen >= 0 ? seen : this.#oldestSeen();
    this.#anySeen = true;
    if (seen < 0) this.#seenLeft[keep] = this.startOf(first);
    this.#seenRight[keep] = covered;
  }

  /**
   * RACK_detect_loss() (RFC 8985 section 6.2, step 5): marks what was sent long enough before the
   * segment that arrived last.
   *
   * @param window Time for reordering, in ms.
   * @returns Time until the next one may count as lost, in ms; 0: nothing to wait for.
   */
  detectLoss(window: number, now: number): number {
    const ring = this.#ring;
    const rack = this.#rack;
    if (ring === undefined || rack.sentAt < 0) return 0;
    const mask = ring.size - 1;
    let wait = 0;
    for (let i = 0; i < this.count; i++) {
      const slot = (this.#head + i) & mask;
      if (((ring.flags[slot] ?? 0) & (SENT.sacked | SENT.lost)) !== 0) continue;
      const sentAt = ring.sentAt[slot] ?? 0;
      if (!rack.sentBefore(sentAt, ring.end[slot] ?? 0, rack.sentAt, rack.end)) {
        // Sent once, so everything behind it was sent even later, unless it was sent again.
        continue;
      }
      const remaining = sentAt + rack.roundTrip + window - now;
      if (remaining <= 0) this.markLost(i);
      else if (remaining > wait) wait = remaining;
    }
    return wait;
  }

  /**
   * RACK_mark_losses_on_RTO() (RFC 8985 section 6.3): the first segment, and what was sent so long
   * ago that it should have been acknowledged.
   */
  markTimedOut(window: number, now: number): void {
    for (let i = 0; i < this.count; i++) {
      if ((this.flagsOf(i) & (SENT.sacked | SENT.lost)) !== 0) continue;
      const overdue = this.sentAtOf(i) + this.#rack.roundTrip + window <= now;
      if (i === 0 || overdue) this.markLost(i);
    }
  }

  /** Counts entry `i` as lost, unless it was SACKed or is already. */
  markLost(i: number): void {
    const ring = this.#ring;
    if (ring === undefined || !this.markUnsent(i)) return;
    const slot = this.#slot(i);
    const length = seqDistance(ring.start[slot] ?? 0, ring.end[slot] ?? 0);
    const rate = this.#rate;
    rate.lost += length;
    const limited = ((ring.flags[slot] ?? 0) & SENT.ownerLimited) !== 0;
    const apart = i === 0 || (this.flagsOf(i - 1) & SENT.lost) === 0;
    const { snapshots } = ring;
    const at = SNAPSHOT.size * slot;
    const inFlight = snapshots[at + SNAPSHOT.inFlight] ?? 0;
    const since = rate.lost - (snapshots[at + SNAPSHOT.lost] ?? 0);
    this.#congestion.segmentLost(length, inFlight, since, limited, apart);
  }

  /**
   * Has entry `i` sent again as if it were lost, for a reason that says nothing about the path; false
   * when it was SACKed or is to be sent again already.
   */
  markUnsent(i: number): boolean {
    const ring = this.#ring;
    if (ring === undefined || i >= this.count) return false;
    const slot = this.#slot(i);
    const flags = ring.flags[slot] ?? 0;
    if ((flags & (SENT.sacked | SENT.lost)) !== 0) return false;
    ring.flags[slot] = flags | SENT.lost;
    this.lost += seqDistance(ring.start[slot] ?? 0, ring.end[slot] ?? 0);
    return true;
  }

  /** Index of the first lost entry at or behind `from`; -1: none. */
  nextLost(from: number): number {
    if (this.lost === 0) return -1;
    const ring = this.#ring;
    if (ring === undefined) return -1;
    for (let i = from; i < this.count; i++) {
      if (((ring.flags[this.#slot(i)] ?? 0) & SENT.lost) !== 0) return i;
    }
    return -1;
  }

  /** Takes back that anything counts as lost: it was only late. */
  unmarkLost(): void {
    const ring = this.#ring;
    if (ring === undefined || this.lost === 0) return;
    for (let i = 0; i < this.count; i++) {
      const slot = this.#slot(i);
      ring.flags[slot] = (ring.flags[slot] ?? 0) & ~SENT.lost;
    }
    this.lost = 0;
  }

  /**
   * Forgets every SACK: the other side has dropped what it had reported, as it may
   * (RFC 2018 section 8).
   */
  forgetSacks(): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    for (let i = 0; i < this.count; i++) {
      const slot = this.#slot(i);
      ring.flags[slot] = (ring.flags[slot] ?? 0) & ~SENT.sacked;
    }
    this.sacked = 0;
    this.sackedCount = 0;
    this.#forgetSeen();
  }

  /** Cuts entry `i` so that it carries at most `length`, if there is room for two. */
  split(i: number, length: number): void {
    if (!this.hasRoom()) return;
    const ring = this.#ring;
    if (ring === undefined) return;
    for (let k = this.count; k > i; k--) ring.copy(this.#slot(k - 1), ring, this.#slot(k));
    this.count++;
    const slot = this.#slot(i);
    const cut = (this.startOf(i) + length) | 0;
    ring.end[slot] = cut;
    ring.flags[slot] = (ring.flags[slot] ?? 0) & ~SENT.fin;
    ring.start[this.#slot(i + 1)] = cut;
    if ((this.flagsOf(i) & SENT.sacked) !== 0) this.sackedCount++;
    if ((this.flagsOf(i) & SENT.again) !== 0) this.again++;
  }

  /** Forgets everything. */
  clear(): void {
    this.count = 0;
    this.#release();
  }

  /**
   * Whether anything before `acknowledged` was sent more than once. Then what was sent once may have
   * arrived long ago and waited for it, and says nothing about the round trip (RFC 6298 section 3).
   */
  #coversAgain(acknowledged: number): boolean {
    for (let i = 0; i < this.count && !seqBefore(acknowledged, this.endOf(i)); i++) {
      if ((this.flagsOf(i) & SENT.again) !== 0) return true;
    }
    return false;
  }

  #arrived(
    ring: SegmentRing,
    slot: number,
    echo: number,
    ambiguous: boolean,
    now: number,
  ): void {
    const flags = ring.flags[slot] ?? 0;
    const sentAt = ring.sentAt[slot] ?? 0;
    const end = ring.end[slot] ?? 0;
    const again = (flags & SENT.again) !== 0;
    const size = seqDistance(ring.start[slot] ?? 0, end);
    this.newlyDelivered += size;
    this.#rate.arrived(slot, sentAt, end, size);
    if (!again && !ambiguous && sentAt > this.newestSentAt) this.newestSentAt = sentAt;
    const older = again && echo >= 0 && echo < Math.floor(sentAt);
    this.#rack.delivered(sentAt, end, again, older, ambiguous, now);
  }

  /** OnPacketSent() (draft-ietf-ccwg-bbr), its part for the segment. */
  #stamp(ring: SegmentRing, slot: number, flags: number, inFlight: number, now: number): void {
    const rate = this.#rate;
    ring.flags[slot] = rate.appLimited > 0 ? flags | SENT.ownerLimited : flags;
    ring.sentAt[slot] = now;
    rate.stamp(ring, slot, inFlight);
  }

  /** Index of the first entry that begins at or behind `sequence`. */
  #indexAt(sequence: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqBefore(this.startOf(middle), sequence)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #grow(): boolean {
    const old = this.#ring;
    const larger = this.#pool.takeAbove(old?.size ?? 0);
    if (larger === undefined) return false;
    if (old !== undefined) {
      for (let i = 0; i < this.count; i++) old.copy(this.#slot(i), larger, i);
      this.#pool.give(old);
    }
    this.#ring = larger;
    this.#head = 0;
    return true;
  }

  #release(): void {
    if (this.#ring !== undefined) this.#pool.give(this.#ring);
    this.#ring = undefined;
    this.#head = 0;
    this.sacked = 0;
    this.sackedCount = 0;
    this.lost = 0;
    this.again = 0;
    this.#forgetSeen();
  }

  #oldestSeen(): number {
    let oldest = 0;
    for (let c = 1; c < 4; c++) {
      const gone = this.#seenLeft[c] === this.#seenRight[c];
      if (gone || seqBefore(this.#seenRight[c] ?? 0, this.#seenRight[oldest] ?? 0)) oldest = c;
      if (gone) break;
    }
    return oldest;
  }

  #forgetSeen(): void {
    if (!this.#anySeen) return;
    this.#anySeen = false;
    this.#seenLeft.fill(0);
    this.#seenRight.fill(0);
  }
}
