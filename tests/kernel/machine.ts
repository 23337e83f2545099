/**
 * Tells a process of {@link Command}s what to do; see `_machine.ts`.
 *
 * @module
 */

import { join } from "node:path";
import type { Namespace } from "../netlab/netlab.ts";
import type { Command } from "./_machine.ts";

const PROGRAM = join(import.meta.dirname ?? ".", "_machine.ts");
const CONFIG = join(import.meta.dirname ?? ".", "..", "..", "deno.json");

/** A process in a namespace. */
export class Machine implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<Uint8Array>;
  #text = "";

  /** Starts the process. */
  constructor(namespace: Namespace) {
    this.#child = namespace.spawn(Deno.execPath(), [
      ...["run", "--quiet", "--no-check", "--no-prompt", "--allow-all", "--config", CONFIG],
      PROGRAM,
    ], { stdin: "piped", stdout: "piped" });
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.getReader();
  }

  /** Runs a command; throws what it threw. */
  async do<T = unknown>(command: Command): Promise<T> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
    const decoder = new TextDecoder();
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#output.read();
      if (done) throw new Error(`The machine has ended at ${command.op}`);
      this.#text += decoder.decode(value, { stream: true });
    }
    const end = this.#text.indexOf("\n");
    const answer: { value?: T; error?: string } = JSON.parse(this.#text.slice(0, end));
    this.#text = this.#text.slice(end + 1);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value as T;
  }

  /** Ends the process as nothing can be done against, and waits for its end. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }

  /** Ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#output.cancel();
    await this.#child.status;
  }
}
