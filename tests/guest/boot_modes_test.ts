import assert from "node:assert/strict";
import { join } from "node:path";
import { runChecked, type RunResult } from "../../lib/core/process.ts";
import type { Namespace } from "../netlab/netlab.ts";
import { NetLab, netlabMissing } from "../netlab/netlab.ts";
import { binWith } from "../support/bin.ts";
import { Home } from "../support/home.ts";
import { idleGuests, outOfTime } from "../support/idle_guest.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ??
  commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "ping", "unshare", "setpriv");

/** Time for a translated guest on a busy host, in ms. */
const BOOT_MS = 240_000;
const MAIN = join(import.meta.dirname ?? ".", "..", "..", "cli", "main.ts");

/** Runs a boot test of root that may not make a network namespace. */
async function withoutRights(machine: Namespace, home: Home, mode: string): Promise<RunResult> {
  const rights = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"];
  return await machine.run(
    "setpriv",
    [...rights, Deno.execPath(), "run", "-A", "--quiet", MAIN, "vm", "boot-test", "--mode", mode],
    { env: { OMERTA_HOME: home.path, NO_COLOR: "1" } },
  );
}

async function assertNothingLeft(home: Home): Promise<void> {
  assert.deepEqual(await home.processes(), []);
  assert.deepEqual(await home.vmFolders(), []);
  const entries = await Array.fromAsync(Deno.readDir(home.path));
  assert.deepEqual(entries.filter(({ name }) => name.startsWith("pair-")), []);
}

/** Starts a boot test, kills it when QEMU has started the guest, and leaves the rest to others. */
async function killAtKernel(home: Home, mode: string): Promise<void> {
  const child = home.spawn(["vm", "boot-test", "--mode", mode, "--memory", "512"], {
    stdout: "piped",
    stderr: "null",
  });
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.includes("  kernel ")) child.kill("SIGKILL");
  }
  assert.match(text, /^ {2}kernel /m);
  assert.equal((await child.status).signal, "SIGKILL");
}

testIf(missing, "V7: vm boot-test: reverse-ssh, tap-ping and e2e, and nothing left", async (t) => {
  await using lab = await NetLab.create();
  const machine = await lab.namespace("host");
  await using home = await Home.create(machine);
  await home.shareImages();
  const interfaces = async (): Promise<string> => {
    const [here, inLab] = await Promise.all([
      runChecked("ip", ["-brief", "link"]),
      machine.runChecked("ip", ["-brief", "link"]),
    ]);
    return here.stdout.replaceAll(/^(?!omerta(?:0|-test)\b).*\n/gm, "") + inLab.stdout;
  };
  const before = await interfaces();
  const passes = async (mode: string, stages: readonly string[]): Promise<string> => {
    const result = await home.run(["vm", "boot-test", "--mode", mode, "--memory", "512"], {
      timeoutMs: BOOT_MS,
    });
    assert.equal(result.code, 0, result.stdout + result.stderr);
    const seen = [...result.stdout.matchAll(/^ {2}([a-z-]+) +[0-9.]+ s$/gm)].map((m) => m[1]);
    // The tunnel may be up before cloud-init says that it has finished.
    assert.deepEqual(seen.filter((stage) => stage !== "cloud-init"), stages);
    await assertNothingLeft(home);
    assert.equal(await interfaces(), before);
    return /^Passed \((.*)$/m.exec(result.stdout)?.[1] ?? result.stdout;
  };

  await t.step("without the rights, or the program, it says what is missing", async () => {
    for (const mode of ["tap-ping", "e2e"]) {
      const result = await withoutRights(machine, home, mode);
      assert.equal(result.code, 3, result.stderr);
      assert.match(result.stderr, new RegExp(`Cannot run boot test ${mode}: it needs root`));
      assert.match(result.stderr, /Next: Run it with sudo/);
      await using bin = await binWith("qemu-system-x86_64", "qemu-img", "ssh", "ip");
      const without = await home.run(["vm", "boot-test", "--mode", mode], {
        env: { PATH: bin.path },
      });
      assert.equal(without.code, 3, without.stderr);
      assert.match(without.stderr, /Cannot run unshare/);
      assert.match(without.stderr, /Next: Run: sudo apt install util-linux/);
    }
    await assertNothingLeft(home);
  });

  await t.step("what kill -9 leaves of a test is taken away by the next one", async () => {
    await killAtKernel(home, "tap-ping");
    const left = await home.processes();
    assert.equal(left.filter((line) => line.includes("qemu-system")).length, 1);
    await killAtKernel(home, "e2e");
    assert.equal((await home.processes()).filter((line) => left.includes(line)).length, 0);
    // Its daemons are ended by the kernel, and end what they have started.
    await until(async () => (await home.processes()).length === 0, {
      timeoutMs: 30_000,
      what: "the daemons to end",
    });
    assert.equal(await interfaces(), before);
    const failing = await home.run(["vm", "boot-test", "--timeout", "1"]);
    assert.equal(failing.code, 1);
    assert.match(failing.stderr, /Warning: Removed what was left of a test of this host \(pair-/);
    assert.match(failing.stderr, /the time for the whole test is over/);
    await assertNothingLeft(home);
  });

  await t.step("e2e says how far it came when its time is over", async () => {
    await using idle = await idleGuests();
    const shown = /^ {2}qemu /m;
    const env = { PATH: idle.PATH };
    const { limitS, code, stdout, stderr } = await outOfTime(async (limitS) => {
      const args = ["--mode", "e2e", "--memory", "512", "--timeout", `${limitS}`];
      const result = await home.run(["vm", "boot-test", ...args], { env, timeoutMs: 120_000 });
      return { limitS, ...result };
    }, (result) => shown.test(result.stdout));
    assert.equal(code, 4, stderr);
    assert.match(stdout, shown);
    const words = `Cannot finish in ${limitS} s: stage (?:kernel|cloud-init) not reached `;
    assert.match(stderr, new RegExp(`${words}\\(accepted .* qemu `));
    await assertNothingLeft(home);
  });

  await t.step("reverse-ssh: a command runs through a connection that the guest made", async () => {
    const proof = await passes("reverse-ssh", [
      ...["accepted", "disk", "qemu", "kernel", "ssh", "ready"],
    ]);
    assert.match(proof, /^reverse-ssh\): boot-test-[0-9a-f]{4}, Linux \d/);
  });

  await t.step("tap-ping: the guest answers on an interface that the host never has", async () => {
    const proof = await passes("tap-ping", ["accepted", "disk", "qemu", "kernel", "ready"]);
    assert.match(proof, /^tap-ping\): 192\.168\.100\.2 answers ping in [0-9.]+ ms$/);
  });

  await t.step("e2e: lent, borrowed, used through the tunnel, and given back", async () => {
    const proof = await passes("e2e", [
      ...["accepted", "disk", "qemu", "kernel", "tunnel", "ssh", "ready"],
    ]);
    assert.match(proof, /^e2e\): boot-test-e2e, Linux \d.*, through the tunnel$/);
  });
});
