/**
 * How often something has happened lately: a window that moves on in steps, in a fixed memory.
 *
 * The window is cut into slots. What is older than the window is never counted; what is younger
 * than the window less one slot always is. A clock that goes back counts for the slot it has
 * reached.
 *
 * @module
 */

/** A counter of the last so many ms. */
export class SlidingCount {
  readonly #slots: Float64Array;
  readonly #slotMs: number;
  /** The slot that is filled now, counted from time 0. */
  #at = 0;
  #total = 0;

  /**
   * An empty window.
   *
   * @param windowMs Its length.
   * @param slots How many steps it moves on by.
   */
  constructor(windowMs: number, slots: number) {
    this.#slots = new Float64Array(slots);
    this.#slotMs = windowMs / slots;
  }

  /** Counts one more at `now` (ms). @returns How many are in the window. Allocates nothing. */
  add(now: number): number {
    const slots = this.#slots;
    const slot = Math.floor(now / this.#slotMs);
    const steps = Math.min(slot - this.#at, slots.length);
    for (let i = 1; i <= steps; i++) {
      const old = (this.#at + i) % slots.length;
      this.#total -= slots[old] ?? 0;
      slots[old] = 0;
    }
    // After a pause longer than the window every slot is empty, so any of them may come next.
    if (slot > this.#at) this.#at = slot;
    const at = this.#at % slots.length;
    slots[at] = (slots[at] ?? 0) + 1;
    return ++this.#total;
  }
}
