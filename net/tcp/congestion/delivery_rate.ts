/**
 * Delivery rate samples: how fast the path delivered what was sent last
 * (draft-ietf-ccwg-bbr, "Delivery Rate Samples").
 *
 * Each segment carries how much had been delivered when it was sent (`segment_ring.ts`). When it has
 * arrived, what was delivered since, over the time since, is the rate; it cannot be higher than the
 * rate at which the segments were sent.
 *
 * Names are those of the draft; times are in ms, amounts in bytes. A batch of acknowledgments, which
 * arrived at one time, makes one sample.
 *
 * @module
 */

import { type SegmentRing, SENT, SNAPSHOT } from "../segment_ring.ts";
import { seqBefore } from "../sequence.ts";

/** Differences of large times are not exact. */
const ROUNDING_MS = 0.001;

/** What was delivered on one connection, and the sample of the present batch. */
export class DeliveryRate {
  // Per-connection (C) state.
  /** Bytes delivered so far, acknowledged or SACKed. */
  delivered = 0;
  /** When that changed last; while nothing was in flight, when sending began. */
  deliveredAt = 0;
  /** When the segment was sent that was delivered last. */
  firstSentAt = 0;
  /** Bytes that ever counted as lost. */
  lost = 0;
  /** The owner had too little to send: samples are low until more than this is delivered; 0: not so. */
  appLimited = 0;

  // Rate Sample (RS) Output.
  /** Whether anything was delivered in this batch. */
  hasData = false;
  /** Bytes per ms; 0: no reliable sample. */
  rate = 0;
  /** Bytes delivered over the sampling interval. */
  sampleDelivered = 0;
  /** {@link delivered} when the newest segment that has arrived was sent. */
  priorDelivered = 0;
  /** Bytes in flight when it was sent, with it. */
  inFlight = 0;
  /** Bytes that counted as lost since it was sent. */
  sampleLost = 0;
  /** Whether the owner had too little to send then. */
  isAppLimited = false;
  #priorAt = 0;
  #priorLost = 0;
  #sendElapsed = 0;
  #lastEnd = 0;
  #slot = -1;

  /** InitRateSample(). */
  beginAck(): void {
    this.hasData = false;
    this.rate = 0;
    this.sampleDelivered = 0;
    this.sampleLost = 0;
  }

  /** OnPacketSent(), its part for the connection: `inFlight` bytes are on their way already. */
  sending(inFlight: number, now: number): void {
    if (inFlight > 0) return;
    this.firstSentAt = now;
    this.deliveredAt = now;
  }

  /** OnPacketSent(), its part for the segment in `slot`: `inFlight` bytes are on their way with it. */
  stamp(ring: SegmentRing, slot: number, inFlight: number): void {
    const { snapshots } = ring;
    const at = SNAPSHOT.size * slot;
    snapshots[at] = this.delivered;
    snapshots[at + SNAPSHOT.deliveredAt] = this.deliveredAt;
    snapshots[at + SNAPSHOT.firstSentAt] = this.firstSentAt;
    snapshots[at + SNAPSHOT.lost] = this.lost;
    snapshots[at + SNAPSHOT.inFlight] = inFlight;
  }

  /** UpdateRateSample(), its part for each segment: that in `slot` has arrived, `size` bytes of it new. */
  arrived(slot: number, sentAt: number, end: number, size: number): void {
    this.delivered += size;
    // IsNewestPacket().
    if (this.hasData) {
      if (sentAt < this.firstSentAt) return;
      if (sentAt === this.firstSentAt && seqBefore(end, this.#lastEnd)) return;
    }
    this.hasData = true;
    this.firstSentAt = sentAt;
    this.#lastEnd = end;
    this.#slot = slot;
  }

  /** UpdateRateSample(), its part for an acknowledgment, behind {@link arrived} of its segments. */
  take(ring: SegmentRing, now: number): void {
    const slot = this.#slot;
    if (slot < 0) return;
    this.#slot = -1;
    const { snapshots } = ring;
    const at = SNAPSHOT.size * slot;
    this.deliveredAt = now;
    this.priorDelivered = snapshots[at] ?? 0;
    this.#priorAt = snapshots[at + SNAPSHOT.deliveredAt] ?? 0;
    this.#sendElapsed = this.firstSentAt - (snapshots[at + SNAPSHOT.firstSentAt] ?? 0);
    this.#priorLost = snapshots[at + SNAPSHOT.lost] ?? 0;
    this.inFlight = snapshots[at + SNAPSHOT.inFlight] ?? 0;
    this.isAppLimited = ((ring.flags[slot] ?? 0) & SENT.ownerLimited) !== 0;
  }

  /**
   * GenerateRateSample().
   *
   * @param minRoundTrip Least round trip; a shorter interval means that it is not clear which
   * transmission has arrived.
   */
  generate(minRoundTrip: number): void {
    if (this.appLimited > 0 && this.delivered > this.appLimited) this.appLimited = 0;
    if (!this.hasData) return;
    const interval = Math.max(this.#sendElapsed, this.deliveredAt - this.#priorAt);
    this.sampleDelivered = this.delivered - this.priorDelivered;
    this.sampleLost = this.lost - this.#priorLost;
    if (interval <= 0 || interval + ROUNDING_MS < minRoundTrip) return;
    this.rate = this.sampleDelivered / interval;
  }

  /** MarkConnectionAppLimited(), with `inFlight` bytes on their way. */
  markAppLimited(inFlight: number): void {
    this.appLimited = Math.max(1, this.delivered + inFlight);
  }
}
