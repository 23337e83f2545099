import assert from "node:assert/strict";
import fc from "fast-check";
import {
  allowedMs,
  deadlineOf,
  describeStages,
  failStage,
  hasReached,
  nextStage,
  NO_STAGE,
  reachStage,
  stageError,
  STAGES,
} from "./stages.ts";

Deno.test("V8: reachStage() keeps the time of the first arrival", () => {
  const once = reachStage(NO_STAGE, "accepted", 5);
  assert.deepEqual(once, { reached: { accepted: 5 } });
  assert.equal(reachStage(once, "accepted", 9), once);
});

Deno.test("reachStage() ignores a stage that was passed already", () => {
  const kernel = reachStage(NO_STAGE, "kernel", 5);
  assert.equal(reachStage(kernel, "disk", 9), kernel);
  assert.equal(hasReached(kernel, "disk"), true);
  assert.equal(nextStage(kernel), "cloud-init");
});

Deno.test("failStage() names the stage that was not reached, once", () => {
  const failed = failStage(reachStage(NO_STAGE, "qemu", 5), "silence", 9);
  assert.deepEqual(failed.failure, { stage: "kernel", reason: "silence", atMs: 9 });
  assert.equal(failStage(failed, "other", 10), failed);
  assert.equal(reachStage(failed, "kernel", 10), failed);
  assert.equal(deadlineOf(failed, "tcg"), undefined);
});

Deno.test("deadlineOf() counts from the last stage and gives TCG more time", () => {
  const record = reachStage(NO_STAGE, "qemu", 100);
  assert.equal(deadlineOf(record, "kvm"), 100 + allowedMs("kernel", "kvm"));
  assert.ok(allowedMs("kernel", "tcg") > allowedMs("kernel", "kvm"));
  assert.equal(deadlineOf(reachStage(record, "ready", 1), "kvm"), undefined);
});

Deno.test("a record only moves to the right, whatever the order of events", () => {
  fc.assert(fc.property(fc.array(fc.constantFrom(...STAGES)), (events) => {
    let record = NO_STAGE;
    let best = -1;
    events.forEach((stage, at) => {
      record = reachStage(record, stage, at);
      best = Math.max(best, STAGES.indexOf(stage));
      assert.equal(nextStage(record), STAGES[best + 1]);
    });
  }));
});

Deno.test("V8: stageError() says stage, reason, console and what to try", () => {
  const error = stageError("web", { stage: "kernel", reason: "silence", atMs: 61_234 }, ["a", "b"]);
  assert.equal(error.code, "vm-failed");
  assert.match(
    error.message,
    /^Cannot start VM "web": stage kernel .* 61\.2 s: silence; .*\n {2}a\n {2}b$/,
  );
  assert.match(error.next ?? "", /boot-test/);
  assert.match(
    stageError("web", { stage: "ssh", reason: "x", atMs: 0 }, []).message,
    /the console is empty/,
  );
});

Deno.test("describeStages() writes seconds", () => {
  assert.equal(
    describeStages({ reached: { accepted: 0, disk: 130, kernel: 3210 } }),
    "accepted 0.0 s, disk 0.1 s, kernel 3.2 s",
  );
});
