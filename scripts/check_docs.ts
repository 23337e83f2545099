/**
 * Fails when something that a module exports is not explained: every symbol and every field, as
 * `deno doc --lint` finds them.
 *
 * What else that command finds is left out: it wants types written out that zod and `as const` derive,
 * and types of packages exported again. That is of use to a package registry, not to a reader.
 *
 * @module
 */

import { join } from "node:path";
import { sourceFiles } from "./_source_files.ts";
import { run } from "../lib/core/process.ts";

/** The findings that count. */
const COUNTED = /^error\[missing-jsdoc\]/;
const LIMIT_MS = 120_000;

/** Whether a file is read by others: not a test, a command, a script, or private to its folder. */
export function isDocumented(path: string): boolean {
  return /^(mod\.ts|(lib|net|vm)\/)/.test(path) && !/(_test\.ts|\/_[^/]*)$/.test(path);
}

/** The findings in what `deno doc --lint` printed, each as `file:line: message`. */
export function findingsIn(output: string, root: string): string[] {
  return output.split(/\n(?=error)/).filter((block) => COUNTED.test(block)).map((block) => {
    const place = /--> (\S+):\d+\n/.exec(block)?.[1] ?? "";
    const message = /^error\[[^\]]*\]: (.*)/.exec(block)?.[1] ?? block;
    const line = /\n\s*\d+ \| *(.*)/.exec(block)?.[1] ?? "";
    return `${place.replace(`${root}/`, "")}: ${message}: ${line}`;
  });
}

if (import.meta.main) {
  const root = join(import.meta.dirname ?? ".", "..");
  // All in one go: what one file exports of another is found only if both are looked at.
  const files = (await sourceFiles(root)).filter(isDocumented);
  const { code, stdout, stderr } = await run(Deno.execPath(), ["doc", "--lint", ...files], {
    cwd: root,
    env: { NO_COLOR: "1" },
    timeoutMs: LIMIT_MS,
  });
  const findings = findingsIn(stderr, root);
  // Without any finding an exit code other than 0 means that it did not look.
  const failed = code !== 0 && !/documentation lint error/.test(stderr);
  const text = failed ? stdout + stderr : findings.map((finding) => `${finding}\n`).join("");
  await Deno.stderr.write(new TextEncoder().encode(text));
  Deno.exit(failed || findings.length > 0 ? 1 : 0);
}
