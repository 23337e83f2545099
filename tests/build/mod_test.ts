import assert from "node:assert/strict";
import { join } from "node:path";
import { run } from "../../lib/core/process.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..");

Deno.test("L3: the examples of mod.ts do what they say, in a program that imports it", async () => {
  const { code, stdout, stderr } = await run(
    Deno.execPath(),
    ["test", "--doc", "--allow-all", "mod.ts"],
    { cwd: ROOT, env: { NO_COLOR: "1" }, timeoutMs: 60_000 },
  );
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /\b3 passed/);
});
