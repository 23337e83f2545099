import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { newVmId } from "../lib/core/ids.ts";
import { spawn, startTimeOf } from "../lib/core/process.ts";
import { generateSshKey } from "../lib/core/ssh_key.ts";
import { VmManager, type VmSpec } from "./manager.ts";
import { readState, Vfkit } from "./vfkit.ts";

const FAKE = join(import.meta.dirname ?? ".", "..", "tests", "doubles", "fake_vfkit.ts");
const MAC = "52:54:00:00:00:01";

function fakeVfkit(): Vfkit {
  return new Vfkit({ program: Deno.execPath(), before: ["run", "-A", "--quiet", FAKE] });
}

function specOf(disk: string): VmSpec {
  const id = newVmId();
  return {
    ...{ id, name: "mac", cpus: 1, memoryMiB: 256, diskGiB: 1 },
    image: {
      ...{ id: "0123456789abcdef", name: "test", arch: Deno.build.arch, disk },
      ...{ virtualSizeMiB: 1, boot: { kind: "disk" }, created: "2026-01-01T00:00:00Z" },
    },
    network: { kind: "cable", mac: MAC },
    seed: {
      ...{ vmId: id, hostname: "mac", user: "omerta", sshAuthorizedKeys: [], firewall: true },
      hostKey: generateSshKey("host"),
      network: { kind: "cable", mac: MAC },
    },
  };
}

/** A hypervisor whose disk needs no qemu-img. */
class DiskLessVfkit extends Vfkit {
  override async makeDisk(...[, paths]: Parameters<Vfkit["makeDisk"]>): Promise<void> {
    await Deno.writeTextFile(paths.disk, "");
  }
}

async function withHome(test: (vms: string) => Promise<void>): Promise<void> {
  const home = await Deno.makeTempDir();
  try {
    await test(join(home, "vms"));
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

Deno.test("V2: Vfkit() runs a VM through its helper: stages, cable, power button, nothing left", async () => {
  await withHome(async (vms) => {
    const hypervisor = new DiskLessVfkit({
      program: Deno.execPath(),
      before: ["run", "-A", "--quiet", FAKE],
    });
    const manager = new VmManager({ folder: vms, hypervisor, accelerator: "hvf" });
    let cable: Deno.DatagramConn | undefined;
    try {
      const vm = await manager.create(specOf(FAKE), {
        beforeStart: ({ cablePath }) => {
          cable = Deno.listenDatagram({ transport: "unixpacket", path: cablePath });
          return Promise.resolve();
        },
      });
      assert.ok(cable);
      await vm.waitFor("cloud-init", { timeoutMs: 10_000 });
      assert.equal(new TextDecoder().decode((await cable.receive())[0]), "VFKT");
      await cable.send(Uint8Array.of(1, 2, 3), { transport: "unixpacket", path: vm.guestPath });
      assert.deepEqual([...(await cable.receive())[0]], [1, 2, 3]);
      const { pid } = vm;
      await vm.stop();
      assert.deepEqual(vm.consoleLines(1), ["Stop"]);
      assert.equal(await startTimeOf(pid ?? 0), undefined);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(vms)), []);
    } finally {
      cable?.close();
      await manager.stopAll();
    }
  });
});

Deno.test("V2: Vfkit() says what its helper said when it does not start", async () => {
  await withHome(async (vms) => {
    const hypervisor = new DiskLessVfkit({
      program: "sh",
      before: ["-c", 'test "$0" = --version || { echo no such device >&2; exit 3; }'],
    });
    const manager = new VmManager({ folder: vms, hypervisor, accelerator: "hvf" });
    await assert.rejects(manager.create(specOf(FAKE)), {
      code: "vfkit-failed",
      message: /Cannot start VM "mac": .*no such device/,
    });
    assert.deepEqual(await Array.fromAsync(Deno.readDir(vms)), []);
  });
});

Deno.test("V2: Vfkit() ends a helper that a killed owner left behind", async () => {
  await withHome(async (vms) => {
    await Deno.mkdir(vms);
    const socket = join(vms, "ctl.sock");
    const args = ["--restful-uri", `unix://${socket}`];
    args.push("--device", `virtio-serial,logFilePath=${join(vms, "serial.log")}`);
    await Deno.writeTextFile(join(vms, "serial.log"), "");
    const helper = spawn(Deno.execPath(), ["run", "-A", "--quiet", FAKE, ...args]);
    const vfkit = fakeVfkit();
    for (let ended = false; !ended;) ended = await vfkit.endLeftover(socket);
    assert.equal((await helper.status).code, 0);
    assert.equal(await vfkit.endLeftover(join(vms, "nothing.sock")), false);
  });
});

Deno.test("V2: Vfkit.check() refuses a missing helper, another processor and a forwarded port", async () => {
  const { signal } = new AbortController();
  const missing = new Vfkit({ program: "no-such-vfkit" });
  const cable = { kind: "cable", mac: MAC } as const;
  await assert.rejects(missing.check(Deno.build.arch, cable, signal), {
    code: "vfkit-missing",
    exit: 3,
  });
  const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
  await assert.rejects(missing.check(other, cable, signal), { code: "wrong-arch" });
  await assert.rejects(missing.check(Deno.build.arch, { kind: "user", sshPort: 1 }, signal), {
    code: "no-such-network",
  });
});

Deno.test("readState() reads the state and never throws", () => {
  assert.equal(
    readState('{"state":"VirtualMachineStateStopped","canStart":true}'),
    "VirtualMachineStateStopped",
  );
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
    readState(text);
  }));
});
