/**
 * Running other programs: always with a time limit, never through a shell, and ended by process id.
 *
 * @module
 */

import { EXIT, OmertaError } from "./errors.ts";

/** Time for a program to end that was asked to, in ms. */
const GRACE_MS = 2000;

/** How {@link run} runs a program. */
export interface RunOptions {
  /** Ends the program when aborted. */
  readonly signal?: AbortSignal;
  /** Ends the program after so many milliseconds. @default {60000} */
  readonly timeoutMs?: number;
  /** Written to its standard input. */
  readonly input?: string | Uint8Array;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working folder. */
  readonly cwd?: string;
}

/** What a program that has ended left behind. */
export interface RunResult {
  /** Exit code; 128 + signal number when a signal ended it. */
  readonly code: number;
  /** Its standard output, as text. */
  readonly stdout: string;
  /** Its standard error, as text. */
  readonly stderr: string;
}

/**
 * Runs a program to its end and returns what it printed, whatever its exit code.
 *
 * @throws {OmertaError} `program-missing` when it is not installed, `program-timeout` when it was ended.
 */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const timer = new AbortController();
  const timeout = setTimeout(() => timer.abort(), timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timer.signal]) : timer.signal;
  try {
    const child = spawn(program, args, {
      stdin: options.input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
      signal,
      ...(options.env ? { env: { ...options.env } } : {}),
      ...(options.cwd ? { cwd: options.cwd } : {}),
    });
    const output = await Promise.race([
      Promise.all([child.output(), feed(child, options.input)]).then(([output]) => output),
      endedEarly(child, signal),
    ]);
    options.signal?.throwIfAborted();
    if (output === undefined || timer.signal.aborted) {
      throw new OmertaError(
        "program-timeout",
        `Cannot finish ${program} ${args.join(" ")}: ended after ${timeoutMs / 1000} s`,
      );
    }
    const text = new TextDecoder();
    return {
      code: output.code,
      stdout: text.decode(output.stdout),
      stderr: text.decode(output.stderr),
    };
  } finally {
    clearTimeout(timeout);
  }
}

/**
 * Waits until `signal` has had `child` ended, by SIGKILL if need be. What that has started may hold
 * its output open for longer, and nobody is to wait for it.
 */
async function endedEarly(child: Deno.ChildProcess, signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }
  await endChild(child, GRACE_MS);
}

async function feed(child: Deno.ChildProcess, input?: string | Uint8Array): Promise<void> {
  if (input === undefined) return;
  const writer = child.stdin.getWriter();
  try {
    await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : input);
    await writer.close();
  } catch {
    // The program ended without reading all of it: its exit code says why.
  }
}

/**
 * Like {@link run}, but an exit code other than 0 is an error that quotes the program's last words.
 *
 * @throws {OmertaError} `program-failed` besides those of {@link run}.
 */
export async function runChecked(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await run(program, args, options);
  if (result.code === 0) return result;
  const words = (result.stderr.trim() || result.stdout.trim()).split("\n").slice(-3).join("; ");
  throw new OmertaError(
    "program-failed",
    `Cannot run ${program} ${args.join(" ")}: exit code ${result.code}: ${words}`,
  );
}

/**
 * Starts a program.
 *
 * @throws {OmertaError} `program-missing` when it is not installed.
 */
export function spawn(
  program: string,
  args: readonly string[],
  options: Omit<Deno.CommandOptions, "args"> = {},
): Deno.ChildProcess {
  try {
    return new Deno.Command(program, { ...options, args: [...args] }).spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new OmertaError("program-missing", `Cannot run ${program}: it is not installed`, {
      exit: EXIT.missing,
      next: "Run 'omerta check-deps' to see what is missing and how to get it",
      cause: error,
    });
  }
}

/** Has the kernel end the program that stands behind it when the one that started it ends. */
export const WITH_US: readonly [string, ...string[]] = [
  "setpriv",
  ...["--pdeathsig", "TERM", "--"],
];

/**
 * Like {@link spawn}, and the kernel ends the program when this one ends, however that happens: where
 * setpriv(1) is there to say so. Process id, terminal and exit code are the program's own.
 *
 * @throws {OmertaError} `program-missing` when it is not installed.
 */
export async function spawnWithUs(
  program: string,
  args: readonly string[],
  options: Omit<Deno.CommandOptions, "args"> = {},
): Promise<Deno.ChildProcess> {
  const [first, ...words] = WITH_US;
  if (!await canEndWithUs(program)) return spawn(program, args, options);
  return spawn(first, [...words, program, ...args], options);
}

/** Whether setpriv(1) can start `program`: that it cannot would look like an exit code of its own. */
async function canEndWithUs(program: string): Promise<boolean> {
  if (Deno.build.os !== "linux") return false;
  const [first, ...words] = WITH_US;
  try {
    return (await run(first, [...words, "sh", "-c", 'command -v "$0"', program])).code === 0;
  } catch (error) {
    if (error instanceof OmertaError && error.code === "program-missing") return false;
    throw error;
  }
}

/** Signals a process that may have ended meanwhile. */
export function signalIfThere(process: number | Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    if (typeof process === "number") Deno.kill(process, signal);
    else process.kill(signal);
  } catch (error) {
    // Deno reports ESRCH as NotFound, and a child that was already waited for as TypeError.
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/** Waits until a child has ended; one that has not after `graceMs` is killed. */
export async function endChild(child: Deno.ChildProcess, graceMs: number): Promise<void> {
  const timer = setTimeout(() => signalIfThere(child, "SIGKILL"), graceMs);
  await child.status;
  clearTimeout(timer);
}

/**
 * When a process was started, in clock ticks since boot, or undefined when there is no such process.
 * A process id together with this names one process for good: ids are used again, pairs are not.
 */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  if (Deno.build.os !== "linux") {
    const ps = await run("ps", ["-o", "lstart=", "-p", String(pid)]);
    return ps.code === 0 && ps.stdout.trim() !== "" ? ps.stdout.trim() : undefined;
  }
  let stat: string;
  try {
    stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  } catch {
    return undefined;
  }
  // proc(5): the command in field 2 may hold spaces; field 3 is the state, field 22 the start time.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? undefined : fields[19];
}
