/**
 * Jobs that run or ran in the background, each in a folder of its own below `jobs/`, for its user only:
 *
 * ```
 * job.json    what it is, how far it is, how it ended
 * log         what was done for it: the stages of its VM, warnings
 * stdout      what its command printed, the first 16 MiB
 * stderr      the same
 * ```
 *
 * What a command prints beyond 16 MiB is counted and dropped; the command goes on. At most 100 jobs
 * are kept: one more removes the one that ended first, and is refused while none has ended.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import {
  makePrivateFolder,
  readTextIfThere,
  removeIfThere,
  writeFileAtomic,
} from "../../lib/core/files.ts";
import { startTimeOf } from "../../lib/core/process.ts";
import { JobSpec } from "./spec.ts";

/** Jobs that are kept. */
export const MAX_JOBS = 100;
/** How long a job may take from its submission until its process runs, in ms. */
const START_MS = 60_000;

const JobState = z.enum(["starting", "running", "done", "failed", "stopped", "died"]);
/**
 * How far a job is. `done`: its command has ended, with whatever exit code; `failed`: it has none;
 * `stopped`: on request; `died`: its process is gone and has left no word.
 */
export type JobState = z.infer<typeof JobState>;

/** What is known of a job. */
export const JobRecord = z.object({
  /** Version of this format. */
  version: z.literal(1),
  /** Id: 8 hex characters. */
  id: z.string().regex(/^[0-9a-f]{8}$/),
  /** What its user calls it. */
  description: z.string(),
  /** The job. */
  spec: JobSpec,
  /** How far it is. */
  state: JobState,
  /** When it was submitted: ms since 1970. */
  created: z.number(),
  /** When it ended: ms since 1970. */
  ended: z.number().optional(),
  /** The process that runs it: id and start time. */
  process: z.object({ pid: z.int().positive(), started: z.string() }).optional(),
  /** Exit code of its command. */
  exitCode: z.number().optional(),
  /** Why there is no exit code. */
  error: z.string().optional(),
  /** Bytes that its command printed and that were not kept. */
  dropped: z.number().default(0),
});
/** What is known of a job. */
export type JobRecord = z.infer<typeof JobRecord>;

/** Whether a job is over. */
export function isOver({ state }: Pick<JobRecord, "state">): boolean {
  return state !== "starting" && state !== "running";
}

/** The jobs of one home. */
export class JobStore {
  readonly #folder: string;

  /**
   * Jobs below a folder that need not exist yet.
   *
   * @param folder Where they are.
   */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A job's folder. */
  folderOf(id: string): string {
    return join(this.#folder, id);
  }

  /** A job's file. */
  file(id: string, name: "log" | "stdout" | "stderr"): string {
    return join(this.#folder, id, name);
  }

  /**
   * Takes up a new job; makes room for it when there are {@link MAX_JOBS}.
   *
   * @throws {OmertaError} `too-many-jobs`.
   */
  async add(spec: JobSpec, description: string, now: number): Promise<JobRecord> {
    const jobs = await this.list();
    const over = jobs.filter(isOver).sort((a, b) => (a.ended ?? 0) - (b.ended ?? 0));
    const tooMany = jobs.length - MAX_JOBS + 1;
    if (tooMany > over.length) {
      throw new OmertaError(
        "too-many-jobs",
        `Cannot submit a job: ${jobs.length} are running, ${MAX_JOBS} is the most`,
        { next: "Wait for one, or end one with 'omerta job stop'" },
      );
    }
    for (const { id } of over.slice(0, Math.max(0, tooMany))) {
      await removeIfThere(this.folderOf(id));
    }
    const id = randomBytes(4).toString("hex");
    const job: JobRecord = {
      ...{ version: 1, id, description, spec, state: "starting", created: now, dropped: 0 },
    };
    await makePrivateFolder(this.folderOf(id));
    for (const name of ["log", "stdout", "stderr"] as const) {
      await writeFileAtomic(this.file(id, name), "");
    }
    await this.write(job);
    return job;
  }

  /** Replaces what is known of a job. */
  async write(job: JobRecord): Promise<void> {
    await writeFileAtomic(join(this.folderOf(job.id), "job.json"), JSON.stringify(job) + "\n");
  }

  /** All jobs, the oldest first. What cannot be read is left out. */
  async list(): Promise<JobRecord[]> {
    const jobs = await Promise.all((await this.#ids()).map((id) => this.#read(id)));
    return jobs.filter((job) => job !== undefined).sort((a, b) => a.created - b.created);
  }

  /**
   * The one job whose id begins with `prefix`.
   *
   * @throws {OmertaError} `unknown-job`, `ambiguous-job` or `job-damaged`.
   */
  async find(prefix: string): Promise<JobRecord> {
    const ids = (await this.#ids()).filter((id) => prefix !== "" && id.startsWith(prefix));
    const [id, other] = ids;
    const job = id === undefined || other !== undefined ? undefined : await this.#read(id);
    if (job) return job;
    const [code, message] = id === undefined
      ? ["unknown-job", `Cannot find a job '${prefix}'`]
      : other === undefined
      ? ["job-damaged", `Cannot read ${join(this.folderOf(id), "job.json")}: it is damaged`]
      : ["ambiguous-job", `Cannot choose a job by '${prefix}': ${ids.join(", ")}`];
    throw new OmertaError(code ?? "", message ?? "", {
      exit: EXIT.usage,
      next: "See 'omerta job list'",
    });
  }

  async #ids(): Promise<string[]> {
    try {
      const names = (await Array.fromAsync(Deno.readDir(this.#folder))).map(({ name }) => name);
      return names.filter((name) => /^[0-9a-f]{8}$/.test(name)).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  async #read(id: string): Promise<JobRecord | undefined> {
    const text = await readTextIfThere(join(this.folderOf(id), "job.json"));
    let job: JobRecord | undefined;
    try {
      job = JobRecord.parse(JSON.parse(text ?? ""));
    } catch {
      return undefined;
    }
    return isOver(job) || await isAlive(job) ? job : { ...job, state: "died" };
  }
}

/** Whether the process of a job runs, or may still be on its way. */
async function isAlive({ process, created }: JobRecord): Promise<boolean> {
  if (!process) return Date.now() - created < START_MS;
  return await startTimeOf(process.pid) === process.started;
}
