import assert from "node:assert/strict";
import { binWith } from "../../tests/support/bin.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { run, runChecked, signalIfThere, spawnWithUs, startTimeOf } from "./process.ts";

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

const withSetpriv = Deno.build.os === "linux" ? commandMissing("setpriv") : "needs Linux";

testIf(
  withSetpriv,
  "L10: spawnWithUs() starts what ends with the one that has started it",
  async () => {
    const program = `
    const { spawnWithUs } = await import(${JSON.stringify(import.meta.resolve("./process.ts"))});
    const child = await spawnWithUs("sleep", ["600"]);
    console.log(child.pid);
    await child.status;
  `;
    const parent = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-check", program],
      stdout: "piped",
    }).spawn();
    const reader = parent.stdout.getReader();
    const pid = Number(new TextDecoder().decode((await reader.read()).value));
    try {
      await until(async () => (await Deno.readTextFile(`/proc/${pid}/comm`)) === "sleep\n", {
        what: "the program to run",
      });
      parent.kill("SIGKILL");
      await until(async () => await startTimeOf(pid) === undefined, { what: "the program to end" });
    } finally {
      signalIfThere(parent, "SIGKILL");
      signalIfThere(pid, "SIGKILL");
      await parent.status;
      await reader.cancel();
    }
  },
);

Deno.test("spawnWithUs() starts a program as it is: its exit code, and that it is missing", async () => {
  const child = await spawnWithUs("sh", ["-c", "kill -TERM $$"]);
  const { code, signal } = await child.status;
  assert.deepEqual([code, signal], [143, "SIGTERM"]);
  await assert.rejects(spawnWithUs("no-such-program-here", []), { code: "program-missing" });
});

Deno.test("spawnWithUs() does without setpriv", async () => {
  await using bin = await binWith("sh");
  const program = `
    const { spawnWithUs } = await import(${JSON.stringify(import.meta.resolve("./process.ts"))});
    Deno.exit((await (await spawnWithUs("sh", ["-c", "exit 7"])).status).code);
  `;
  const args = ["eval", "--no-check", program];
  assert.equal((await run(Deno.execPath(), args, { env: { PATH: bin.path } })).code, 7);
});

Deno.test("signalIfThere() does nothing to a process that has ended", async () => {
  const child = new Deno.Command("true").spawn();
  await child.status;
  signalIfThere(child, "SIGTERM");
  signalIfThere(child.pid, "SIGTERM");
});
