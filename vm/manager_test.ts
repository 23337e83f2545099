import assert from "node:assert/strict";
import { join } from "node:path";
import { mock } from "node:test";
import { OmertaError } from "../lib/core/errors.ts";
import { newVmId, type VmId } from "../lib/core/ids.ts";
import { spawn, startTimeOf } from "../lib/core/process.ts";
import { generateSshKey } from "../lib/core/ssh_key.ts";
import type { Accelerator } from "./accelerator.ts";
import type { Hypervisor, Machine, MachineHooks, MachineSpec, VmPaths } from "./hypervisor.ts";
import { VmManager, type VmSpec } from "./manager.ts";

/** Runs no guest: the test speaks for it. */
class FakeHypervisor implements Hypervisor {
  readonly started: { accelerator: Accelerator; say: (text: string) => Promise<void> }[] = [];
  readonly calls: string[] = [];
  /** Throws at this call. */
  failAt = "";
  /** Called at each call. */
  onCall: (call: string) => void = () => {};
  #live = 0;

  get live(): number {
    return this.#live;
  }

  #called(call: string): void {
    this.calls.push(call);
    this.onCall(call);
    if (call === this.failAt) throw new OmertaError("fake", `Cannot ${call}`);
  }

  check(): Promise<void> {
    this.#called("check");
    return Promise.resolve();
  }

  async makeDisk(_spec: MachineSpec, paths: VmPaths, signal: AbortSignal): Promise<void> {
    await Deno.writeTextFile(paths.disk, "");
    this.#called("makeDisk");
    signal.throwIfAborted();
  }

  async start(
    _spec: MachineSpec,
    paths: VmPaths,
    accelerator: Accelerator,
    hooks: MachineHooks,
  ): Promise<Machine> {
    await Deno.writeTextFile(paths.controlSocket, "");
    this.#called("start");
    hooks.signal.throwIfAborted();
    await hooks.onProcess(Deno.pid);
    this.#live++;
    const exited = Promise.withResolvers<string>();
    const leave = (reason: string): Promise<void> => Promise.resolve(exited.resolve(reason));
    void exited.promise.then(() => this.#live--);
    const say = async (text: string): Promise<void> => {
      if (text === "crash") await leave("QEMU was ended by SIGKILL");
      else await hooks.onConsole(new TextEncoder().encode(text));
    };
    this.started.push({ accelerator, say });
    return {
      pid: Deno.pid,
      exited: exited.promise,
      powerDown: () => {
        this.calls.push("powerDown");
        return leave("the guest switched itself off");
      },
      end: async () => {
        await leave("it was asked to end");
        await exited.promise;
      },
    };
  }

  endLeftover(): Promise<boolean> {
    return Promise.resolve(false);
  }
}

interface World {
  readonly folder: string;
  readonly fake: FakeHypervisor;
  readonly manager: VmManager;
  readonly warnings: string[];
}

async function withWorld(
  test: (world: World) => Promise<void>,
  accelerator: Accelerator = "tcg",
  now: () => number = () => performance.now(),
): Promise<void> {
  const home = await Deno.makeTempDir();
  const folder = join(home, "vms");
  const fake = new FakeHypervisor();
  const warnings: string[] = [];
  const manager = new VmManager({
    ...{ folder, hypervisor: fake, accelerator, now },
    onWarning: (warning) => warnings.push(warning),
  });
  try {
    await test({ folder, fake, manager, warnings });
    await manager.stopAll();
    assert.equal(fake.live, 0);
  } finally {
    await manager.stopAll();
    await Deno.remove(home, { recursive: true });
  }
}

function specOf(id: VmId = newVmId()): VmSpec {
  return {
    id,
    name: "web",
    cpus: 1,
    memoryMiB: 256,
    diskGiB: 1,
    image: {
      id: "0123456789abcdef",
      name: "test",
      arch: "x86_64",
      disk: import.meta.filename ?? "",
      virtualSizeMiB: 64,
      boot: { kind: "disk" },
      created: "2026-01-01T00:00:00Z",
    },
    network: { kind: "none" },
    seed: {
      vmId: id,
      hostname: "web",
      user: "omerta",
      sshAuthorizedKeys: [],
      hostKey: generateSshKey("host"),
      network: { kind: "none" },
      firewall: false,
    },
  };
}

/** What is left of VMs. */
function vmFolders(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name)
    .filter((name) => name !== "accelerator");
}

