import assert from "node:assert/strict";
import { join } from "node:path";
import { startTimeOf } from "../core/process.ts";
import { pathsOf } from "../core/paths.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { Pair, sweepPairs } from "./pair.ts";

Deno.test("V7: sweepPairs() removes folders of tests that are gone, and no others", async () => {
  const home = await Deno.makeTempDir();
  try {
    const start = await startTimeOf(Deno.pid);
    const mine = `pair-${Deno.pid}-${start}`;
    // The process id was given to another process since.
    const old = `pair-${Deno.pid}-1`;
    for (const name of [mine, old, "pair-notes", "vms"]) {
      await Deno.mkdir(join(home, name, "l", "vms"), { recursive: true });
    }
    const words = `Removed what was left of a test of this host (${old})`;
    assert.deepEqual(await sweepPairs(home), [words]);
    const left = (await Array.fromAsync(Deno.readDir(home))).map(({ name }) => name).sort();
    assert.deepEqual(left, ["pair-notes", mine, "vms"].sort());
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

testIf(commandMissing("setpriv"), "Pair.start() says when a home's path is too long", async () => {
  const home = await Deno.makeTempDir();
  const start = async (path: string): Promise<unknown> => {
    const started = Pair.start({
      paths: pathsOf(path),
      module: new URL(import.meta.url),
      lenderAddress: "127.0.0.1",
      onLender: () => {
        throw new Error("It got as far as the lender");
      },
      onBorrower: () => {
        throw new Error("It got as far as the borrower");
      },
      signal: new AbortController().signal,
    });
    return await started.then(() => "it started", (error: unknown) => error);
  };
  try {
    assert.match(String(await start(join(home, "x".repeat(60)))), /Cannot use .* as a socket/);
    assert.match(String(await start(home)), /It got as far as the lender/);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(home)), []);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});
