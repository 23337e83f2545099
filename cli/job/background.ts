/**
 * Jobs in the background: a process of its own for each, which outlives the one that submitted it.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { messageOf, OmertaError } from "../../lib/core/errors.ts";
import { startTimeOf } from "../../lib/core/process.ts";
import { selfCommand } from "../../lib/core/version.ts";
import type { Context } from "../context.ts";
import { runHere } from "./foreground.ts";
import { isOver, type JobRecord, JobStore } from "./job_store.ts";

/** What is kept of each stream of a command, in bytes. */
const MAX_STREAM_BYTES = 16 * 1024 * 1024;
/** How long a job may take to give its VM back and to end, in ms. */
const STOP_MS = 60_000;

/** Starts the process of a job and returns without waiting for it. */
export function startWorker(context: Context, store: JobStore, { id }: JobRecord): void {
  const { program, args } = selfCommand(context.module.href);
  // A session of its own; what it says goes into the job's log.
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'exec "$@" 2>>"$0"', store.file(id, "log"), program, ...args, "job", "work", id],
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
    env: { OMERTA_HOME: context.paths.home, NO_COLOR: "1" },
  }).spawn();
  child.unref();
}

/** Is the process of a job: runs it and writes down how it ended. */
export async function work(context: Context, id: string): Promise<void> {
  const store = new JobStore(context.paths.jobs);
  let job = await store.find(id);
  const update = async (change: Partial<JobRecord>): Promise<void> => {
    job = { ...job, ...change };
    await store.write(job);
  };
  await update({ process: { pid: Deno.pid, started: await startTimeOf(Deno.pid) ?? "" } });
  try {
    const exitCode = await runHere(context, job.spec, true, async (start) => {
      await update({ state: "running" });
      const child = start({ stdin: "null", stdout: "piped", stderr: "piped" });
      try {
        const dropped = await Promise.all([
          keep(child.stdout, store.file(id, "stdout")),
          keep(child.stderr, store.file(id, "stderr")),
        ]);
        job = { ...job, dropped: dropped[0] + dropped[1] };
      } catch (error) {
        child.kill("SIGKILL"); // its output cannot be kept
        await child.status;
        throw error;
      }
      return (await child.status).code;
    });
    await update({ state: "done", exitCode, ended: Date.now() });
  } catch (error) {
    const stopped = error instanceof OmertaError && error.code === "interrupted";
    await update({
      state: stopped ? "stopped" : "failed",
      error: messageOf(error),
      ended: Date.now(),
    });
    throw error;
  }
}

/** Writes a stream to a file until it is full. @returns Bytes that had no room. */
async function keep(stream: ReadableStream<Uint8Array>, path: string): Promise<number> {
  using file = await Deno.open(path, { write: true });
  let room = MAX_STREAM_BYTES;
  let dropped = 0;
  for await (const chunk of stream) {
    const part = chunk.subarray(0, room);
    for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
    room -= part.length;
    dropped += chunk.length - part.length;
  }
  return dropped;
}

/**
 * Has a job give its VM back and end.
 *
 * @returns Whether it was running.
 * @throws {OmertaError} `job-hangs`.
 */
export async function stopJob(store: JobStore, id: string): Promise<boolean> {
  const deadline = Date.now() + STOP_MS;
  let asked = false;
  while (true) {
    const job = await store.find(id);
    if (isOver(job)) return asked;
    if (!asked && job.process) {
      asked = true;
      try {
        Deno.kill(job.process.pid, "SIGTERM");
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error; // it has just ended
      }
    }
    if (Date.now() > deadline) {
      throw new OmertaError(
        "job-hangs",
        `Cannot end job ${id}: it still runs after ${STOP_MS / 1000} s`,
        { next: `See 'omerta job show ${id}'` },
      );
    }
    await pause(50);
  }
}
