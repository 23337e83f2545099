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

Deno.test({
  name: "run() does not wait for what such a program has started",
  // The output that nobody waits for is read until the one that holds it has ended.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const script = "sleep 600 & echo $! >$0; wait";
    const file = await Deno.makeTempFile();
    try {
      await assert.rejects(run("sh", ["-c", script, file], { timeoutMs: 500 }), {
        code: "program-timeout",
      });
      const sleeper = Number(await Deno.readTextFile(file));
      assert.match(await startTimeOf(sleeper) ?? "", /\S/);
      Deno.kill(sleeper, "SIGKILL");
    } finally {
      await Deno.remove(file);
    }
  },
});

Deno.test("run() kills a program that will not end", async () => {
  await assert.rejects(run("sh", ["-c", "trap '' TERM; exec sleep 600"], { timeoutMs: 500 }), {
    code: "program-timeout",
  });
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
