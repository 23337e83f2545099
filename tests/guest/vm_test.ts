import assert from "node:assert/strict";
import { join } from "node:path";
import { exists } from "../../lib/core/files.ts";
import { newVmId } from "../../lib/core/ids.ts";
import { runChecked, spawn, startTimeOf } from "../../lib/core/process.ts";
import { takenMemory } from "../../lib/node/host_now.ts";
import { bootTest } from "../../vm/boot_trial.ts";
import { vmPaths } from "../../vm/hypervisor.ts";
import { VmManager } from "../../vm/manager.ts";
import { qemuProgram } from "../../vm/qemu_command.ts";
import { QmpClient, type QmpEvent } from "../../vm/qmp.ts";
import type { Stage } from "../../vm/stages.ts";
import { IDLE, outOfTime } from "../support/idle_guest.ts";
import { testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import { guestImage, guestMissing } from "./guest_image.ts";
import { vmSpec } from "./vm_spec.ts";

const BOOT_MS = 240_000;

/** Runs `test` with a folder for VMs, and checks that nothing is left of them. */
async function withVms(test: (vms: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  const vms = join(folder, "vms");
  try {
    await test(vms);
    assert.deepEqual(await leftIn(vms), []);
    assert.deepEqual(await processesOf(vms), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function leftIn(vms: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(vms));
  return entries.map((entry) => entry.name);
}

/** Ids of the processes that have a path below `folder` in their arguments. */
async function processesOf(folder: string): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
    const line = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (line.includes(`${folder}/`)) found.push(Number(name));
  }
  return found;
}

/** A QEMU without a machine that listens for QMP. */
function spawnEmptyQemu(qmpSocket: string): Deno.ChildProcess {
  return spawn(qemuProgram(Deno.build.arch), [
    ...["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S"],
    ...["-qmp", `unix:${qmpSocket},server=on,wait=off`],
  ], { stdout: "null", stderr: "null", stdin: "null" });
}

async function end(child: Deno.ChildProcess): Promise<void> {
  if (await startTimeOf(child.pid) !== undefined) child.kill("SIGKILL");
  await child.status;
}

testIf(guestMissing, "V1: QmpClient() speaks with a real QEMU", async () => {
  const folder = await Deno.makeTempDir();
  const path = join(folder, "q.sock");
  const qemu = spawnEmptyQemu(path);
  try {
    await until(() => exists(path), { what: "the QMP socket" });
    const events: QmpEvent[] = [];
    await using client = await QmpClient.connect(path, { onEvent: (event) => events.push(event) });
    assert.match(await client.version, /^\d+\.\d+\.\d+$/);
    assert.deepEqual(await client.execute("query-status"), {
      ...{ running: false, singlestep: false, status: "prelaunch" },
    });
    await assert.rejects(client.execute("no-such-command"), {
      code: "qmp-error",
      message: /no-such-command in QEMU: The command no-such-command has not been found/,
    });
    await client.execute("quit");
    await client.closed;
    assert.ok(events.some(({ event }) => event === "SHUTDOWN"));
    assert.equal((await qemu.status).code, 0);
  } finally {
    await end(qemu);
    await Deno.remove(folder, { recursive: true });
  }
});

testIf(
  guestMissing,
  "V7: console-boot: a guest sets itself up, and shuts down cleanly",
  async () => {
    await withVms(async (vms) => {
      const image = await guestImage();
      const before = await Deno.stat(image.disk);
      const manager = new VmManager({ folder: vms });
      const stages: Stage[] = [];
      const result = await bootTest({
        ...{ mode: "console-boot", manager, image, timeoutMs: BOOT_MS, memoryMiB: 512, keep: true },
        onStage: (stage) => stages.push(stage),
      });
      assert.equal(result.error, undefined);
      assert.match(result.proof, /boot-test-[0-9a-f]{4}/);
      assert.deepEqual(stages, ["accepted", "disk", "qemu", "kernel", "cloud-init", "ready"]);
      const { vm } = result;
      assert.ok(vm);
      const taken = takenMemory(vm.pid, 512);
      assert.ok(taken > 64 && taken <= 512, `F9: it has taken ${taken} MiB`);
      await vm.stop({ graceMs: 120_000 });
      assert.match(vm.consoleLines(500).join("\n"), /reboot: Power down/);
      assert.equal(await vm.exited, "it was stopped");
      const after = await Deno.stat(image.disk);
      assert.deepEqual([after.mtime, after.size], [before.mtime, before.size]);
    });
  },
);

testIf(guestMissing, "V7: direct-ssh: a command runs over one forwarded port", async () => {
  await withVms(async (vms) => {
    const image = await guestImage();
    const manager = new VmManager({ folder: vms });
    const result = await bootTest({
      ...{ mode: "direct-ssh", manager, image, timeoutMs: BOOT_MS, memoryMiB: 512 },
    });
    assert.equal(result.error, undefined);
    assert.match(result.proof, /^boot-test-[0-9a-f]{4}, Linux \d/);
    assert.ok(
      (result.stages.reached.ssh ?? 0) >= (result.stages.reached["cloud-init"] ?? Infinity),
    );
    assert.equal(result.vm, undefined);
  });
});

testIf(guestMissing, "V8: a test that runs out of time says how far it came", async () => {
  await withVms(async (vms) => {
    const whole = await guestImage();
    assert.equal(whole.boot.kind, "kernel");
    const boot = { ...whole.boot, append: `${whole.boot.append} ${IDLE}` };
    const image = { ...whole, boot };
    const manager = new VmManager({ folder: vms });
    const result = await outOfTime((limitS) =>
      bootTest({
        ...{ mode: "console-boot", manager, image, timeoutMs: limitS * 1000, memoryMiB: 512 },
      }), ({ stages }) => stages.reached.qemu !== undefined);
    assert.match(result.error?.message ?? "", /stage (?:kernel|cloud-init) not reached after/);
    assert.notEqual(result.stages.failure, undefined);
  });
});

testIf(guestMissing, "V8: a disk without a system ends with stage and console lines", async () => {
  await withVms(async (vms) => {
    const folder = await Deno.makeTempDir();
    try {
      const disk = join(folder, "empty.qcow2");
      await runChecked("qemu-img", ["create", "-q", "-f", "qcow2", disk, "64M"]);
      const image = { ...await guestImage(), disk, boot: { kind: "disk" } as const };
      const manager = new VmManager({ folder: vms });
      const vm = await manager.create(vmSpec(image, "empty"));
      await assert.rejects(vm.waitFor("kernel"), {
        code: "vm-failed",
        message:
          /stage kernel not reached .*no boot loader; last console lines:\n(.|\n)*No bootable/,
      });
      assert.equal(vm.state, "failed");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});

testIf(guestMissing, "V8: a kernel without its root ends with the kernel's words", async () => {
  await withVms(async (vms) => {
    const image = await guestImage();
    assert.equal(image.boot.kind, "kernel");
    const boot = { ...image.boot, append: "root=/dev/nothing console=ttyS0 rdinit=/nothing" };
    const manager = new VmManager({ folder: vms });
    const vm = await manager.create(vmSpec({ ...image, boot }, "rootless"));
    await assert.rejects(vm.waitFor("cloud-init"), {
      code: "vm-failed",
      message: /stage cloud-init not reached .*found no root device/,
    });
  });
});

for (const stage of ["accepted", "disk", "qemu", "kernel", "cloud-init"] as const) {
  testIf(guestMissing, `V10: Ctrl-C at stage ${stage} leaves nothing`, async () => {
    await withVms(async (vms) => {
      const image = await guestImage();
      const controller = new AbortController();
      const test = bootTest({
        ...{ mode: "direct-ssh", image, timeoutMs: BOOT_MS, memoryMiB: 512 },
        manager: new VmManager({ folder: vms }),
        signal: controller.signal,
        onStage: (reached) => {
          if (reached === stage) controller.abort(new Error("Ctrl-C"));
        },
      });
      await assert.rejects(test, /Ctrl-C/);
    });
  });
}

testIf(guestMissing, "V10: a VM whose QEMU is killed ends, with the reason", async () => {
  await withVms(async (vms) => {
    const manager = new VmManager({ folder: vms });
    const vm = await manager.create(vmSpec(await guestImage(), "killed"));
    await vm.waitFor("kernel");
    Deno.kill(vm.pid ?? 0, "SIGKILL");
    await assert.rejects(vm.waitFor("cloud-init"), /QEMU was ended by SIGKILL/);
    assert.deepEqual(manager.list(), []);
  });
});

testIf(
  guestMissing,
  "V10: a VM of a process that was killed is ended by the next manager",
  async () => {
    await withVms(async (vms) => {
      await guestImage();
      const script = join(import.meta.dirname ?? ".", "_manager_process.ts");
      const owner = spawn(Deno.execPath(), ["run", "-A", "--quiet", script, vms], {
        ...{ stdin: "null", stdout: "piped", stderr: "inherit" },
      });
      let line = "";
      for await (const text of owner.stdout.pipeThrough(new TextDecoderStream())) {
        line += text;
        if (!line.includes("\n")) continue;
        const { pid } = JSON.parse(line);
        const other = new VmManager({ folder: vms });
        assert.deepEqual(await other.sweep(), { done: [], others: 1 });
        owner.kill("SIGKILL");
        await owner.status;
        assert.notEqual(await startTimeOf(pid), undefined);
        const report = await new VmManager({ folder: vms }).sweep();
        assert.match(report.done.join("; "), /^Ended and removed VM "orphan" \([0-9a-f]{16}\)/);
        assert.equal(await startTimeOf(pid), undefined);
      }
      assert.notEqual(line, "");
    });
  },
);

testIf(
  guestMissing,
  "V10: a machine that was not recorded yet is ended by its own socket",
  async () => {
    await withVms(async (vms) => {
      // What a crash between starting QEMU and writing down its process leaves.
      const paths = vmPaths(vms, newVmId());
      await Deno.mkdir(paths.folder, { recursive: true });
      const record = { name: "early", owner: { pid: Deno.pid, startTime: "1" } };
      await Deno.writeTextFile(paths.record, JSON.stringify(record));
      const qemu = spawnEmptyQemu(paths.controlSocket);
      try {
        await until(() => exists(paths.controlSocket), { what: "the QMP socket" });
        const report = await new VmManager({ folder: vms }).sweep();
        assert.match(report.done.join("; "), /^Ended and removed VM "early"/);
        assert.equal((await qemu.status).code, 0);
      } finally {
        await end(qemu);
      }
    });
  },
);
