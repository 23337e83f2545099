/**
 * Bytes that the owner has written and the other side has not acknowledged yet.
 *
 * It grows with the congestion window (twice as much, so that there is always something to send) up
 * to its cap, and holds no memory when it is empty.
 *
 * @module
 */

import { type ChunkPool, SHARE } from "./chunk_pool.ts";
import { ChunkedBytes } from "./chunked_bytes.ts";
import { seqAdd, seqDistance } from "./sequence.ts";

/** Room at the beginning, in bytes. */
const INITIAL = 64 * 1024;

/** A queue of bytes, addressed by sequence number. */
export class SendBuffer {
  /** Sequence number of the first byte held. */
  start = 0;
  /** Bytes held. */
  length = 0;
  /** Bytes that it takes at most by now. */
  limit: number;
  readonly #cap: number;
  readonly #bytes: ChunkedBytes;

  /** An empty buffer that grows up to `cap` bytes. */
  constructor(pool: ChunkPool, cap: number) {
    this.#bytes = new ChunkedBytes(pool);
    this.#cap = cap;
    this.limit = Math.min(INITIAL, cap);
  }

  /** Sequence number behind the last byte. */
  get end(): number {
    return seqAdd(this.start, this.length);
  }

  /** Bytes that `write` would take, memory permitting. */
  get room(): number {
    return Math.max(0, this.limit - this.length);
  }

  /** Takes bytes from the owner; how many. */
  write(from: Uint8Array, at: number, length: number): number {
    const most = Math.min(length, this.room);
    const taken = this.#bytes.write(this.length, from, at, most, SHARE.sent);
    this.length += taken;
    return taken;
  }

  /** Copies the bytes of a segment to where it is sent from. */
  read(sequence: number, into: Uint8Array, at: number, length: number): void {
    this.#bytes.read(seqDistance(this.start, sequence), into, at, length);
  }

  /** Forgets what comes before `sequence`: it was acknowledged. */
  dropTo(sequence: number): void {
    const count = Math.min(seqDistance(this.start, sequence), this.length);
    if (count <= 0) return;
    this.start = seqAdd(this.start, count);
    this.length -= count;
    if (this.length === 0) this.#bytes.clear();
    else this.#bytes.drop(count);
  }

  /** Lets the limit follow the congestion window; it never shrinks. */
  grow(congestionWindow: number): void {
    this.limit = Math.max(this.limit, Math.min(this.#cap, Math.floor(2 * congestionWindow)));
  }

  /** Gives all memory back. */
  clear(): void {
    this.#bytes.clear();
    this.length = 0;
  }
}
