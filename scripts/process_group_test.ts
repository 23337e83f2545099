import assert from "node:assert/strict";
import { runInGroup } from "./_process_group.ts";
import { startTimeOf } from "../lib/core/process.ts";
import { until } from "../tests/support/until.ts";

Deno.test("runInGroup() returns exit code and both outputs", async () => {
  const options = { cwd: ".", timeoutMs: 10_000, env: { WORD: "hello" } };
  assert.deepEqual(await runInGroup("sh", ["-c", "echo $WORD; echo err >&2; exit 3"], options), {
    code: 3,
    output: "hello\nerr\n",
  });
});

Deno.test("runInGroup() ends a program and its children when time is up", async () => {
  const result = await runInGroup("sh", ["-c", "sleep 600 & echo $!; wait"], {
    cwd: ".",
    timeoutMs: 300,
  });
  assert.match(result.ended ?? "", /ended after 0 s/);
  await gone(result.output.trim());
});

Deno.test("runInGroup() ends what a program left running, and does not wait for it", async () => {
  const result = await runInGroup("sh", ["-c", "sleep 600 & echo $!"], {
    cwd: ".",
    timeoutMs: 60_000,
  });
  assert.equal(result.code, 0);
  await gone(result.output.trim());
});

/** Waits for a process to be gone. */
async function gone(pid: string): Promise<void> {
  assert.match(pid, /^\d+$/);
  await until(async () => await startTimeOf(Number(pid)) === undefined, {
    what: `process ${pid} to be gone`,
  });
}
