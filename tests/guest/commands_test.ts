import assert from "node:assert/strict";
import { LENDER, shareLink, twoMachines } from "../support/two_machines.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { binWith } from "../support/bin.ts";
import { commandMissing, testIf } from "../support/requires.ts";

const missing = netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img", "ssh");

/** Time for a translated guest on a busy host, in ms. */
const BOOT_MS = 400_000;

testIf(missing, "V7: vm boot-test needs no borrower and leaves nothing", async () => {
  await using world = await twoMachines();
  const { lender } = world;
  await lender.shareImages();
  const result = await lender.run(["vm", "boot-test", "--mode", "direct-ssh"], {
    timeoutMs: BOOT_MS,
  });
  assert.equal(result.code, 0, result.stderr);
  for (const stage of ["accepted", "disk", "qemu", "kernel", "cloud-init", "ssh", "ready"]) {
    assert.match(result.stdout, new RegExp(`^ {2}${stage} +\\d+\\.\\d s$`, "m"));
  }
  assert.match(result.stdout, /Passed \(direct-ssh\)/);
  assert.deepEqual(await lender.vmFolders(), []);
  assert.deepEqual(await lender.processes(), []);
});

testIf(
  missing,
  "V6: --no-wait returns at once, and the VM can be released on its way",
  async () => {
    await using world = await twoMachines();
    const { lender, borrower } = world;
    await lender.shareImages();
    await lender.startDaemon();
    await shareLink(world);
    const request = ["vm", "request", "--provider", LENDER, "--name", "web", "--no-wait"];
    assert.match(await borrower.ok(...request), /is accepted and comes up in the background/);
    assert.match(await borrower.ok("vm", "list"), /web .*starting/);
    assert.match(await borrower.ok("vm", "release", "--all"), /Released web/);
    assert.deepEqual(await lender.vmFolders(), []);
    assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
  },
);

testIf(
  netlabMissing,
  "F5: check-deps and status say what is there and what is missing",
  async () => {
    await using world = await twoMachines();
    const { lender } = world;
    const there = await lender.ok("check-deps");
    assert.match(there, /qemu +runs VMs +\d+\.\d+/);
    assert.match(there, /This host can lend VMs/);
    await using bin = await binWith("ip");
    const without = await lender.run(["check-deps"], { env: { PATH: bin.path } });
    assert.equal(without.code, 3);
    assert.match(without.stdout, /qemu +runs VMs +missing \(required\) +.*apt/);
    assert.match(without.stdout, /This host cannot lend VMs yet/);
    assert.match(await lender.ok("status"), /No daemon runs/);
    assert.match(await lender.ok("--version"), /^omerta \d+\.\d+\.\d+ \(source\)\n$/);
  },
);
