/**
 * The largest of late: of the present slot of time and the one before. Whoever owns it says when a slot
 * ends, so that time may be anything that is counted.
 *
 * @module
 */

/** A windowed maximum of two slots. */
export class TwoSlotMax {
  #present = 0;
  #before = 0;

  /** The largest value in both slots; 0: none yet. */
  get value(): number {
    return this.#present > this.#before ? this.#present : this.#before;
  }

  /** Takes a value. */
  add(value: number): void {
    if (value > this.#present) this.#present = value;
  }

  /** Ends the slot; an empty one does not push the other out. */
  advance(): void {
    if (this.#present === 0) return;
    this.#before = this.#present;
    this.#present = 0;
  }
}
