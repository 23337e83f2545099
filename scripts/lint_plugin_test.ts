import assert from "node:assert/strict";
import plugin from "./lint_plugin.ts";

function reports(source: string, filename = "net/x_test.ts"): string[] {
  return Deno.lint.runPlugin(plugin, filename, source).map(({ id }) => id);
}

Deno.test.each([
  { source: `new Error("it failed")` },
  { source: `new OmertaError("code", "It failed.")` },
  { source: "new RangeError(`Cannot parse ${x}.`)" },
])("error-message refuses $source", ({ source }) => {
  assert.deepEqual(reports(source, "net/x.ts"), ["omerta/error-message"]);
});

Deno.test.each([
  { source: `new OmertaError("code", "Cannot read x: got y, want z")` },
  { source: "new Error(`${name} failed`)" },
  { source: `new Thing("it failed.")` },
])("error-message lets $source pass", ({ source }) => {
  assert.deepEqual(reports(source, "net/x.ts"), []);
});

Deno.test.each([
  { source: `await new Promise((r) => setTimeout(r, 100));` },
  { source: `await new Promise<void>((done) => { setTimeout(done, MS); });` },
  { source: `await new Promise((done) => setTimeout(() => done(), 100));` },
  { source: `await new Promise(function (done) { return setTimeout(() => { done(1); }, 5); });` },
  { source: `import { setTimeout as sleep } from "node:timers/promises";` },
])("no-sleep-in-tests refuses $source", ({ source }) => {
  assert.deepEqual(reports(source), ["omerta/no-sleep-in-tests"]);
  assert.deepEqual(reports(source, "/home/project/tests/support/x.ts"), [
    "omerta/no-sleep-in-tests",
  ]);
  assert.deepEqual(reports(source, "/home/project/net/x.ts"), []);
});

Deno.test.each([
  { source: `await new Promise((done) => setTimeout(done, 0));` },
  { source: `await Promise.race([work, new Promise((done) => setTimeout(done, 1000))]);` },
  { source: `new Promise((done, fail) => { setTimeout(fail, 100); socket.on("data", done); });` },
  { source: `new Promise((done, fail) => setTimeout(fail, 100));` },
  { source: `const timer = setTimeout(() => controller.abort(), 1000);` },
  { source: `import { setImmediate } from "node:timers/promises";` },
])("no-sleep-in-tests lets $source pass", ({ source }) => {
  assert.deepEqual(reports(source), []);
});
