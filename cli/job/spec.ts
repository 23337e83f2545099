/**
 * What a job is: a command or a script, run once in a VM that is borrowed for it.
 *
 * @module
 */

import { z } from "zod";
import { RequestBody } from "../../lib/api/schemas.ts";

/** Languages of scripts, and the program of the guest that runs each. */
export const LANGUAGES = {
  /** GNU Bash. */
  bash: { program: "bash", file: ".omerta-script.sh" },
  /** Python 3. */
  python: { program: "python3", file: ".omerta-script.py" },
} as const;

/** What is run. */
export const Work = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("command"),
    /** The program and its arguments. */
    words: z.array(z.string()).min(1),
  }),
  z.strictObject({
    kind: z.literal("script"),
    /** What it is written in. */
    language: z.enum(["bash", "python"]),
    /** The script. */
    text: z.string().min(1),
  }),
]);
/** What is run. */
export type Work = z.infer<typeof Work>;

/** A job. */
export const JobSpec = z.strictObject({
  /** The VM. */
  request: RequestBody,
  /** What is run in it. */
  work: Work,
  /** Environment variables. */
  env: z.array(z.tuple([z.string(), z.string()])),
  /** The borrower's own VPN, which is the VM's way out: absolute path of a wg-quick file here. */
  vpnConfig: z.string().optional(),
  /** What is copied into the job's folder: absolute paths of files and folders here. */
  inputs: z.array(z.string()),
  /** What is copied back after the end. */
  outputs: z.array(z.strictObject({
    /** Path in the guest, from the job's folder. */
    remote: z.string().min(1),
    /** Where it goes: absolute path of a folder, or of what it will be called. */
    local: z.string(),
  })),
});
/** A job. */
export type JobSpec = z.infer<typeof JobSpec>;
