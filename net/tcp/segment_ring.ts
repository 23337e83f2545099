/**
 * The memory of a scoreboard: a ring of records of segments that were sent, as arrays of numbers, so
 * that a segment allocates nothing. Rings come in a few sizes and go back to their pool when
 * everything is acknowledged.
 *
 * @module
 */

/** Sizes of rings, in segments; also the most segments in flight on one connection. */
const SIZES = [16, 64, 256, 1024, 4096] as const;
/** Rings kept of each size. */
const KEPT = 64;

/** Most segments in flight on one connection; more wait in the send buffer. */
export const MAX_IN_FLIGHT = 4096;

/** What is known of a segment in flight. */
export const SENT = {
  /** A SACK block covers it. */
  sacked: 1,
  /** It counts as lost and was not sent again yet. */
  lost: 2,
  /** It was sent more than once. */
  again: 4,
  /** Its last sequence number is the FIN. */
  fin: 8,
  /** The owner had too little to send when it was sent last. */
  ownerLimited: 16,
} as const;

/** Where the numbers of a snapshot (`congestion/delivery_rate.ts`) are, and how many. */
export const SNAPSHOT = {
  /** Bytes delivered. */
  delivered: 0,
  /** When they were, in ms. */
  deliveredAt: 1,
  /** When the flight began that the segment belongs to, in ms. */
  firstSentAt: 2,
  /** Bytes lost. */
  lost: 3,
  /** Bytes on their way, with the segment. */
  inFlight: 4,
  /** Numbers. */
  size: 5,
} as const;

/** Records of segments, by slot. */
export class SegmentRing {
  /** Slots, a power of two. */
  readonly size: number;
  /** First sequence number. */
  readonly start: Int32Array;
  /** Sequence number behind the last one. */
  readonly end: Int32Array;
  /** Bits of `SENT`. */
  readonly flags: Uint8Array;
  /** When it was sent last, in ms. */
  readonly sentAt: Float64Array;
  /** What was known of the connection by then: {@link SNAPSHOT} numbers for each. */
  readonly snapshots: Float64Array;

  /** A ring of `size` slots. */
  constructor(size: number) {
    this.size = size;
    this.start = new Int32Array(size);
    this.end = new Int32Array(size);
    this.flags = new Uint8Array(size);
    this.sentAt = new Float64Array(size);
    this.snapshots = new Float64Array(SNAPSHOT.size * size);
  }

  /** Copies the record in `slot` to `to` of another ring, or of this one. */
  copy(slot: number, other: SegmentRing, to: number): void {
    other.start[to] = this.start[slot] ?? 0;
    other.end[to] = this.end[slot] ?? 0;
    other.flags[to] = this.flags[slot] ?? 0;
    other.sentAt[to] = this.sentAt[slot] ?? 0;
    for (let i = 0; i < SNAPSHOT.size; i++) {
      other.snapshots[SNAPSHOT.size * to + i] = this.snapshots[SNAPSHOT.size * slot + i] ?? 0;
    }
  }
}

/** Hands out rings. */
export class SegmentRingPool {
  readonly #free: SegmentRing[][] = SIZES.map(() => []);

  /** A ring of more than `size` slots; undefined when there is none that large. */
  takeAbove(size: number): SegmentRing | undefined {
    const i = SIZES.findIndex((one) => one > size);
    const slots = SIZES[i];
    if (slots === undefined) return undefined;
    return this.#free[i]?.pop() ?? new SegmentRing(slots);
  }

  /** Takes a ring back. */
  give(ring: SegmentRing): void {
    const free = this.#free[SIZES.findIndex((one) => one === ring.size)];
    if (free !== undefined && free.length < KEPT) free.push(ring);
  }
}
