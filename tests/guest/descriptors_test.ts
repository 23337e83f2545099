import assert from "node:assert/strict";
import { runChecked } from "../../lib/core/process.ts";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img", "prlimit");

/** Descriptors that a process may have when nothing was said. */
const PLENTY = "4096";

testIf(
  missing,
  "N16: a lender without descriptors refuses the next VM, keeps those it has, and recovers",
  async () => {
    await using world = await twoMachines();
    const { lender, borrower } = world;
    await lender.shareImages();
    await lender.ok("lend", "set", "cpus", "3");
    await lender.startDaemon();
    await shareLink(world);
    const request = (name: string): string[] => {
      return ["vm", "request", "--provider", LENDER, "--name", name, "--memory", "512"];
    };
    const qemus = async (): Promise<number> =>
      (await lender.processes()).filter((line) => line.includes("qemu-system")).length;
    const { pid }: { pid: number } = JSON.parse(await lender.ok("status", "--json"));
    const limit = (count: string): Promise<unknown> =>
      runChecked("prlimit", ["--pid", `${pid}`, `--nofile=${count}:${PLENTY}`]);

    await borrower.ok(...request("one"), "--no-wait");
    const comesUp = (name: string): Promise<unknown> =>
      until(async () => (await lender.run(["vm", "logs", name])).stdout.includes("stage=kernel"), {
        timeoutMs: 60_000,
        what: `the kernel of ${name}`,
      });
    await comesUp("one");

    const open = (await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`))).length;
    for (const more of [0, 2, 4]) {
      await limit(`${open + more}`);
      const result = await borrower.run(request("two"));
      const words = `${more} more: ${result.code} ${result.stderr}`;
      assert.notEqual(result.code, 0, words);
      assert.match(result.stderr, /this lender has too many open files \(EMFILE\)/, words);
      assert.match(result.stderr, /^Next: .*ulimit -n/m, words);
      assert.equal(await qemus(), 1, words);
      assert.match(await borrower.ok("vm", "list"), /one .*starting/);
      assert.doesNotMatch(await borrower.ok("vm", "list"), /two/);
    }
    // It answers still, and as soon as there are descriptors again, it lends again.
    await limit(PLENTY);
    assert.match(await lender.ok("vm", "list"), /one/);
    await borrower.ok(...request("two"), "--no-wait");
    await comesUp("two");
    assert.equal(await qemus(), 2);
    await borrower.ok("vm", "release", "--all");
    assert.equal(await qemus(), 0);
    assert.deepEqual(await lender.vmFolders(), []);
  },
);
