/**
 * A conversation with a program that is run for a test: lines to its standard input, lines from its
 * standard output. It is to end when its input does.
 *
 * @module
 */

import { endChild } from "../../lib/core/process.ts";

/** Time for a line to come, in ms: thousands of connections may be made for one. */
const LINE_MS = 120_000;
/** Time for the program to end, in ms. */
const END_MS = 30_000;

/** One program. Start it with `stdin` and `stdout` piped. */
export class Talk implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #text = "";

  /** Takes the streams of `child`. */
  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#writer = child.stdin.getWriter();
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const words = `no line within ${LINE_MS / 1000} s, after ${JSON.stringify(this.#text)}`;
      late.reject(new Error(`Cannot read on: ${words}`));
    }, LINE_MS);
    try {
      for (;;) {
        const at = this.#text.indexOf("\n");
        if (at >= 0) {
          const line = this.#text.slice(0, at);
          this.#text = this.#text.slice(at + 1);
          return line;
        }
        const { value, done } = await Promise.race([this.#reader.read(), late.promise]);
        if (done) throw new Error("Cannot read on: the program has ended");
        this.#text += value;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Says a line, and reads the answer to it as JSON. */
  async ask<T>(line: string): Promise<T> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
    return JSON.parse(await this.line());
  }

  /** Ends its input, and waits for its end; one that does not end is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#reader.cancel();
    await endChild(this.#child, END_MS);
  }
}
