import assert from "node:assert/strict";
import { until } from "./until.ts";

Deno.test("until() returns the first truthy answer", async () => {
  let looks = 0;
  assert.equal(await until(() => ++looks === 3 && "there", { what: "the third look" }), "there");
});

Deno.test("until() names what did not come", async () => {
  await assert.rejects(
    until(() => false, { timeoutMs: 0, what: "a miracle" }),
    /waited 0 s for a miracle/,
  );
  let looks = 0;
  await assert.rejects(
    until(() => ++looks > 9, { timeoutMs: 0, what: () => `look 9, at ${looks}` }),
    /waited 0 s for look 9, at 1/,
  );
});

Deno.test("until() ends with the error of its condition", async () => {
  const condition = (): boolean => {
    throw new RangeError("Broken");
  };
  await assert.rejects(until(condition, { what: "an answer" }), RangeError);
});
