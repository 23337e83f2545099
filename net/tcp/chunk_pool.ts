/**
 * The memory of all buffers: chunks of one size, so that a connection holds as much as it has bytes
 * waiting and nothing when it is idle.
 *
 * At the cap `take` gives nothing: a sender then takes no more bytes from its owner, a receiver drops
 * what arrives, which the other side sends again. What can wait for others reaches its cap earlier:
 * otherwise bytes that wait to be sent, or for one in front of them, could keep out the very bytes
 * that would set them free.
 *
 * @module
 */

/** Bytes of one chunk. */
export const CHUNK_BYTES = 16384;
/** Chunks kept for the next taker; more go back to the runtime. */
const KEPT = 512;

/** Part of the memory that may be in use when a chunk is taken for this. */
export const SHARE = {
  /** Bytes that came before others: they come again. */
  early: 1 / 2,
  /** Bytes to be sent: their owner keeps them. */
  sent: 3 / 4,
  /** Bytes in order: their owner takes them away. */
  inOrder: 1,
} as const;

/** Hands out chunks. */
export class ChunkPool {
  /** Most chunks in use at a time. */
  readonly limit: number;
  /** Chunks in use. */
  inUse = 0;
  readonly #free: Uint8Array[] = [];

  /** A pool of at most `bytes`. */
  constructor(bytes: number) {
    this.limit = Math.max(1, Math.floor(bytes / CHUNK_BYTES));
  }

  /** Bytes in use. */
  get bytes(): number {
    return this.inUse * CHUNK_BYTES;
  }

  /** Whether more than half of the memory is in use: no window grows then. */
  get scarce(): boolean {
    return this.inUse * 2 > this.limit;
  }

  /** Chunks that could be taken now for bytes to be sent. */
  get available(): number {
    return Math.ceil(this.limit * SHARE.sent) - this.inUse;
  }

  /** A chunk with any content; undefined at the cap of its {@link SHARE}. */
  take(share: number): Uint8Array | undefined {
    if (this.inUse >= Math.ceil(this.limit * share)) return undefined;
    this.inUse++;
    return this.#free.pop() ?? new Uint8Array(CHUNK_BYTES);
  }

  /** Takes a chunk back. */
  give(chunk: Uint8Array): void {
    this.inUse--;
    if (this.#free.length < KEPT) this.#free.push(chunk);
  }
}
