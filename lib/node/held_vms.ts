/**
 * Borrowed VMs that are held: each is given back as soon as whoever holds it has gone. A VM is held
 * by one at a time, and may be watched by {@link MAX_WATCHERS} in all.
 *
 * @module
 */

import { OmertaError } from "../core/errors.ts";

/** Most that watch VMs at one time; one more is an error. */
const MAX_WATCHERS = 256;

/** The VMs that are held. */
export class HeldVms {
  /** Called with the reason when a VM is not borrowed any more, by its id. */
  readonly #held = new Map<string, (reason: string) => void>();
  readonly #watchers = new Set<{ readonly id: string; readonly tell: (reason: string) => void }>();

  /** Tells that a VM is not borrowed any more. */
  gone(id: string, reason: string): void {
    this.#held.get(id)?.(reason);
    for (const watcher of this.#watchers) if (watcher.id === id) watcher.tell(reason);
  }

  /**
   * Waits until a VM is gone, and does nothing else.
   *
   * @returns Why it is gone.
   * @throws {OmertaError} `too-many-watchers`, or the reason of `signal`.
   */
  async watch(id: string, signal: AbortSignal): Promise<string> {
    if (this.#watchers.size >= MAX_WATCHERS) {
      throw new OmertaError(
        "too-many-watchers",
        `Cannot watch VM ${id}: ${MAX_WATCHERS} is the limit`,
      );
    }
    signal.throwIfAborted();
    const gone = Promise.withResolvers<string>();
    const giveUp = (): void => gone.reject(signal.reason);
    const watcher = { id, tell: gone.resolve };
    this.#watchers.add(watcher);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      return await gone.promise;
    } finally {
      signal.removeEventListener("abort", giveUp);
      this.#watchers.delete(watcher);
    }
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
