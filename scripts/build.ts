/**
 * Builds `dist/omerta`, one file that needs no Deno, and `dist/omertad`, a link to it.
 *
 * ```
 * deno task build                         for this machine
 * deno task build --target all            omerta-TARGET for each of the four, and dist/omerta
 * deno task build --target TARGET         omerta-TARGET
 * deno task build --compiled-only         fails where `deno compile` cannot do it: for releases
 * deno task build --self-extracting       the other form at once
 * deno task build --output FOLDER         instead of dist
 * ```
 *
 * `deno compile` fetches a base binary for the target. Where that cannot be reached, the file for this
 * machine is made the other way, self-extracting, and that is said.
 *
 * @module
 */

import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { makeSelfExtracting } from "./self_extracting.ts";
import { messageOf, OmertaError } from "../lib/core/errors.ts";
import { removeIfThere } from "../lib/core/files.ts";
import { run } from "../lib/core/process.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");
const HOST = Deno.build.target;
/** What releases are built for. */
const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
];
/** How long `deno compile` may take, download of its base binary included, in ms. */
const COMPILE_LIMIT_MS = 180_000;
/** How long the finished file may take to say its version, in ms. */
const VERSION_LIMIT_MS = 60_000;

/** Prints a line; this program's output is its purpose. */
function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

/**
 * Compiles for a target.
 *
 * @returns Why it could not be done when that is for want of the base binary; undefined when it was done.
 * @throws {OmertaError} When it failed for any other reason.
 */
async function compile(target: string, output: string): Promise<string | undefined> {
  // With DENORT_BIN, whatever it names would be taken for the base binary, and the file that comes
  // out may be something else than this program.
  const { DENORT_BIN: _, ...env } = Deno.env.toObject();
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--quiet",
      "--no-check",
      "--frozen",
      "--allow-all",
      "--unstable-net",
      `--target=${target}`,
      `--output=${output}`,
      "cli/main.ts",
    ],
    cwd: ROOT,
    env: { ...env, NO_COLOR: "1" },
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(COMPILE_LIMIT_MS),
  });
  const begun = performance.now();
  const { code, stderr } = await command.output();
  if (code === 0) return undefined;
  const words = new TextDecoder().decode(stderr).trim();
  if (performance.now() - begun >= COMPILE_LIMIT_MS) {
    return `it was not there after ${COMPILE_LIMIT_MS / 1000} s`;
  }
  if (/Setting up base binary/.test(words)) {
    return /error sending request.*|\d: (?!Setting).*/.exec(words)?.[0] ?? words;
  }
  throw new OmertaError("compile-failed", `Cannot compile for ${target}: ${words}`);
}

/** Starts the file where there is no Deno and no cache; the version that it says. */
async function check(file: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-check-" });
  try {
    const { code, stdout, stderr } = await run(file, ["--version"], {
      env: { PATH: "/usr/bin:/bin", XDG_CACHE_HOME: folder, OMERTA_HOME: join(folder, "home") },
      timeoutMs: VERSION_LIMIT_MS,
    });
    if (code !== 0) {
      const words = stderr.trim() || stdout.trim();
      throw new OmertaError("file-broken", `Cannot start ${file}: exit code ${code}: ${words}`);
    }
    return stdout.trim();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function build(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      "target": { type: "string" },
      "compiled-only": { type: "boolean", default: false },
      "self-extracting": { type: "boolean", default: false },
      "output": { type: "string", default: join(ROOT, "dist") },
    },
  });
  const wanted = values.target === "all" ? TARGETS : [values.target ?? HOST];
  const unknown = wanted.find((target) => !TARGETS.includes(target));
  if (unknown !== undefined) {
    throw new OmertaError(
      "unknown-target",
      `Cannot build for ${unknown}: want all, ${TARGETS.join(", ")}`,
    );
  }
  if (values["self-extracting"] && (values["compiled-only"] || values.target !== undefined)) {
    throw new OmertaError(
      "contradiction",
      "Cannot build: --self-extracting is for this machine and not compiled",
    );
  }
  const folder = resolve(values.output);
  await Deno.mkdir(folder, { recursive: true });

  const missing: string[] = [];
  const finished = join(folder, "omerta");
  const unfinished = `${finished}.new`;
  for (const target of wanted) {
    const named = join(folder, `omerta-${target}`);
    const why = values["self-extracting"] ? "not asked for" : await compile(target, named);
    if (why === undefined) {
      if (target === HOST) await Deno.copyFile(named, unfinished);
      else print(`${named}: compiled, not started: it is for another kind of machine`);
      if (values.target === undefined) await Deno.remove(named);
    } else if (target === HOST && !values["compiled-only"]) {
      if (!values["self-extracting"]) {
        print(`deno compile cannot get its base binary for ${target}: ${why}`);
        print(
          "Making a self-extracting file instead: the same program, with the Deno that is here",
        );
      }
      await makeSelfExtracting(ROOT, unfinished, "cli/main.ts");
    } else {
      print(`deno compile cannot get its base binary for ${target}: ${why}`);
      missing.push(target);
    }
    if (target === HOST && !missing.includes(HOST)) {
      print(`${finished}: ${await check(unfinished)}`);
      await Deno.rename(unfinished, finished);
      await removeIfThere(join(folder, "omertad"));
      await Deno.symlink("omerta", join(folder, "omertad"));
    }
  }
  if (missing.length > 0) {
    throw new OmertaError("base-missing", `Cannot build for ${missing.join(", ")}`, {
      next: "Build where the base binaries of deno compile can be reached",
    });
  }
}

try {
  await build(Deno.args);
} catch (error) {
  print(`Error: ${messageOf(error)}`);
  if (error instanceof OmertaError && error.next !== undefined) print(`Next: ${error.next}`);
  Deno.exit(1);
}
