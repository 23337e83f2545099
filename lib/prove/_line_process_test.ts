import assert from "node:assert/strict";
import { spawn } from "../core/process.ts";
import { LineProcess } from "./_line_process.ts";

function start(script: string): LineProcess {
  const pipes = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  return new LineProcess("the helper", spawn("sh", ["-c", script], pipes));
}

Deno.test("LineProcess asks and gets each answer, in order", async () => {
  await using helper = start("cat");
  assert.deepEqual(await helper.ask({ a: 1 }, 5000), { a: 1 });
  assert.deepEqual(await helper.ask("x".repeat(100_000), 5000), "x".repeat(100_000));
});

Deno.test("LineProcess says that a process has ended, with its last words", async () => {
  await using helper = start("read line; echo 'no python here' >&2; exit 1");
  await assert.rejects(helper.ask(1, 5000), {
    code: "process-gone",
    message: "Cannot go on with the helper: it has ended: no python here",
    exit: 4,
  });
});

Deno.test("LineProcess does not wait for ever, and ends what does not end", async () => {
  await using helper = start("trap '' TERM; exec sleep 600");
  await assert.rejects(helper.ask(1, 50), { code: "no-answer" });
});