Deno.test("V8: create() passes the stages in order and calls beforeStart in between", async () => {
  await withWorld(async ({ manager, fake, folder }) => {
    const seen: string[] = [];
    const spec = specOf();
    const vm = await manager.create(spec, {
      onStage: (stage) => seen.push(stage),
      beforeStart: async (early) => {
        seen.push(`hook ${early.state}`);
        await Deno.stat(join(early.folder, "seed.iso"));
        assert.equal(early.pid, undefined);
      },
    });
    assert.equal(vm.state, "running");
    assert.equal(manager.get(spec.id), vm);
    const kernel = vm.waitFor("kernel");
    await fake.started[0]?.say("[    0.000000] Linux version 6\nOMERTA-STAGE cloud-init 12\n");
    await kernel;
    await vm.waitFor("cloud-init");
    vm.reach("ready");
    assert.deepEqual(seen, [
      ...["accepted", "disk", "hook starting", "qemu", "kernel", "cloud-init", "ready"],
    ]);
    assert.deepEqual(vmFolders(folder), [spec.id]);
    await vm.stop();
    assert.equal(await vm.exited, "it was stopped");
    assert.equal(vm.state, "stopped");
    assert.ok(fake.calls.includes("powerDown"));
    assert.deepEqual(vmFolders(folder), []);
    assert.deepEqual(manager.list(), []);
    await assert.rejects(
      vm.waitFor("ssh").then(() => vm.waitFor("ready")).then(() => {
        throw new OmertaError("reached", "Cannot fail: ready was reached");
      }),
      { code: "reached" },
    );
  });
});

Deno.test.each(["check", "makeDisk", "start"])(
  "create() leaves nothing when %s fails",
  async (call) => {
    await withWorld(async ({ manager, fake, folder }) => {
      fake.failAt = call;
      await assert.rejects(manager.create(specOf()), { code: "fake" });
      assert.deepEqual(vmFolders(folder), []);
      assert.deepEqual(manager.list(), []);
    });
  },
);

Deno.test.each(["check", "makeDisk", "start", "beforeStart"])(
  "create() leaves nothing when it is aborted in %s",
  async (call) => {
    await withWorld(async ({ manager, fake, folder }) => {
      const controller = new AbortController();
      const abort = (at: string): void => {
        if (at === call) controller.abort(new Error("Enough"));
      };
      fake.onCall = abort;
      const creating = manager.create(specOf(), {
        signal: controller.signal,
        beforeStart: () => Promise.resolve(abort("beforeStart")),
      });
      await assert.rejects(creating, /Enough/);
      assert.deepEqual(vmFolders(folder), []);
      assert.deepEqual(manager.list(), []);
    });
  },
);

Deno.test("create() leaves nothing when the hook fails", async () => {
  await withWorld(async ({ manager, folder, fake }) => {
    const beforeStart = (): Promise<void> => Promise.reject(new Error("No cable"));
    await assert.rejects(manager.create(specOf(), { beforeStart }), /No cable/);
    assert.deepEqual(vmFolders(folder), []);
    assert.ok(!fake.calls.includes("start"));
  });
});

Deno.test("N14: create() calls afterStart when the hypervisor runs, and ends it when that fails", async () => {
  await withWorld(async ({ folder, fake, manager }) => {
    const live: number[] = [];
    const afterStart = (): Promise<void> => Promise.resolve(void live.push(fake.live));
    const vm = await manager.create(specOf(), { afterStart });
    assert.deepEqual(live, [1]);
    await vm.stop({ graceMs: 0 });
    const failing = (): Promise<void> => Promise.reject(new Error("No guard"));
    await assert.rejects(manager.create(specOf(), { afterStart: failing }), /No guard/);
    assert.deepEqual([fake.live, vmFolders(folder)], [0, []]);
  });
});

Deno.test("create() ends in order when the VM is stopped meanwhile", async () => {
  await withWorld(async ({ manager, folder }) => {
    const creating = manager.create(specOf(), {
      beforeStart: (vm) => {
        void vm.stop();
        return Promise.resolve();
      },
    });
    await assert.rejects(creating, { code: "vm-stopped" });
    assert.deepEqual(vmFolders(folder), []);
  });
});

Deno.test("create() refuses an id that is in use, and leaves the first VM alone", async () => {
  await withWorld(async ({ manager }) => {
    const spec = specOf();
    const vm = await manager.create(spec);
    await assert.rejects(manager.create(spec), { code: "vm-exists" });
    assert.equal(vm.state, "running");
    await Deno.stat(vm.folder);
  });
});

Deno.test("create() refuses an id that is no id, a missing image and too little memory", async () => {
  await withWorld(async ({ manager }) => {
    const spec = specOf();
    await assert.rejects(manager.create({ ...spec, id: "../../etc" as VmId }), {
      code: "bad-vm-id",
    });
    const image = { ...spec.image, disk: "/nowhere/disk" };
    await assert.rejects(manager.create({ ...spec, image }), { code: "image-missing", exit: 3 });
    await assert.rejects(manager.create({ ...spec, memoryMiB: 96 }), {
      code: "bad-memory",
      message: 'Cannot create VM "web": memory is 96 MiB, need at least 256 MiB',
    });
  });
});

