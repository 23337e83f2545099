/**
 * Downloads a large file over HTTP so that a cut connection costs only what was not yet there: RFC
 * 9110 section 14 (Range, Content-Range, 206, 416). Whether the content is right is not known here;
 * the caller checks it.
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";

/** Options of {@link download}. */
export interface DownloadOptions {
  /** Address of the file. */
  readonly url: string;
  /** Where it is written; what is there already is the beginning of it. */
  readonly path: string;
  /** Called after every piece with the bytes there are and the bytes there will be, if known. */
  readonly onProgress: (done: number, total: number | undefined) => void;
  /** Pause before another attempt, in milliseconds. */
  readonly retryDelayMs: number;
  /** Ends the download; what is there stays. */
  readonly signal?: AbortSignal;
}

/** Attempts in a row that bring nothing new before the download is given up. */
const ATTEMPTS = 5;
/** A connection that brings nothing for so long is cut and tried again. */
const STALL_MS = 60_000;
/** No disk image is larger: a server that never ends does not fill the disk. */
const BYTES_MAX = 16 * 2 ** 30;

/**
 * Downloads `url` to `path`, continuing what is there.
 *
 * @throws {OmertaError} `download-failed`, `download-refused` for an HTTP error, `disk-full`.
 */
export async function download(options: DownloadOptions): Promise<void> {
  using file = await Deno.open(options.path, {
    write: true,
    read: true,
    create: true,
    mode: 0o600,
  });
  if (!await file.tryLock(true)) {
    throw new OmertaError(
      "download-running",
      `Cannot download ${options.url}: another process is downloading it`,
    );
  }
  let failed = 0;
  for (;;) {
    options.signal?.throwIfAborted();
    const before = (await file.stat()).size;
    const fault = await attempt(options, file, before);
    if (fault === undefined) return;
    options.signal?.throwIfAborted();
    const after = (await file.stat()).size;
    failed = after > before ? 0 : failed + 1;
    if (failed >= ATTEMPTS) {
      throw new OmertaError("download-failed", `Cannot download ${options.url}: ${fault}`, {
        exit: EXIT.unreachable,
        next: "Try again: the download continues where it stopped",
      });
    }
    await pause(options.retryDelayMs * failed, options.signal);
  }
}

/** One connection. Returns why it ended early, or undefined when the file is whole. */
async function attempt(
  options: DownloadOptions,
  file: Deno.FsFile,
  from: number,
): Promise<string | undefined> {
  const stall = new AbortController();
  const watch = (): ReturnType<typeof setTimeout> => setTimeout(() => stall.abort(), STALL_MS);
  let timer = watch();
  try {
    const response = await fetch(options.url, {
      headers: from > 0 ? { range: `bytes=${from}-` } : {},
      signal: options.signal ? AbortSignal.any([options.signal, stall.signal]) : stall.signal,
    });
    await using stack = new AsyncDisposableStack();
    stack.defer(() => response.body?.cancel().catch(() => {}));
    const place = placeOf(response, from);
    if (place === undefined) {
      // 416: what is here is not the beginning of what is there.
      await file.truncate(0);
      return `the server has no byte ${from} of it`;
    }
    const { start, total } = place;
    if (start !== from) await file.truncate(start);
    await file.seek(start, Deno.SeekMode.Start);
    let done = start;
    options.onProgress(done, total);
    for await (const piece of response.body ?? []) {
      clearTimeout(timer);
      timer = watch();
      if (done + piece.length > BYTES_MAX) {
        throw new OmertaError("download-refused", `Cannot download ${options.url}: over 16 GiB`);
      }
      await writeAll(file, piece, options.path);
      done += piece.length;
      options.onProgress(done, total);
    }
    if (total !== undefined && done !== total) return `it ended after ${done} of ${total} bytes`;
    return undefined;
  } catch (error) {
    if (error instanceof OmertaError) throw error;
    return stall.signal.aborted ? `nothing came for ${STALL_MS / 1000} s` : messageOf(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Where the body of a response belongs, and the length of the whole; undefined for 416. */
function placeOf(
  response: Response,
  from: number,
): { start: number; total: number | undefined } | undefined {
  const length = numberIn(response.headers.get("content-length"));
  if (response.status === 206) {
    const [, start, total] = /^bytes ([0-9]{1,15})-[0-9]{1,15}\/([0-9]{1,15}|\*)$/.exec(
      response.headers.get("content-range") ?? "",
    ) ?? [];
    if (start !== undefined && Number(start) === from) {
      return { start: from, total: numberIn(total ?? null) };
    }
    throw new OmertaError(
      "download-refused",
      `Cannot download ${response.url}: asked for byte ${from} on, got ${
        response.headers.get("content-range") ?? "no range"
      }`,
    );
  }
  // A server that ignores the range sends everything: begin again.
  if (response.status === 200) return { start: 0, total: length };
  if (response.status === 416 && from > 0) {
    const [, total] = /^bytes \*\/([0-9]{1,15})$/.exec(
      response.headers.get("content-range") ?? "",
    ) ?? [];
    return total !== undefined && Number(total) === from ? { start: from, total: from } : undefined;
  }
  if (response.status >= 500) {
    throw new Error(`Status ${response.status} ${response.statusText}`.trim());
  }
  throw new OmertaError(
    "download-refused",
    `Cannot download ${response.url}: the server answered ${response.status} ${response.statusText}`
      .trim(),
    { exit: EXIT.unreachable },
  );
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array, path: string): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  } catch (error) {
    const full = messageOf(error).includes("os error 28");
    throw new OmertaError(
      full ? "disk-full" : "write-failed",
      `Cannot write ${path}: ${full ? "no space left on the disk" : messageOf(error)}`,
      { cause: error, ...(full ? { next: "Free some space and try again" } : {}) },
    );
  }
}

function numberIn(text: string | null): number | undefined {
  return text !== null && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop(): void {
      clearTimeout(timer);
      reject(signal?.reason);
    }
    signal?.addEventListener("abort", stop, { once: true });
  });
}
