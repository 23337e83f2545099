/**
 * A forward or SOCKS5 server that lasts as long as its command: when the daemon ends, it is opened
 * again by the next one.
 *
 * ```
 *   open --- the daemon ends ---> wait --- FIRST_WAIT_MS, doubled up to MAX_WAIT_MS ---> try
 *    |                              ^                                                      |
 *    +--- 'omerta forward stop'     +------------------- failed ---------------------------+
 *         or Ctrl-C: it is over
 * ```
 *
 * The first try is not repeated: whoever mistypes an address wants to know at once.
 *
 * @module
 */

import type { ApiClient } from "../../lib/api/client.ts";
import type { ProxyBody, ProxyView } from "../../lib/api/proxy_schemas.ts";
import { messageOf, OmertaError } from "../../lib/core/errors.ts";

/** Time before the first try, in ms. */
export const FIRST_WAIT_MS = 250;
/** Longest time between two tries, in ms. */
export const MAX_WAIT_MS = 4_000;

/** What a forward hears of. */
export interface KeptForwardEvents {
  /** It is open, for the first time or again. */
  readonly onOpen: (proxy: ProxyView, again: boolean) => void;
  /** It is not open any more, or cannot be opened again yet; said once for each reason. */
  readonly onWaiting: (why: string) => void;
}

/** What it is made of. */
export interface KeptForwardOptions extends KeptForwardEvents {
  /** The daemon. */
  readonly client: Pick<ApiClient, "holdProxy">;
  /** What to open. */
  readonly body: ProxyBody;
  /** Waits so many ms, or rejects when the signal aborts. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/**
 * Opens it and keeps it open until `signal` aborts.
 *
 * @returns `stopped` when somebody closed it, `interrupted` when `signal` aborted.
 * @throws {OmertaError} Why it could not be opened the first time.
 */
export async function keepForward(
  { client, body, pause, onOpen, onWaiting }: KeptForwardOptions,
  signal: AbortSignal,
): Promise<"stopped" | "interrupted"> {
  let opened = false;
  let waitMs = FIRST_WAIT_MS;
  let said: string | undefined;
  while (!signal.aborted) {
    try {
      await client.holdProxy(body, (proxy) => {
        onOpen(proxy, opened);
        opened = true;
        waitMs = FIRST_WAIT_MS;
        said = undefined;
      }, signal);
      return "stopped";
    } catch (error) {
      if (signal.aborted) break;
      if (!opened) throw error;
      const why = whyWaiting(error);
      if (why !== said) onWaiting(why);
      said = why;
    }
    await pause(waitMs, signal).catch(() => {}); // the signal is looked at above
    waitMs = Math.min(2 * waitMs, MAX_WAIT_MS);
  }
  return "interrupted";
}

/** Reasons in words; a daemon that has ended and one that is not there yet are the same to a user. */
function whyWaiting(error: unknown): string {
  const code = error instanceof OmertaError ? error.code : "";
  if (code === "daemon-gone" || code === "no-daemon") return "the daemon has ended";
  return messageOf(error);
}
