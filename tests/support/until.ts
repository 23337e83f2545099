/**
 * Waiting in tests: for a condition, with a limit, never for a time.
 *
 * @module
 */

/** How {@link until} waits. */
export interface UntilOptions {
  /** After so many milliseconds it gives up. @default {10000} */
  readonly timeoutMs?: number;
  /** What is waited for, for the message: "the daemon to answer"; a function is asked at the end. */
  readonly what: string | (() => string);
}

/** An answer that means "not yet". */
export type Falsy = false | undefined | null | 0 | "";

/** Time between two looks, in ms. */
const POLL_MS = 20;

/**
 * Asks again and again until the answer is truthy, and returns it. An error that the condition
 * throws ends the wait.
 *
 * @throws {Error} Naming what did not come, and for how long it was waited for.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions,
): Promise<Exclude<T, Falsy>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const deadline = performance.now() + timeoutMs;
  while (true) {
    const answer = await condition();
    if (answer) return answer as Exclude<T, Falsy>;
    if (performance.now() >= deadline) {
      const what = typeof options.what === "string" ? options.what : options.what();
      throw new Error(`Cannot go on: waited ${timeoutMs / 1000} s for ${what}`);
    }
    // deno-lint-ignore omerta/no-sleep-in-tests -- this is what the others use instead
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