Deno.test("V8: a fault on the console ends the VM with stage and last lines", async () => {
  await withWorld(async ({ manager, fake, folder }) => {
    const vm = await manager.create(specOf());
    const waiting = assert.rejects(vm.waitFor("ready"), {
      code: "vm-failed",
      message: /stage cloud-init not reached .*kernel panic: no init(.|\n)*\n {2}.*Linux version/,
    });
    const text = "[    0.000000] Linux version 6\n[ 1.0] Kernel panic - not syncing: no init\n";
    await fake.started[0]?.say(text);
    await waiting;
    assert.equal(vm.state, "failed");
    await assert.rejects(vm.waitFor("kernel").then(() => vm.waitFor("ssh")), { code: "vm-failed" });
    assert.deepEqual(vmFolders(folder), []);
  });
});

Deno.test("a fault on the console is the borrower's own affair once the VM is ready", async () => {
  await withWorld(async ({ manager, fake }) => {
    const vm = await manager.create(specOf());
    vm.reach("ready");
    await fake.started[0]?.say("OMERTA-FAULT printed by a user\n");
    assert.equal(vm.state, "running");
  });
});

Deno.test("a hypervisor that crashes ends the VM and says so", async () => {
  await withWorld(async ({ manager, fake, folder }) => {
    const vm = await manager.create(specOf());
    const waiting = assert.rejects(vm.waitFor("kernel"), /QEMU was ended by SIGKILL/);
    await fake.started[0]?.say("crash");
    await waiting;
    assert.equal(await vm.exited, "QEMU was ended by SIGKILL");
    assert.deepEqual(vmFolders(folder), []);
  });
});

Deno.test("waitFor() gives up after its own time and leaves the VM alone", async () => {
  await withWorld(async ({ manager }) => {
    const vm = await manager.create(specOf());
    await assert.rejects(vm.waitFor("kernel", { timeoutMs: 5 }), { code: "vm-timeout", exit: 4 });
    const controller = new AbortController();
    const waiting = vm.waitFor("kernel", { signal: controller.signal });
    controller.abort(new Error("Enough"));
    await assert.rejects(waiting, /Enough/);
    assert.equal(vm.state, "running");
  });
});

/** Runs `test` with timers that only move when it says so. */
async function withClock(
  accelerator: Accelerator,
  test: (world: World, pass: (ms: number) => Promise<void>) => Promise<void>,
): Promise<void> {
  let now = 0;
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    await withWorld(
      (world) =>
        test(world, async (ms) => {
          now += ms;
          mock.timers.tick(ms);
          // What the timers began goes through the file system, which has no fake.
          const { promise, resolve } = Promise.withResolvers<void>();
          setImmediate(resolve);
          await promise;
        }),
      accelerator,
      () => now,
    );
  } finally {
    mock.timers.reset();
  }
}

/** Lets the file system finish what `done` waits for; at most some thousand turns. */
async function until(done: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000 && !done(); turn++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    setImmediate(resolve);
    await promise;
  }
  assert.ok(done());
}

Deno.test("V1: a guest that prints nothing under KVM is started again under TCG, and that is remembered", async () => {
  await withClock("kvm", async ({ manager, fake, folder, warnings }, pass) => {
    const vm = await manager.create(specOf());
    assert.equal(vm.accelerator, "kvm");
    await pass(14_999);
    assert.equal(fake.started.length, 1);
    await pass(1);
    await until(() => fake.started.length === 2);
    assert.equal(fake.started[1]?.accelerator, "tcg");
    assert.equal(vm.accelerator, "tcg");
    await until(() => vm.state === "running");
    await fake.started[1]?.say("[    0.000000] Linux version 6\n");
    await vm.waitFor("kernel");
    await until(() => vmFolders(folder).length === 1 && warnings.length === 1);
    assert.match(warnings[0] ?? "", /KVM did not run the VM/);
    await until(() => [...Deno.readDirSync(folder)].some((entry) => entry.name === "accelerator"));
  });
});

Deno.test("V1: a hypervisor that crashes under KVM is started again under TCG", async () => {
  await withWorld(async ({ manager, fake, warnings }) => {
    const vm = await manager.create(specOf());
    await fake.started[0]?.say("crash");
    await until(() => fake.started.length === 2);
    await fake.started[1]?.say("[    0.000000] Linux version 6\n");
    await vm.waitFor("kernel");
    assert.equal(vm.accelerator, "tcg");
    await until(() => warnings.length === 1);
    // Under TCG a crash is the end.
    const ended = assert.rejects(vm.waitFor("ready"), /QEMU was ended by SIGKILL/);
    await fake.started[1]?.say("crash");
    await ended;
  }, "kvm");
});

