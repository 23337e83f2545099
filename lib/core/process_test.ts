import assert from "node:assert/strict";
import { run, runChecked, startTimeOf } from "./process.ts";

Deno.test("run() returns exit code and output", async () => {
  const result = await run("sh", ["-c", "cat; echo err >&2; exit 3"], { input: "hello" });
  assert.deepEqual(result, { code: 3, stdout: "hello", stderr: "err\n" });
});

Deno.test("run() names a program that is not installed", async () => {
  await assert.rejects(run("no-such-program-here", []), { code: "program-missing", exit: 3 });
});

Deno.test("run() ends a program that takes too long", async () => {
  await assert.rejects(run("sleep", ["60"], { timeoutMs: 50 }), { code: "program-timeout" });
});

Deno.test("runChecked() quotes the last words of a program that failed", async () => {
  await assert.rejects(
    runChecked("sh", ["-c", "echo broken >&2; exit 1"]),
    /Cannot run sh .* exit code 1: broken/,
  );
});

Deno.test("startTimeOf() tells a live process from one that has ended", async () => {
  assert.match(await startTimeOf(Deno.pid) ?? "", /\S/);
  const child = new Deno.Command("true").spawn();
  await child.status;
  assert.equal(await startTimeOf(child.pid), undefined);
});
