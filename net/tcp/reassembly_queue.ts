/**
 * Which bytes have arrived out of order: ranges of sequence numbers, and from them the SACK blocks
 * (RFC 2018 section 4). The bytes themselves lie in the receive buffer already.
 *
 * @module
 */

import { seqAtMost, seqBefore } from "./sequence.ts";

/** Blocks that a segment has room for, at most (RFC 2018 section 3). */
export const MAX_SACK_BLOCKS = 4;

/** Disjoint ranges in order, none touching another. */
export class ReassemblyQueue {
  readonly #limit: number;
  /** Left and right edges in turn. */
  readonly #edges: number[] = [];
  /** A number inside of each of the ranges that changed last, newest first. */
  readonly #recent: number[] = [];

  /** No ranges yet; `limit` is how many there may be. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Ranges held. */
  get count(): number {
    return this.#edges.length >> 1;
  }

  /** Behind the last byte that has arrived; only when there is one. */
  get end(): number {
    return this.#edges[this.#edges.length - 1] ?? 0;
  }

  /** Whether every byte of `[left, right)` has arrived before. */
  covers(left: number, right: number): boolean {
    const edges = this.#edges;
    for (let i = edges.length - 2; i >= 0; i -= 2) {
      if (seqAtMost(edges[i] ?? 0, left)) return seqAtMost(right, edges[i + 1] ?? 0);
    }
    return false;
  }

  /** Adds `[left, right)`, joining what it touches; false when there would be too many ranges. */
  add(left: number, right: number): boolean {
    const edges = this.#edges;
    // From the back: what arrives mostly continues the last range.
    let last = edges.length;
    while (last > 0 && seqBefore(right, edges[last - 2] ?? 0)) last -= 2;
    let first = last;
    let from = left;
    let to = right;
    while (first > 0 && seqAtMost(left, edges[first - 1] ?? 0)) {
      first -= 2;
      if (seqBefore(edges[first] ?? 0, from)) from = edges[first] ?? 0;
      if (seqBefore(to, edges[first + 1] ?? 0)) to = edges[first + 1] ?? 0;
    }
    if (first === last) {
      if (this.count >= this.#limit) return false;
      edges.splice(first, 0, from, to);
    } else {
      edges[first] = from;
      edges[first + 1] = to;
      if (last - first > 2) edges.splice(first + 2, last - first - 2);
    }
    this.#touch(left);
    return true;
  }

  /** Takes away what is contiguous with `next`; the number behind it. */
  advance(next: number): number {
    const edges = this.#edges;
    let to = next;
    while (edges.length > 0 && seqAtMost(edges[0] ?? 0, to)) {
      if (seqBefore(to, edges[1] ?? 0)) to = edges[1] ?? 0;
      edges.splice(0, 2);
    }
    if (edges.length === 0) this.#recent.length = 0;
    return to;
  }

  /**
   * Writes SACK blocks, left and right edge in turn: the range that changed last first, then the
   * ones before it (RFC 2018 section 4).
   *
   * @param most Most blocks, up to {@link MAX_SACK_BLOCKS}.
   * @returns Blocks written.
   */
  blocks(into: Int32Array, at: number, most: number): number {
    const edges = this.#edges;
    let written = 0;
    for (let r = 0; r < this.#recent.length && written < most; r++) {
      const inside = this.#recent[r] ?? 0;
      for (let i = edges.length - 2; i >= 0; i -= 2) {
        const left = edges[i] ?? 0;
        if (seqBefore(inside, left)) continue;
        if (seqBefore(inside, edges[i + 1] ?? 0) && !repeats(into, at, written, left)) {
          into[at + 2 * written] = left;
          into[at + 2 * written + 1] = edges[i + 1] ?? 0;
          written++;
        }
        break;
      }
    }
    return written;
  }

  /** Forgets everything. */
  clear(): void {
    this.#edges.length = 0;
    this.#recent.length = 0;
  }

  #touch(inside: number): void {
    const recent = this.#recent;
    if (recent[0] !== undefined && this.#sameRange(recent[0], inside)) {
      recent[0] = inside;
      return;
    }
    let at = recent.length < 2 * MAX_SACK_BLOCKS ? recent.length : recent.length - 1;
    for (let i = 0; i < at; i++) if (this.#sameRange(recent[i] ?? 0, inside)) at = i;
    for (let i = at; i > 0; i--) recent[i] = recent[i - 1] ?? 0;
    recent[0] = inside;
  }

  #sameRange(a: number, b: number): boolean {
    const edges = this.#edges;
    for (let i = edges.length - 2; i >= 0; i -= 2) {
      if (seqBefore(b, edges[i] ?? 0)) continue;
      return seqAtMost(edges[i] ?? 0, a) && seqBefore(a, edges[i + 1] ?? 0);
    }
    return false;
  }
}

function repeats(blocks: Int32Array, at: number, count: number, left: number): boolean {
  for (let i = 0; i < count; i++) if (blocks[at + 2 * i] === left) return true;
  return false;
}
