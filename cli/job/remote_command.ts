/**
 * The command lines that the guest's shell gets from ssh.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { shellQuote } from "../../lib/core/shell_quote.ts";
import { type JobSpec, LANGUAGES } from "./spec.ts";

/** The job's folder, in the home of the guest's user. */
export const JOB_FOLDER = "job";

/** Longest command line, in bytes (execve(2): a single argument has at most 128 KiB). */
const MAX_BYTES = 128 * 1024 - 1;

/** Makes the job's folder and, when the job is a script, writes standard input there. */
export function prepareCommand({ work }: Pick<JobSpec, "work">): string {
  const make = `mkdir -p ${JOB_FOLDER}`;
  if (work.kind === "command") return make;
  return `${make} && cat >${JOB_FOLDER}/${LANGUAGES[work.language].file}`;
}

/**
 * Runs the job in its folder. The shell stays around it and so turns a signal into an exit code.
 *
 * @throws {OmertaError} `command-too-long`.
 */
export function jobCommand({ work, env }: Pick<JobSpec, "work" | "env">): string {
  const words = work.kind === "command"
    ? work.words
    : [LANGUAGES[work.language].program, LANGUAGES[work.language].file];
  const line = [
    `cd ${JOB_FOLDER} || exit`,
    ...env.map(([name, value]) => `export ${name}=${shellQuote(value)}`),
    words.map(shellQuote).join(" "),
    "exit $?",
  ].join("; ");
  const bytes = new TextEncoder().encode(line).length;
  if (bytes <= MAX_BYTES) return line;
  throw new OmertaError(
    "command-too-long",
    `Cannot run the command: it has ${bytes} bytes with its environment, ${MAX_BYTES} is the most`,
    { exit: EXIT.usage, next: "Put what is long into a file and copy it with --input" },
  );
}

/** A path in the guest for scp, which takes it for a pattern: see glob(7). */
export function scpPath(path: string): string {
  const escaped = path.replace(/[\\*?[\]{}]/g, "\\$&");
  return escaped.startsWith("/") ? escaped : `${JOB_FOLDER}/${escaped}`;
}
