/**
 * Borrowed VMs that are held: each is given back as soon as whoever holds it has gone. A VM is held
 * by one at a time.
 *
 * @module
 */

/** The VMs that are held. */
export class HeldVms {
  /** Called with the reason when a VM is not borrowed any more, by its id. */
  readonly #held = new Map<string, (reason: string) => void>();

  /** Tells that a VM is not borrowed any more. */
  gone(id: string, reason: string): void {
    this.#held.get(id)?.(reason);
  }

  /**
   * Waits until a VM is gone, and gives it back as soon as `signal` aborts.
   *
   * @param giveBack Gives it back; must not reject.
   * @returns Why it is gone.
   */
  async hold(id: string, signal: AbortSignal, giveBack: () => Promise<void>): Promise<string> {
    const gone = Promise.withResolvers<string>();
    const end = (): void => {
      this.#held.delete(id); // it is over when giving back is over, not when that has begun
      void giveBack().then(() => gone.resolve("it was given back"));
    };
    this.#held.set(id, gone.resolve);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
    try {
      return await gone.promise;
    } finally {
      signal.removeEventListener("abort", end);
      this.#held.delete(id);
    }
  }
}
