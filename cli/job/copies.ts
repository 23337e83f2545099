/**
 * What a job takes along and brings back. Both are looked at before a VM is borrowed for it.
 *
 * @module
 */

import { basename, dirname, join, resolve } from "node:path";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { exists } from "../../lib/core/files.ts";
import type { JobSpec } from "./spec.ts";

/**
 * The inputs that are meant by these paths.
 *
 * @throws {OmertaError} `bad-input` when one is not there, or two have one name in the job's folder.
 */
export async function findInputs(paths: readonly string[]): Promise<string[]> {
  const found = new Map<string, string>();
  for (const path of paths) {
    const full = resolve(path);
    const name = basename(full);
    const other = found.get(name);
    if (name === "" || !await exists(full)) {
      throw badInput(path, name === "" ? "it is the root folder" : "it is not there");
    }
    if (other !== undefined) throw badInput(path, `${other} has the same name`);
    found.set(name, full);
  }
  return [...found.values()];
}

function badInput(path: string, reason: string): OmertaError {
  return new OmertaError("bad-input", `Cannot use --input '${path}': ${reason}`, {
    exit: EXIT.usage,
  });
}

/**
 * The outputs that are meant by `REMOTE` and `REMOTE:LOCAL`; what has no LOCAL goes into the current
 * folder. The first colon counts.
 *
 * @throws {OmertaError} `bad-output`.
 */
export async function findOutputs(texts: readonly string[]): Promise<JobSpec["outputs"]> {
  const found: JobSpec["outputs"] = [];
  for (const text of texts) {
    const colon = text.indexOf(":");
    const remote = colon < 0 ? text : text.slice(0, colon);
    const local = resolve(colon < 0 ? "." : text.slice(colon + 1));
    if (remote === "" || remote === "/" || text.endsWith(":")) {
      throw badOutput(text, "want REMOTE or REMOTE:LOCAL");
    }
    if (!await exists(dirname(local))) throw badOutput(text, `${dirname(local)} is not there`);
    found.push({ remote, local: text.endsWith("/") ? join(local, "/") : local });
  }
  return found;
}

function badOutput(text: string, reason: string): OmertaError {
  return new OmertaError("bad-output", `Cannot use --output '${text}': ${reason}`, {
    exit: EXIT.usage,
  });
}
