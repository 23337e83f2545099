/**
 * Bytes in chunks, addressed by their distance from the first one that is still held.
 *
 * There may be holes: bytes that arrive before others are written where they belong, and are never
 * moved. A chunk that nothing was written to is not there.
 *
 * @module
 */

import { copyBytes } from "../wire/bytes.ts";
import { CHUNK_BYTES, type ChunkPool } from "./chunk_pool.ts";

const HOLE = new Uint8Array(0);

/** Bytes of one direction of one connection. */
export class ChunkedBytes {
  readonly #pool: ChunkPool;
  readonly #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that were dropped. */
  #skip = 0;

  /** No bytes yet, and no memory of `pool`. */
  constructor(pool: ChunkPool) {
    this.#pool = pool;
  }

  /** Writes at `offset`; how many bytes the pool had room for, within this `SHARE` of it. */
  write(offset: number, from: Uint8Array, at: number, length: number, share: number): number {
    let position = this.#skip + offset;
    let done = 0;
    while (done < length) {
      const chunk = this.#chunkFor((position / CHUNK_BYTES) | 0, share);
      if (chunk === undefined) break;
      const within = position % CHUNK_BYTES;
      const part = Math.min(length - done, CHUNK_BYTES - within);
      copyBytes(from, at + done, chunk, within, part);
      position += part;
      done += part;
    }
    return done;
  }

  /** Copies bytes out; they must have been written. */
  read(offset: number, into: Uint8Array, at: number, length: number): void {
    let position = this.#skip + offset;
    let done = 0;
    while (done < length) {
      const chunk = this.#chunks[(position / CHUNK_BYTES) | 0];
      const within = position % CHUNK_BYTES;
      const part = Math.min(length - done, CHUNK_BYTES - within);
      if (chunk === undefined || chunk.length === 0) return;
      copyBytes(chunk, within, into, at + done, part);
      position += part;
      done += part;
    }
  }

  /** Forgets the first `length` bytes. */
  drop(length: number): void {
    this.#skip += length;
    while (this.#skip >= CHUNK_BYTES) {
      this.#skip -= CHUNK_BYTES;
      const chunk = this.#chunks.shift();
      if (chunk !== undefined && chunk.length > 0) this.#pool.give(chunk);
    }
  }

  /** Forgets everything and gives all memory back. */
  clear(): void {
    this.#skip = 0;
    for (let chunk = this.#chunks.pop(); chunk !== undefined; chunk = this.#chunks.pop()) {
      if (chunk.length > 0) this.#pool.give(chunk);
    }
  }

  #chunkFor(index: number, share: number): Uint8Array | undefined {
    const there = this.#chunks[index];
    if (there !== undefined && there.length > 0) return there;
    const chunk = this.#pool.take(share);
    if (chunk === undefined) return undefined;
    while (this.#chunks.length <= index) this.#chunks.push(HOLE);
    this.#chunks[index] = chunk;
    return chunk;
  }
}
