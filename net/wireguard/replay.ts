/**
 * Which counters of a session were seen: a ring of bits as in
 * {@link https://www.rfc-editor.org/rfc/rfc6479 | RFC 6479}, which clears whole words as the window
 * moves instead of shifting. Checking changes nothing; a counter is marked only after the packet
 * that carried it was authenticated.
 *
 * @module
 */

const WORD_BITS = 32;
/** A power of two. One word more than the window needs, so that a word is never both ends of it. */
const WORDS = 512;

/** Counters this far behind the greatest one, or further, are refused. */
export const REPLAY_WINDOW = (WORDS - 1) * WORD_BITS;

/** The window of one session. */
export class ReplayWindow {
  readonly #bits = new Uint32Array(WORDS);
  #greatest = -1;

  /** Whether `counter`, a non-negative integer below 2^53, is new and not too old. */
  isNew(counter: number): boolean {
    if (counter > this.#greatest) return true;
    if (this.#greatest - counter >= REPLAY_WINDOW) return false;
    const word = Math.floor(counter / WORD_BITS) % WORDS;
    return ((this.#bits[word] ?? 0) & (1 << (counter % WORD_BITS))) === 0;
  }

  /** Takes `counter`, for which {@link isNew} said true, as seen. */
  mark(counter: number): void {
    const block = Math.floor(counter / WORD_BITS);
    if (counter > this.#greatest) {
      const last = Math.floor(this.#greatest / WORD_BITS);
      const steps = Math.min(block - last, WORDS);
      for (let i = 1; i <= steps; i++) this.#bits[(last + i) % WORDS] = 0;
      this.#greatest = counter;
    }
    const word = block % WORDS;
    this.#bits[word] = (this.#bits[word] ?? 0) | (1 << (counter % WORD_BITS));
  }
}
