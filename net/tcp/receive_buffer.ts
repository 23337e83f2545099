/**
 * Bytes that have arrived and the owner has not read yet, in order and out of order.
 *
 * The limit is what the other side may have on its way; it begins small and follows what the owner
 * reads in a round trip ("dynamic right-sizing", as Linux does it), up to its cap.
 *
 * @module
 */

import { type ChunkPool, SHARE } from "./chunk_pool.ts";
import { ChunkedBytes } from "./chunked_bytes.ts";
import { ReassemblyQueue } from "./reassembly_queue.ts";
import { ReceiveRoundTrip } from "./receive_round_trip.ts";
import { seqDistance } from "./sequence.ts";

/** Window at the beginning, in bytes: the other side's first few round trips. */
const INITIAL = 128 * 1024;

/** What became of a segment's bytes. */
export type Stored = "stored" | "no-memory" | "too-many-gaps";

/** Bytes of one connection, addressed by sequence number. */
export class ReceiveBuffer {
  /** Next sequence number expected: RCV.NXT. */
  next = 0;
  /** Bytes in order that wait to be read. */
  readable = 0;
  /** Bytes that may wait here. */
  limit: number;
  /** What has arrived out of order. */
  readonly gaps: ReassemblyQueue;
  /** In what time an acknowledgment brings more. */
  readonly roundTrip: ReceiveRoundTrip = new ReceiveRoundTrip();
  readonly #cap: number;
  readonly #pool: ChunkPool;
  readonly #bytes: ChunkedBytes;
  #measuredAt = -Infinity;
  #readSince = 0;

  /** An empty buffer that grows up to `cap` bytes. */
  constructor(pool: ChunkPool, cap: number, gaps: number) {
    this.#pool = pool;
    this.#bytes = new ChunkedBytes(pool);
    this.gaps = new ReassemblyQueue(gaps);
    this.#cap = cap;
    this.limit = Math.min(INITIAL, cap);
  }

  /**
   * Puts bytes where they belong and moves {@link next} over everything that is now in order.
   *
   * @param sequence At or behind {@link next}, inside of the window.
   */
  store(sequence: number, from: Uint8Array, at: number, length: number): Stored {
    const ahead = seqDistance(this.next, sequence);
    const share = ahead > 0 ? SHARE.early : SHARE.inOrder;
    const written = this.#bytes.write(this.readable + ahead, from, at, length, share);
    if (ahead > 0) {
      if (written < length) return "no-memory";
      return this.gaps.add(sequence, (sequence + length) | 0) ? "stored" : "too-many-gaps";
    }
    let next = (this.next + written) | 0;
    if (this.gaps.count > 0) next = this.gaps.advance(next);
    this.readable += seqDistance(this.next, next);
    this.next = next;
    return written < length ? "no-memory" : "stored";
  }

  /** Hands bytes to the owner; how many. */
  read(into: Uint8Array, at: number, length: number): number {
    return this.skip(this.peek(into, at, length));
  }

  /** Shows bytes to the owner, who will get them again; how many. */
  peek(into: Uint8Array, at: number, length: number): number {
    const count = Math.max(0, Math.min(length, this.readable));
    if (count > 0) this.#bytes.read(0, into, at, count);
    return count;
  }

  /** Forgets bytes that the owner has seen; how many. */
  skip(length: number): number {
    const count = Math.min(length, this.readable);
    if (count <= 0) return 0;
    this.readable -= count;
    this.#readSince += count;
    if (this.readable === 0 && this.gaps.count === 0) this.#bytes.clear();
    else this.#bytes.drop(count);
    return count;
  }

  /**
   * Grows the limit when the owner read half of it in one round trip: the window, not the owner or
   * the path, is then what holds the sender back.
   *
   * @param handshake The round trip of the handshake, in ms, for as long as no other one is known.
   */
  tune(now: number, handshake: number): void {
    const roundTrip = this.roundTrip.value < 0 ? handshake : this.roundTrip.value;
    if (this.limit >= this.#cap || now - this.#measuredAt < roundTrip) return;
    // A measurement that took much longer than a round trip says nothing about one.
    const fresh = now - this.#measuredAt < 4 * roundTrip + 10;
    if (fresh && 2 * this.#readSince >= this.limit && !this.#pool.scarce) {
      this.limit = Math.min(this.#cap, Math.max(2 * this.#readSince, 2 * this.limit));
    }
    this.#measuredAt = now;
    this.#readSince = 0;
  }

  /** Forgets what has arrived out of order: nothing will come in front of it any more. */
  forgetGaps(): void {
    this.gaps.clear();
    if (this.readable === 0) this.#bytes.clear();
  }

  /** Gives all memory back. */
  clear(): void {
    this.#bytes.clear();
    this.gaps.clear();
    this.readable = 0;
  }
}
