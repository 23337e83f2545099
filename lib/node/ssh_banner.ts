/**
 * Whether an SSH server answers: "ready" is only said after this.
 *
 * @module
 */

import { createConnection } from "node:net";

/** How long one try may take, in ms. */
const TRY_MS = 5_000;
/** Longest line that is read, in bytes (RFC 4253 section 4.2). */
const MAX_BANNER = 255;

const BANNER = /^SSH-[ -~]+$/;

/** Whether a line, without its end, is an identification string. */
export function isSshBanner(line: string): boolean {
  return BANNER.test(line);
}

/**
 * Connects and reads the identification string of RFC 4253 section 4.2.
 *
 * @returns The line, e.g. `SSH-2.0-OpenSSH_9.2`, or undefined when there was none in time.
 */
export function readSshBanner(
  address: string,
  port: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  if (signal.aborted) return Promise.resolve(undefined);
  const socket = createConnection({ host: address, port });
  const timer = setTimeout(() => finish(), TRY_MS);
  let text = "";
  const finish = (banner?: string): void => {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    socket.destroy();
    resolve(banner);
  };
  const abort = (): void => finish();
  signal.addEventListener("abort", abort);
  socket.on("error", () => finish());
  socket.on("close", () => finish());
  socket.on("data", (bytes: Uint8Array) => {
    text += new TextDecoder().decode(bytes.subarray(0, MAX_BANNER));
    const line = /^(SSH-[ -~]+)\r?\n/.exec(text)?.[1];
    if (line !== undefined || text.length > MAX_BANNER) finish(line);
  });
  return promise;
}
