/**
 * Ending processes that were started here, by themselves first.
 *
 * @module
 */

/** Signals a child that may have ended meanwhile. */
export function signalChild(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    // Deno reports ESRCH as NotFound, and a child that was already waited for as TypeError.
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/** Waits until a child has ended; one that has not after `graceMs` is killed. */
export async function endChild(child: Deno.ChildProcess, graceMs: number): Promise<void> {
  const timer = setTimeout(() => signalChild(child, "SIGKILL"), graceMs);
  await child.status;
  clearTimeout(timer);
}