Deno.test("V1: a hypervisor that does not start under KVM is started again under TCG", async () => {
  await withWorld(async ({ manager, fake }) => {
    fake.failAt = "start";
    fake.onCall = (call) => {
      if (fake.calls.filter((each) => each === "start").length === 2) fake.failAt = "";
      assert.notEqual(call, "");
    };
    const vm = await manager.create(specOf());
    assert.deepEqual(fake.started.map(({ accelerator }) => accelerator), ["tcg"]);
    assert.equal(vm.stages.reached.qemu !== undefined, true);
  }, "kvm");
});

Deno.test("V8: a guest that prints nothing under TCG either ends with its stage, and KVM is not blamed", async () => {
  await withClock("kvm", async ({ manager, fake, folder, warnings }, pass) => {
    const vm = await manager.create(specOf());
    const waiting = assert.rejects(vm.waitFor("ready"), {
      code: "vm-failed",
      message:
        /stage kernel not reached after 75\.0 s: its kernel printed nothing in 60 s; the console is empty/,
    });
    await pass(15_000);
    await until(() => fake.started.length === 2 && vm.state === "running");
    await pass(60_000);
    await waiting;
    assert.deepEqual(warnings, []);
    assert.deepEqual(vmFolders(folder), []);
  });
});

Deno.test("V8: a guest that hangs in cloud-init ends with its stage", async () => {
  await withClock("tcg", async ({ manager, fake }, pass) => {
    const vm = await manager.create(specOf());
    const waiting = assert.rejects(vm.waitFor("ready"), /stage cloud-init not reached after 301/);
    await pass(1_000);
    await fake.started[0]?.say("[    0.000000] Linux version 6\n");
    await pass(300_000);
    await waiting;
  });
});

Deno.test("V8: a guest whose tunnel does not come up ends with its stage", async () => {
  await withClock("tcg", async ({ manager, fake }, pass) => {
    const spec = specOf();
    const key = "A".repeat(43) + "=";
    const wireguard = {
      ...{ privateKey: key, peerPublicKey: key, address: "10.0.0.2/32", keepaliveSeconds: 25 },
      ...{ endpoint: "192.168.100.1:51820", mtu: 1420 } as const,
    };
    const vm = await manager.create({ ...spec, seed: { ...spec.seed, wireguard } });
    const waiting = assert.rejects(vm.waitFor("ready"), {
      message: /stage tunnel not reached .*no packet came through its tunnel in 120 s/,
    });
    await fake.started[0]?.say("OMERTA-STAGE cloud-init 12\n");
    await pass(120_000);
    await waiting;
  });
});

Deno.test("a guest without a tunnel is not watched for one", async () => {
  await withClock("tcg", async ({ manager, fake }, pass) => {
    const vm = await manager.create(specOf());
    await fake.started[0]?.say("OMERTA-STAGE cloud-init 12\n");
    await pass(1_000_000);
    assert.equal(vm.state, "running");
  });
});

Deno.test("V10: sweep() ends and removes what a process that is gone left behind, and nothing else", async () => {
  await withWorld(async ({ manager, folder }) => {
    const mine = await manager.create(specOf());
    const machine = spawn("sleep", ["600"]);
    const stranger = spawn("sleep", ["600"]);
    try {
      const mark = { pid: machine.pid, startTime: await startTimeOf(machine.pid) };
      const gone = { pid: Deno.pid, startTime: "1" };
      const leave = async (name: string, record: unknown): Promise<void> => {
        const path = join(folder, newVmId());
        await Deno.mkdir(path);
        await Deno.writeTextFile(join(path, "vm.json"), JSON.stringify(record) ?? name);
      };
      await leave("orphan", { name: "orphan", owner: gone, machine: mark });
      // The same process id, begun at another time: another process.
      const reused = { pid: stranger.pid, startTime: "1" };
      await leave("reused", { name: "reused", owner: gone, machine: reused });
      await leave("damaged", undefined);
      await Deno.mkdir(join(folder, "not-a-vm"));
      const report = await manager.sweep();
      assert.equal(report.others, 1);
      assert.deepEqual(report.done.map((line) => line.replace(/\b[0-9a-f]{16}\b/, "ID")).sort(), [
        'Ended and removed VM "orphan" (ID): its owner is gone',
        'Removed what was left of VM "reused" (ID)',
        "Removed what was left of VM ID, whose record was damaged",
      ]);
      assert.equal((await machine.status).signal, "SIGKILL");
      assert.notEqual(await startTimeOf(stranger.pid), undefined);
      assert.deepEqual(vmFolders(folder).sort(), [mine.id, "not-a-vm"].sort());
      assert.deepEqual(await manager.sweep(), { done: [], others: 1 });
    } finally {
      stranger.kill("SIGKILL");
      await stranger.status;
    }
  });
});
