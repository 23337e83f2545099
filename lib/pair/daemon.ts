/**
 * A daemon of this same executable, with a home of its own, for a test of this host. The kernel ends
 * it when the process that started it ends, however that happens.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { ApiClient } from "../api/client.ts";
import { OmertaError } from "../core/errors.ts";
import type { Paths } from "../core/paths.ts";
import { endChild, signalIfThere, type spawn, WITH_US } from "../core/process.ts";
import { selfCommand } from "../core/version.ts";

/** How long a daemon may take to answer after its start, in ms. */
const START_MS = 30_000;
/** How long a daemon may take to end itself and its VMs, in ms. */
export const END_MS = 60_000;
const POLL_MS = 50;
/** What is kept of its complaints, in characters. */
const WORDS_MAX = 4096;

/** Starts a program on some machine; the child's process id is to be the program's own. */
export type Spawn = typeof spawn;

/** What a daemon is started from. */
export interface DaemonOptions {
  /** Whose it is, for errors: `lender`. */
  readonly whose: string;
  /** The main module of this program. */
  readonly module: URL;
  /** Its home. */
  readonly paths: Paths;
  /** Arguments behind `daemon`. */
  readonly args: readonly string[];
  /** Starts it where it is to be. */
  readonly spawn: Spawn;
  /** Gives the start up. */
  readonly signal: AbortSignal;
}

/** One daemon. */
export class Daemon {
  /** Its home. */
  readonly paths: Paths;
  /** Asks it. */
  readonly client: ApiClient;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #words = "";
  #hasEnded = false;
  #ending: Promise<void> | undefined;

  private constructor({ module, paths, args, spawn }: DaemonOptions) {
    this.paths = paths;
    const self = selfCommand(module.href);
    const command = [self.program, ...self.args, "daemon", "--background", ...args];
    const [first, ...words] = WITH_US;
    this.#child = spawn(first, [...words, ...command], {
      // Detached: Ctrl-C in our terminal is for us, and we end our daemons in order.
      ...{ stdin: "null", stdout: "null", stderr: "piped", detached: true },
      env: { OMERTA_HOME: paths.home, NO_COLOR: "1" },
    });
    this.client = new ApiClient(paths.socket);
    void this.#child.status.then(() => this.#hasEnded = true);
    this.#reading = this.#listen();
  }

  /**
   * Starts one and waits until it answers.
   *
   * @throws {OmertaError} `daemon-failed`, with what it said. The reason of `signal` when aborted.
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      const deadline = performance.now() + START_MS;
      while (!await daemon.client.isUp()) {
        options.signal.throwIfAborted();
        if (daemon.#hasEnded || performance.now() > deadline) throw await daemon.#failed(options);
        await pause(POLL_MS);
      }
      return daemon;
    } catch (error) {
      await daemon.end();
      throw error;
    }
  }

  async #failed({ whose }: DaemonOptions): Promise<OmertaError> {
    await this.end();
    const words = /^Error: (.*)$/m.exec(this.#words)?.[1] ?? this.#words.trim().split("\n").at(-1);
    return new OmertaError(
      "daemon-failed",
      `Cannot start the ${whose}'s daemon: ${words || "it does not answer"}`,
    );
  }

  async #listen(): Promise<void> {
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.#words = (this.#words + text).slice(-WORDS_MAX);
    }
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves, with words, when it has ended. */
  get ended(): Promise<string> {
    return this.#child.status.then(({ code }) => `a daemon ended with code ${code}`);
  }

  /** Ends it, politely and then hard; may be called again. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    this.client[Symbol.dispose]();
    signalIfThere(this.#child, "SIGTERM");
    await endChild(this.#child, END_MS);
    await this.#reading;
  }
}
