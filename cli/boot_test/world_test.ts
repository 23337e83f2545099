import assert from "node:assert/strict";
import { join } from "node:path";
import { startTimeOf } from "../../lib/core/process.ts";
import { sweepTests } from "./world.ts";

Deno.test("V7: sweepTests() removes folders of tests that are gone, and no others", async () => {
  const home = await Deno.makeTempDir();
  try {
    const start = await startTimeOf(Deno.pid);
    const mine = `e2e-${Deno.pid}-${start}`;
    // The process id was given to another process since.
    const old = `e2e-${Deno.pid}-1`;
    for (const name of [mine, old, "e2e-notes", "vms"]) {
      await Deno.mkdir(join(home, name, "lender", "vms"), { recursive: true });
    }
    assert.deepEqual(await sweepTests(home), [`Removed what was left of a boot test (${old})`]);
    const left = (await Array.fromAsync(Deno.readDir(home))).map(({ name }) => name).sort();
    assert.deepEqual(left, ["e2e-notes", mine, "vms"].sort());
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});
