/**
 * Runs _fair_fixture.ts in network namespaces and talks to it.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Namespace } from "../../tests/netlab/netlab.ts";

const PROGRAM = new URL("./_fair_fixture.ts", import.meta.url).pathname;

/** A program that answers each line by a line of JSON. */
export class Program<Answer> implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #in: WritableStreamDefaultWriter<Uint8Array>;
  #rest = "";

  private constructor(machine: Namespace, args: readonly string[]) {
    this.#child = machine.spawn(Deno.execPath(), ["run", "-A", "--quiet", PROGRAM, ...args], {
      stdin: "piped",
      stdout: "piped",
    });
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#in = this.#child.stdin.getWriter();
  }

  /** Starts it and waits until it is ready. */
  static async start<Answer>(machine: Namespace, ...args: string[]): Promise<Program<Answer>> {
    const program = new Program<Answer>(machine, args);
    assert.equal(await program.#line(), "ready");
    return program;
  }

  /** What it has counted. */
  async ask(): Promise<Answer> {
    await this.#in.write(new Uint8Array([10]));
    return JSON.parse(await this.#line());
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`The program has ended: ${this.#rest}`);
      this.#rest += value;
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#in.close();
    await this.#child.status;
    await this.#lines.cancel();
  }
}
