/**
 * Deadlines of many flows: a heap with one place for each flow, at its earliest deadline.
 *
 * A deadline that moves away, as a retransmission timer does with every acknowledgment, costs
 * nothing: the flow keeps its place, is looked at too early once, and takes its new place then.
 *
 * @module
 */

/** What a heap needs to keep with an entry. */
export interface Timed {
  /** When the heap will give it out, in ms; Infinity: not in it. */
  armedAt: number;
  /** Its place in the heap; -1: not in it. */
  heapIndex: number;
}

/** A binary heap. */
export class TimerHeap<T extends Timed> {
  readonly #heap: T[] = [];

  /** Entries. */
  get size(): number {
    return this.#heap.length;
  }

  /** When the first entry is due, in ms; Infinity: never. */
  get nextAt(): number {
    return this.#heap[0]?.armedAt ?? Infinity;
  }

  /** Makes sure that `entry` is given out at `at` or before. */
  schedule(entry: T, at: number): void {
    if (at >= entry.armedAt) return;
    entry.armedAt = at;
    if (entry.heapIndex < 0) {
      entry.heapIndex = this.#heap.length;
      this.#heap.push(entry);
    }
    this.#up(entry);
  }

  /** Takes out one entry that is due; undefined when there is none. */
  due(now: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.armedAt > now) return undefined;
    this.remove(first);
    return first;
  }

  /** Takes `entry` out, if it is in. */
  remove(entry: T): void {
    const at = entry.heapIndex;
    if (at < 0) return;
    entry.heapIndex = -1;
    entry.armedAt = Infinity;
    const last = this.#heap.pop();
    if (last === undefined || last === entry) return;
    last.heapIndex = at;
    this.#heap[at] = last;
    this.#up(last);
    this.#down(last);
  }

  #up(entry: T): void {
    const heap = this.#heap;
    let at = entry.heapIndex;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above];
      if (other === undefined || other.armedAt <= entry.armedAt) break;
      heap[at] = other;
      other.heapIndex = at;
      at = above;
    }
    heap[at] = entry;
    entry.heapIndex = at;
  }

  #down(entry: T): void {
    const heap = this.#heap;
    let at = entry.heapIndex;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      const child = right !== undefined && left !== undefined && right.armedAt < left.armedAt
        ? right
        : left;
      if (child === undefined || child.armedAt >= entry.armedAt) break;
      const place = child.heapIndex;
      heap[at] = child;
      child.heapIndex = at;
      at = place;
    }
    heap[at] = entry;
    entry.heapIndex = at;
  }
}
