/**
 * Runs the gates and then every test file, each in a process of its own with a time limit, and sums
 * up. The last line of the output is `N passed, N failed` (`, N skipped`); the exit code is 0 only
 * when something ran and nothing failed.
 *
 * ```
 * deno run -A scripts/run_tests.ts [--group gates|unit|host|guest]... [FILE]...
 * ```
 *
 * Groups, in the order in which they run:
 * - gates: format, lint, types, documentation, layers;
 * - unit: test files that need nothing of the host, two at a time;
 * - host: those that need root, programs or network namespaces, one at a time;
 * - guest: those that boot virtual machines (`tests/guest`, `tests/e2e`), after the guest image, two
 *   at a time.
 *
 * @module
 */

import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { type Counts, countTests } from "./_junit.ts";
import { GATES } from "./_gates.ts";
import { runInGroup } from "./_process_group.ts";
import { sourceFiles } from "./_source_files.ts";
import { messageOf } from "../lib/core/errors.ts";
import { readTextIfThere, removeIfThere } from "../lib/core/files.ts";

const ROOT = join(import.meta.dirname ?? ".", "..");
/** Where tests and this runner keep what they make; git ignores it. */
const TEMPORARY = join(ROOT, "tests", "tmp");
/** What each test file reports. */
const REPORTS = join(TEMPORARY, "reports");
/** `$OMERTA_HOME` whose guest image the guest tests share. */
const IMAGE_HOME = join(TEMPORARY, "home");

const GROUPS = ["gates", "unit", "host", "guest"] as const;
type Group = (typeof GROUPS)[number];

/** How long one test file may take, in ms. */
const FILE_LIMIT_MS: Record<Exclude<Group, "gates">, number> = {
  unit: 90_000,
  host: 240_000,
  guest: 1_200_000,
};
/** How long one gate, and the guest image, may take, in ms. */
const STEP_LIMIT_MS = 300_000;
/** How long everything may take, in ms; what has not begun by then counts as failed. */
const TOTAL_LIMIT_MS = 75 * 60_000;
/** Test files of a group that run at the same time. A guest often waits, and so does its test. */
const JOBS: Record<Exclude<Group, "gates">, number> = { unit: 2, host: 1, guest: 2 };

const started = performance.now();
const total: Counts = { passed: 0, failed: 0, skipped: [] };

/** Prints a line; this program's output is its purpose. */
function print(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

function leftMs(limitMs: number): number {
  return Math.min(limitMs, TOTAL_LIMIT_MS - (performance.now() - started));
}

/** Runs a step that is not a test; only its failure is counted. */
async function step(name: string, args: readonly string[], program?: string): Promise<void> {
  const begun = performance.now();
  const result = await runInGroup(program ?? Deno.execPath(), args, {
    cwd: ROOT,
    timeoutMs: leftMs(STEP_LIMIT_MS),
    ...(program ? { env: { OMERTA_HOME: IMAGE_HOME } } : {}),
  });
  const took = `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  if (result.code === 0) return print(`ok      ${name} (${took})`);
  total.failed++;
  print(`FAILED  ${name} (${took}): ${result.ended ?? `exit code ${result.code}`}`);
  print(result.output.trimEnd());
}

/** Runs one test file and adds it up. */
async function testFile(path: string, group: Exclude<Group, "gates">): Promise<void> {
  const timeoutMs = leftMs(FILE_LIMIT_MS[group]);
  if (timeoutMs <= 0) {
    total.failed++;
    return print(`FAILED  ${path}: not run, all ${TOTAL_LIMIT_MS / 60_000} min are used up`);
  }
  const report = join(REPORTS, `${path.replaceAll("/", "-")}.xml`);
  const begun = performance.now();
  // Types were checked by the gate.
  const result = await runInGroup(Deno.execPath(), [
    "test",
    "--allow-all",
    "--no-check",
    "--no-prompt",
    `--junit-path=${report}`,
    path,
  ], { cwd: ROOT, timeoutMs });
  const counts = countTests(await readTextIfThere(report) ?? "");
  // A file that could not be loaded, or was ended, has reported no failure of its own.
  const broken = result.code !== 0 && counts.failed === 0;
  if (broken) counts.failed++;
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped.push(...counts.skipped.map((name) => `${path}: ${name}`));

  const skipped = counts.skipped.length > 0 ? `, ${counts.skipped.length} skipped` : "";
  const took = `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  if (counts.failed === 0) return print(`ok      ${path}: ${counts.passed}${skipped} (${took})`);
  const why = broken ? `: ${result.ended ?? `exit code ${result.code}`}` : "";
  print(`FAILED  ${path}: ${counts.failed} of ${counts.passed + counts.failed} (${took})${why}`);
  print(result.output.trimEnd());
}

/** Which group a test file belongs to, by where it is and by what it imports. */
async function groupOf(path: string): Promise<Exclude<Group, "gates">> {
  if (/^tests\/(guest|e2e)\//.test(path)) return "guest";
  const text = await Deno.readTextFile(join(ROOT, path));
  return /from "[^"]*\/(support\/requires|netlab)\.ts"/.test(text) ? "host" : "unit";
}

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { group: { type: "string", multiple: true } },
  });
  const wanted = new Set(values.group ?? (positionals.length > 0 ? GROUPS.slice(1) : GROUPS));
  const unknown = [...wanted].find((name) => !GROUPS.some((group) => group === name));
  if (unknown !== undefined) {
    throw new Error(`Cannot run group ${unknown}: want one of ${GROUPS.join(", ")}`);
  }
  // Reports of an earlier run must not be counted for this one.
  await removeIfThere(REPORTS);
  await Deno.mkdir(REPORTS, { recursive: true });

  const files = positionals.length > 0
    ? positionals.map((path) => relative(ROOT, join(Deno.cwd(), path)))
    : (await sourceFiles(ROOT)).filter((path) => path.endsWith("_test.ts"));
  const byGroup = Map.groupBy(
    await Promise.all(files.map(async (path) => ({ path, group: await groupOf(path) }))),
    ({ group }) => group,
  );
  const filesOf = (group: Exclude<Group, "gates">): string[] =>
    wanted.has(group) ? (byGroup.get(group) ?? []).map(({ path }) => path) : [];

  if (wanted.has("gates")) {
    for (const { name, args } of GATES) await step(name, args);
  }
  for (const group of ["unit", "host", "guest"] as const) {
    const paths = filesOf(group);
    if (group === "guest" && paths.length > 0) {
      await step("guest image", ["image", "build"], join(ROOT, "scripts", "omerta"));
    }
    const left = paths.values();
    await Promise.all(Array.from({ length: JOBS[group] }, async () => {
      for (const path of left) await testFile(path, group);
    }));
  }
}

try {
  await main(Deno.args);
} catch (error) {
  total.failed++;
  print(`FAILED  ${messageOf(error)}`);
}
if (total.skipped.length > 0) {
  print("\nSkipped:");
  for (const name of total.skipped) print(`- ${name}`);
}
if (total.passed + total.failed === 0) print("FAILED  no test ran");
const skipped = total.skipped.length > 0 ? `, ${total.skipped.length} skipped` : "";
print(`${total.passed} passed, ${total.failed} failed${skipped}`);
Deno.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
