/**
 * A job that is run by this process.
 *
 * @module
 */

import { anyDaemon, type Context, interruptible } from "../context.ts";
import { note, warn } from "../output.ts";
import { RequestProgress } from "../request_progress.ts";
import { type JobContext, runJob } from "./job.ts";
import type { JobSpec } from "./spec.ts";

/**
 * Runs a job. Words about it go to standard error, so that standard output is the command's alone.
 *
 * @param autostart Whether a daemon is started when none runs.
 * @param attach Connects the streams of the command.
 * @returns The exit code of its command.
 */
export async function runHere(
  context: Context,
  spec: JobSpec,
  autostart: boolean,
  attach: JobContext["attach"],
): Promise<number> {
  using client = await anyDaemon(context, autostart);
  using progress = new RequestProgress(note);
  return await interruptible((signal) =>
    runJob(spec, {
      client,
      signal,
      paths: context.paths,
      onEvent: (event) => progress.take(event),
      say: (line) => {
        progress.clear();
        note(line);
      },
      warn,
      attach: (start) => {
        progress.clear();
        return attach(start);
      },
    })
  );
}

/** Gives the command the standard streams of this process; its input only when `stdin` is set. */
export function attachHere(stdin: boolean): JobContext["attach"] {
  return async (start) => {
    const streams = { stdout: "inherit", stderr: "inherit" } as const;
    return (await start({ stdin: stdin ? "inherit" : "null", ...streams }).status).code;
  };
}
