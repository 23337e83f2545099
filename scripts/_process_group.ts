/**
 * Running a program with a time limit that holds for everything it starts: it gets a process group of
 * its own, and the group is ended when time is up or when this process is interrupted.
 *
 * @module
 */

import { spawn } from "../lib/core/process.ts";

/** How {@link runInGroup} runs a program. */
export interface GroupOptions {
  /** Working folder. */
  readonly cwd: string;
  /** Ends the group after so many milliseconds. */
  readonly timeoutMs: number;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What is left of a program that has ended. */
export interface GroupResult {
  /** Exit code; 128 + signal number when a signal ended it. */
  readonly code: number;
  /** Standard output and standard error, one after the other. */
  readonly output: string;
  /** Why it was ended, when it did not end by itself. */
  readonly ended?: string;
}

/** How long an ended program's output may take to arrive, in ms. */
const DRAIN_MS = 2000;

const groups = new Set<number>();

/** Ends a process group; no error when it has ended. */
function endGroup(leader: number): void {
  try {
    Deno.kill(-leader, "SIGKILL");
  } catch {
    // Ended meanwhile.
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    for (const leader of groups) endGroup(leader);
    Deno.exit(130);
  });
}

/** Runs a program to its end, or to its time limit. */
export async function runInGroup(
  program: string,
  args: readonly string[],
  options: GroupOptions,
): Promise<GroupResult> {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { NO_COLOR: "1", ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  });
  groups.add(child.pid);
  let ended: string | undefined;
  const timer = setTimeout(() => {
    ended = `ended after ${Math.round(options.timeoutMs / 1000)} s`;
    endGroup(child.pid);
  }, Math.max(0, options.timeoutMs));
  const streams = [new Collector(child.stdout), new Collector(child.stderr)];
  try {
    const { code } = await child.status;
    // What the program left running would hold up, or disturb, whatever comes next.
    endGroup(child.pid);
    const output = (await Promise.all(streams.map((stream) => stream.text()))).join("");
    return ended === undefined ? { code, output } : { code, output, ended };
  } finally {
    clearTimeout(timer);
    groups.delete(child.pid);
  }
}

/** Reads a stream to its end, or until its program has ended and somebody else still holds it open. */
class Collector {
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #done: Promise<void>;
  #text = "";

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    this.#done = this.#collect();
  }

  async #collect(): Promise<void> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      this.#text += value;
    }
  }

  /** What was read; for a program that has ended. */
  async text(): Promise<string> {
    const timer = setTimeout(() => this.#reader.cancel(), DRAIN_MS);
    await this.#done;
    clearTimeout(timer);
    return this.#text;
  }
}
