/**
 * Running mmdebstrap, which takes minutes, and following what it says on standard error.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { spawn } from "../../lib/core/process.ts";

/** Options of {@link runMmdebstrap}. */
export interface MmdebstrapOptions {
  /** Written to its standard input. */
  readonly input: string;
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends the program after so many milliseconds. */
  readonly timeoutMs: number;
  /** Ends the program when aborted. */
  readonly signal?: AbortSignal;
  /** Called for each line of standard error. */
  readonly onLine: (line: string) => void;
}

/** Lines that an error quotes. */
const LAST_LINES = 5;

/**
 * Runs it, or another program that runs it, to its end; its standard output is thrown away.
 *
 * @throws {OmertaError} `program-failed` with its last lines before it gave up, `program-timeout`,
 *   `program-missing`.
 */
export async function runMmdebstrap(
  program: string,
  args: readonly string[],
  options: MmdebstrapOptions,
): Promise<void> {
  const timer = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timer]) : timer;
  signal.throwIfAborted();
  const child = spawn(program, args, {
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
    env: { ...options.env },
    // A process group of its own: mmdebstrap itself ignores signals, its children end at them.
    detached: true,
  });
  const end = (): void => {
    try {
      Deno.kill(-child.pid, "SIGTERM");
    } catch {
      // It has just ended by itself.
    }
  };
  signal.addEventListener("abort", end, { once: true });
  const last: string[] = [];
  let hasGivenUp = false;
  const [status] = await Promise.all([
    child.status,
    eachLine(child.stderr, (line) => {
      options.onLine(line);
      // From there on it quotes the whole command that failed, and tidies up.
      hasGivenUp ||= last.length > 0 && line.startsWith("E: setup failed");
      if (hasGivenUp || line.startsWith("I: ")) return;
      last.push(line);
      if (last.length > LAST_LINES) last.shift();
    }),
    feed(child.stdin, options.input),
  ]);
  signal.removeEventListener("abort", end);
  options.signal?.throwIfAborted();
  if (timer.aborted) {
    throw new OmertaError(
      "program-timeout",
      `Cannot finish ${program}: ended after ${options.timeoutMs / 1000} s`,
    );
  }
  if (!status.success) {
    throw new OmertaError(
      "program-failed",
      `Cannot run ${program}: exit code ${status.code}: ${last.join("; ")}`,
    );
  }
}

async function eachLine(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/[\r\n]+/);
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") onLine(line);
  }
  if (rest !== "") onLine(rest);
}

async function feed(stdin: WritableStream<Uint8Array>, input: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  } catch {
    // The program ended without reading all of it: its exit code says why.
  }
}
