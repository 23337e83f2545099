import assert from "node:assert/strict";
import { join } from "node:path";
import { runChecked } from "../../lib/core/process.ts";
import { ImageStore } from "../../vm/image/store.ts";
import { LENDER, shareLink, type TwoMachines, twoMachines } from "../support/two_machines.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { binWith } from "../support/bin.ts";
import { idleGuests, outOfTime } from "../support/idle_guest.ts";
import { commandMissing, testIf } from "../support/requires.ts";

const missing = netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img");

const REQUEST = ["vm", "request", "--provider", LENDER, "--name", "web"];

/** Nothing of a VM is there, on either side. */
async function assertNothingLeft({ lender, borrower }: TwoMachines): Promise<void> {
  assert.deepEqual(await lender.vmFolders(), []);
  assert.deepEqual((await lender.processes()).filter((line) => line.includes("qemu")), []);
  assert.match(await borrower.ok("vm", "list"), /No VM is borrowed/);
  assert.doesNotMatch(await lender.ok("vm", "list"), /web/);
}

testIf(missing, "a lender without QEMU says so, and how to get it", async () => {
  await using world = await twoMachines();
  await world.lender.shareImages();
  await shareLink(world);
  await using bin = await binWith("qemu-img", "ip", "ssh");
  await world.lender.startDaemonWith({ PATH: bin.path });
  const result = await world.borrower.run(REQUEST);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /qemu/i);
  assert.match(result.stderr, /Next: .*(apt|brew|check-deps)/);
  await assertNothingLeft(world);
});

testIf(missing, "a lender whose disk is full refuses, and nothing is left", async () => {
  await using world = await twoMachines();
  const { lender, borrower } = world;
  await lender.shareImages();
  await shareLink(world);
  await runChecked("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", lender.paths.vms]);
  try {
    await lender.startDaemon();
    const result = await borrower.run(REQUEST);
    assert.equal(result.code, 1);
    assert.match(result.stderr, /disk is 10 GiB, this host has 0 GiB free/);
    assert.match(result.stderr, /Next: .*--disk/);
    await assertNothingLeft(world);
    await lender.stopDaemon();
  } finally {
    await runChecked("umount", [lender.paths.vms]);
  }
});

testIf(
  missing,
  "V8: a guest that never boots ends with its stage, and nothing is left",
  async () => {
    await using world = await twoMachines();
    const { lender, borrower } = world;
    await shareLink(world);
    const store = await ImageStore.open(lender.paths.images);
    {
      await using draft = await store.draft();
      await runChecked("qemu-img", [
        "create",
        "-f",
        "qcow2",
        join(draft.folder, "disk.qcow2"),
        "1G",
      ]);
      await draft.commit({
        name: "blank",
        arch: Deno.build.arch,
        virtualSizeMiB: 1024,
        boot: { kind: "disk" },
        replace: false,
      });
    }
    await lender.startDaemon();
    const words = await borrower.fails(1, ...REQUEST);
    assert.match(words, /stage kernel not reached after \d+\.\d s: the disk has no boot loader/);
    assert.match(words, /last console lines:\n.*SeaBIOS/);
    assert.match(words, /Next: Check that the image boots/);
    await assertNothingLeft(world);
    assert.equal(await borrower.hasTun(), true, "the device stays with the daemon that made it");
    await borrower.ok("daemon", "stop");
    assert.equal(await borrower.hasTun(), false);
  },
);

testIf(missing, "V6: --timeout holds, names the stage, and leaves nothing", async () => {
  await using world = await twoMachines();
  await world.lender.shareImages();
  await shareLink(world);
  await using idle = await idleGuests();
  await world.lender.startDaemonWith({ PATH: idle.PATH });
  const { limitS, code, stderr } = await outOfTime(async (limitS) => {
    const args = [...REQUEST, "--timeout", `${limitS}`];
    return { limitS, ...await world.borrower.run(args, { timeoutMs: 120_000 }) };
  }, (result) => result.stderr.includes("(accepted"));
  assert.equal(code, 4, stderr);
  const words = `Cannot borrow VM "web": stage [a-z-]+ not reached within ${limitS} s \\(accepted`;
  assert.match(stderr, new RegExp(words));
  assert.match(stderr, /Next: Allow more time with --timeout/);
  await assertNothingLeft(world);
});
