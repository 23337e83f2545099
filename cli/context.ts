/**
 * What every command gets: where its home is, how to reach the daemon, when to stop.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { ApiClient } from "../lib/api/client.ts";
import { EXIT, OmertaError } from "../lib/core/errors.ts";
import { exists, readTextIfThere } from "../lib/core/files.ts";
import type { Paths } from "../lib/core/paths.ts";
import { selfCommand } from "../lib/core/version.ts";
import { daemonPid } from "../lib/node/daemon_lock.ts";
import { note } from "./output.ts";

/** How long a daemon may take to answer after its start, in ms. */
const START_TIMEOUT_MS = 20_000;
const POLL_MS = 50;
/** Time in which signals are one, in ms. */
export const SAME_SIGNAL_MS = 1000;

/** What a command runs with. */
export interface Context {
  /** Folders of the home. */
  readonly paths: Paths;
  /** The main module, which a daemon starts its data plane from. */
  readonly module: URL;
}

/**
 * Runs `work` with a signal that Ctrl-C and SIGTERM abort; a second one ends the process at once.
 *
 * Those that come within {@link SAME_SIGNAL_MS} are one. Who has asked to be told of the death of its
 * parent (`PR_SET_PDEATHSIG`) is told of that of several of its threads, one after the other.
 *
 * @param clock Time, in ms.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  clock: () => number = () => performance.now(),
): Promise<T> {
  const abort = new AbortController();
  let since = Infinity;
  const stop = (): void => {
    const now = clock();
    if (now - since > SAME_SIGNAL_MS) Deno.exit(130);
    since = Math.min(since, now);
    abort.abort(new OmertaError("interrupted", "Cannot finish: interrupted"));
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) Deno.addSignalListener(name, stop);
  try {
    return await work(abort.signal);
  } finally {
    for (const name of signals) Deno.removeSignalListener(name, stop);
  }
}

/** A client of the daemon that runs; no daemon is an error. */
export async function runningDaemon(context: Context): Promise<ApiClient> {
  const client = new ApiClient(context.paths.socket);
  if (await client.isUp()) return client;
  client[Symbol.dispose]();
  throw new OmertaError("no-daemon", `Cannot reach a daemon for ${context.paths.home}: none runs`, {
    exit: EXIT.unreachable,
    next: "Start one with 'omerta daemon start'",
  });
}

/** A client of the daemon; one that only borrows is started in the background when none runs. */
export async function anyDaemon(context: Context, autostart: boolean): Promise<ApiClient> {
  const client = new ApiClient(context.paths.socket);
  if (await client.isUp()) return client;
  client[Symbol.dispose]();
  if (!autostart) return await runningDaemon(context);
  note(
    "No daemon runs: starting one that borrows and does not lend ('omerta daemon stop' ends it)",
  );
  try {
    return await startDaemon(context, ["--no-lend", "--port", "0"]);
  } catch (error) {
    // Another command may have started one at the same moment.
    return await otherDaemon(context) ?? Promise.reject(error);
  }
}

/** A client of the daemon that another process has started, when there is such. */
async function otherDaemon(context: Context): Promise<ApiClient | undefined> {
  const client = new ApiClient(context.paths.socket);
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && await daemonPid(context.paths) !== undefined) {
    if (await client.isUp()) return client;
    await pause(POLL_MS);
  }
  client[Symbol.dispose]();
  return undefined;
}

/**
 * Starts a daemon in the background and waits until it answers.
 *
 * @throws {OmertaError} What the daemon said when it could not start.
 */
export async function startDaemon(context: Context, args: readonly string[]): Promise<ApiClient> {
  const { program, args: first } = selfCommand(context.module.href);
  const errors = await Deno.makeTempFile({ prefix: "omerta-daemon-" });
  try {
    // It outlives this process: a session of its own, and its last words in a file instead of a pipe.
    const file = await Deno.open(errors, { write: true });
    file.close();
    const child = new Deno.Command("/bin/sh", {
      args: [
        "-c",
        'exec "$@" 2>"$0"',
        errors,
        program,
        ...first,
        "daemon",
        "--background",
        ...args,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
      detached: true,
      env: { OMERTA_HOME: context.paths.home },
    }).spawn();
    child.unref();
    let status: Deno.CommandStatus | undefined;
    void child.status.then((ended) => status = ended);
    const client = new ApiClient(context.paths.socket);
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (Date.now() < deadline && status === undefined) {
      if (await exists(context.paths.socket) && await client.isUp()) return client;
      await pause(POLL_MS);
    }
    client[Symbol.dispose]();
    if (status === undefined) child.kill("SIGTERM");
    throw await startFailure(errors, status?.code);
  } finally {
    await Deno.remove(errors);
  }
}

/** The error that the daemon printed, as our own. */
async function startFailure(errors: string, code: number | undefined): Promise<OmertaError> {
  const text = (await readTextIfThere(errors) ?? "").trim();
  const message = /^Error: (.*)$/m.exec(text)?.[1];
  const next = /^Next: (.*)$/m.exec(text)?.[1];
  return new OmertaError(
    "daemon-failed",
    message ??
      `Cannot start the daemon: ${
        code === undefined ? `no answer within ${START_TIMEOUT_MS / 1000} s` : `exit code ${code}`
      }${text === "" ? "" : `: ${text.split("\n").at(-1)}`}`,
    {
      exit: code === EXIT.usage || code === EXIT.missing ? code : EXIT.failed,
      next: next ?? "Run 'omerta daemon' in the foreground to see more",
    },
  );
}
