import assert from "node:assert/strict";
import { commandMissing } from "./requires.ts";

Deno.test("commandMissing() names every program that is not on PATH", () => {
  assert.equal(commandMissing("sh"), undefined);
  assert.equal(commandMissing("sh", "no-such-a", "no-such-b"), "needs no-such-a, no-such-b");
});
