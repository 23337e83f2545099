/**
 * A process that is asked and answers line by line, in JSON.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import { endChild } from "../core/process.ts";

/** How long a process may take to end by itself, in ms. */
const GRACE_MS = 2000;
/** Characters of its last words that are kept. */
const WORDS_MAX = 2000;

/** Asks one thing at a time. */
export class LineProcess implements AsyncDisposable {
  readonly #what: string;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #reading: Promise<void>;
  #rest = "";
  #words = "";
  #ended = false;

  /**
   * Takes over a process whose three streams are piped.
   *
   * @param what What it is, for errors: "the probe in VM x".
   */
  constructor(what: string, child: Deno.ChildProcess) {
    this.#what = what;
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    void child.status.then(() => this.#ended = true);
    this.#reading = (async (): Promise<void> => {
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
        this.#words = (this.#words + text).slice(-WORDS_MAX);
      }
    })();
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Writes bytes as they are. */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      await this.#input.write(bytes);
    } catch (error) {
      throw await this.#gone(messageOf(error));
    }
  }

  /**
   * Asks and waits for the answer.
   *
   * @throws {OmertaError} `process-gone` when it has ended, `no-answer` when nothing came in time.
   */
  async ask(question: unknown, timeoutMs: number): Promise<unknown> {
    await this.write(new TextEncoder().encode(`${JSON.stringify(question)}\n`));
    const timer = new AbortController();
    try {
      const line = await Promise.race([
        this.#line(),
        pause(timeoutMs, undefined, { signal: timer.signal }),
      ]);
      if (line !== undefined) return JSON.parse(line);
      throw new OmertaError(
        "no-answer",
        `Cannot go on with ${this.#what}: no answer in ${timeoutMs / 1000} s`,
        { exit: EXIT.unreachable },
      );
    } finally {
      timer.abort();
    }
  }

  async #line(): Promise<string> {
    while (!this.#rest.includes("\n")) {
      const { value } = await this.#lines.read();
      if (value === undefined) throw await this.#gone("it has ended");
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    return line;
  }

  async #gone(why: string): Promise<OmertaError> {
    await this[Symbol.asyncDispose]();
    const words = this.#words.trim().split("\n").at(-1) ?? "";
    return new OmertaError(
      "process-gone",
      `Cannot go on with ${this.#what}: ${why}${words === "" ? "" : `: ${words}`}`,
      { exit: EXIT.unreachable },
    );
  }

  /** Ends it: by the end of its input, then by a signal. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {}); // closed already, or nobody reads
    await endChild(this.#child, GRACE_MS);
    await this.#lines.cancel().catch(() => {}); // a read was under way
    await this.#reading;
  }
}
