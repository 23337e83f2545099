import assert from "node:assert/strict";
import { join } from "node:path";
import { exists } from "../../lib/core/files.ts";
import { run, runChecked, type RunResult } from "../../lib/core/process.ts";
import { ATTEMPTS } from "../../lib/prove/attempts.ts";
import type { Report, Row } from "../../lib/prove/report.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { bpfMissing } from "../support/bpf.ts";
import { TEST_HOME } from "../support/home.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("qemu-system-x86_64", "qemu-img", "ssh", "setpriv");

/** Time for translated guests on a busy host, in ms; accelerated ones take a tenth. */
const PROVE_MS = 480_000;
/** Modes in which the whole matrix is tried, where the kernel may look at frames, and by it too. */
const DROPPING = ["filtered", ...(bpfMissing === undefined ? ["ebpf"] : [])];
const WITHOUT = bpfMissing === undefined ? "" : ` [without ebpf: ${bpfMissing}]`;
const ROOT = join(import.meta.dirname ?? ".", "..", "..");
const MAIN = join(ROOT, "cli", "main.ts");
const WEAKENED = join(ROOT, "tests", "guest", "_weakened_main.ts");

/** In place of QEMU: starts one guest, and no other. */
const ONE_GUEST = `#!/bin/sh
case "$*" in *disk.img*) mkdir "$0.ran" || { echo "No more guests" >&2; exit 1; } ;; esac
exec QEMU "$@"
`;

/** Somebody's home on this machine, with the tests' image; `omerta` is typed as a user would. */
class Prover implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<Prover> {
    const prover = new Prover(await Deno.makeTempDir({ prefix: "omerta-prover-" }));
    const home = join(prover.folder, "home");
    const { code, stderr } = await prover.omerta(MAIN, "init");
    assert.equal(code, 0, stderr);
    await Deno.remove(join(home, "images"));
    await Deno.symlink(join(TEST_HOME, "images"), join(home, "images"));
    return prover;
  }

  omerta(main: string, ...args: string[]): Promise<RunResult> {
    return this.omertaWith({}, main, ...args);
  }

  omertaWith(
    env: Record<string, string>,
    main: string,
    ...args: string[]
  ): Promise<RunResult> {
    return run(Deno.execPath(), this.#command(main, args), {
      env: { ...this.#env, ...env },
      timeoutMs: PROVE_MS,
    });
  }

  spawn(...args: string[]): Deno.ChildProcess {
    return new Deno.Command(Deno.execPath(), {
      args: this.#command(MAIN, args),
      env: this.#env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  get #env(): Record<string, string> {
    return { OMERTA_HOME: join(this.folder, "home"), TMPDIR: this.folder, NO_COLOR: "1" };
  }

  #command(main: string, args: readonly string[]): string[] {
    return ["run", "--quiet", "-A", "--config", join(ROOT, "deno.json"), main, ...args];
  }

  /** A folder to be first in PATH, with a QEMU that starts one guest. */
  async binForOneGuest(): Promise<string> {
    const bin = join(this.folder, "home", "bin");
    await Deno.mkdir(bin);
    const { stdout } = await runChecked("which", ["qemu-system-x86_64"]);
    const text = ONE_GUEST.replace("QEMU", stdout.trim());
    await Deno.writeTextFile(join(bin, "qemu-system-x86_64"), text, { mode: 0o755 });
    return bin;
  }

  /** Folders of pairs of daemons in the home. */
  async pairs(): Promise<string[]> {
    const home = join(this.folder, "home");
    return (await Array.fromAsync(Deno.readDir(home))).map(({ name }) => join(home, name))
      .filter((path) => path.includes("/pair-"));
  }

  /** What a proof may leave behind: its homes, temporary folders, processes that know them. */
  async left(): Promise<string[]> {
    const left = await this.pairs();
    for await (const { name } of Deno.readDir(this.folder)) if (name !== "home") left.push(name);
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const line = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
      if (line.includes(this.folder)) left.push(line.replaceAll("\0", " "));
    }
    return left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Namespaces of proofs that were begun by this process's children. */
async function namespaces(): Promise<string[]> {
  const { stdout } = await run("ip", ["netns", "list"]);
  return [...stdout.matchAll(/^omlab-(\d+)-\S+-neighbour/gm)].map(([name]) => name);
}

function outcomes(rows: readonly Row[], outcome: Row["outcome"]): string[] {
  return rows.filter((row) => row.outcome === outcome).map(({ id }) => id);
}

testIf(
  missing,
  "N9, N10, N11, N15: omerta prove holds on this host, and its report can be checked elsewhere" +
    WITHOUT,
  async (t) => {
    await using prover = await Prover.create();
    const file = join(prover.folder, "home", "report.json");
    let report: Report;

    await t.step("every attempt of a guest's root is refused, in a run with controls", async () => {
      const args = ["prove", "--mode", ...DROPPING, "conntrack", "--report", file];
      const result = await prover.omerta(MAIN, ...args);
      assert.equal(result.code, 0, result.stdout + result.stderr);
      assert.match(result.stdout, /Mode filtered: a probe in a VM of its own/);
      assert.match(result.stdout, /^internet +refused +refused +\d+ +destination \d+$/m);
      assert.match(result.stdout, /Held: all of \d+\n/);
      assert.match(result.stdout, /Report: .*report\.json, signed by peer [0-9a-f]{16}/);
      assert.deepEqual(await prover.left(), []);
    });

    await t.step("the report says what was tried, and is signed", async () => {
      const { code, stdout } = await prover.omerta(MAIN, "prove", "--verify", file, "--json");
      assert.equal(code, 0, stdout);
      report = JSON.parse(stdout).report;
      assert.deepEqual(report.proofs.map(({ mode }) => mode), [...DROPPING, "conntrack"]);
      const [filtered] = report.proofs;
      const conntrack = report.proofs.at(-1);
      for (const { rows } of report.proofs.slice(0, -1)) {
        const whole = ["tunnel", "second-wall", ...ATTEMPTS.map(({ id }) => id)];
        assert.deepEqual(rows.map(({ id }) => id), whole);
      }
      assert.deepEqual(conntrack?.rows.map(({ id, expected }) => `${id} ${expected}`), [
        "tunnel passes",
        "ends-vm ended",
      ]);
      const scan = filtered?.rows.find(({ id }) => id === "scan-host");
      assert.ok((scan?.refused["destination"] ?? 0) >= 1023, JSON.stringify(scan));
      assert.match(report.host.hypervisor, /^QEMU \d/);
      assert.match(report.image ?? "", /^[0-9a-f]{16}$/);
    });

    await t.step("a changed report is refused, by anybody, without a home", async () => {
      const text = await Deno.readTextFile(file);
      const changed = join(prover.folder, "home", "changed.json");
      await Deno.writeTextFile(changed, text.replace('"sent": ', '"sent": 1'));
      const verify = (path: string): Promise<RunResult> =>
        run(Deno.execPath(), ["run", "-A", MAIN, "prove", "--verify", path], {
          env: { OMERTA_HOME: join(prover.folder, "nowhere"), NO_COLOR: "1" },
        });
      const bad = await verify(changed);
      assert.equal(bad.code, 5);
      assert.match(bad.stderr, /Cannot trust the report: the signature does not fit/);
      const good = await verify(file);
      assert.equal(good.code, 0, good.stderr);
      assert.match(good.stdout, new RegExp(`Signed by peer ${report.peer} on `));
    });
  },
);

testIf(missing, "N15: omerta prove finds each weakness of a weakened filter", async () => {
  await using prover = await Prover.create();
  const only = ["internet", "spoofed", "fragments", "ether-types", "wrong-port"];
  const { code, stdout, stderr } = await prover.omertaWith(
    { PATH: `${await prover.binForOneGuest()}:${Deno.env.get("PATH")}` },
    WEAKENED,
    ...["prove", "--json", "--mode", "filtered", "conntrack", "--only", ...only],
  );
  assert.equal(code, 1, stdout + stderr);
  const { held, proofs } = JSON.parse(stdout) as { held: boolean; proofs: Report["proofs"] };
  assert.equal(held, false);
  const rows = proofs[0]?.rows ?? [];
  assert.deepEqual(outcomes(rows, "leaked"), [
    ...["second-wall", "internet", "spoofed-ip", "ether-types", "wrong-port"],
  ]);
  // What was not weakened is still found to hold.
  assert.deepEqual(outcomes(rows, "held"), ["tunnel", "spoofed-mac", "fragments"]);
  // Frame by frame: of twenty EtherTypes, the two with the one that the filter now takes.
  const why = (id: string): string => rows.find((row) => row.id === id)?.why ?? "";
  const way = "were seen by borrower, lender, router";
  assert.equal(why("ether-types"), `frames 0, 1 ${way}`);
  assert.equal(why("spoofed-ip"), `frames 0, 1, 2, 3, 4, 5 ${way}`);
  // A second VM was not to be had, and what the first one has shown is told all the same.
  const [boot] = proofs[1]?.rows ?? [];
  assert.deepEqual(proofs[1]?.rows.map(({ id, outcome }) => `${id} ${outcome}`), ["boot unproven"]);
  assert.match(boot?.why ?? "", /No more guests/);
  assert.deepEqual(await prover.left(), []);
});

testIf(missing, "N15: what kill -9 leaves of a proof is taken away by a boot test", async () => {
  await using prover = await Prover.create();
  const before = await namespaces();
  const left = async (): Promise<string[]> =>
    (await namespaces()).filter((name) => !before.includes(name));
  const child = prover.spawn("prove", "--only", "internet");
  await until(async () => {
    const [pair] = await prover.pairs();
    return pair !== undefined && await exists(join(pair, "b", "omerta.sock"));
  }, { timeoutMs: 60_000, what: "the borrower to answer" });
  child.kill("SIGKILL");
  assert.equal((await child.status).signal, "SIGKILL");
  assert.equal((await prover.pairs()).length, 1);
  assert.equal((await left()).length, 1);
  const { code, stderr } = await prover.omerta(MAIN, "vm", "boot-test", "--timeout", "1");
  assert.equal(code, 1, stderr);
  assert.match(stderr, /Warning: Removed what was left of a test of this host \(pair-/);
  assert.match(
    stderr,
    /Warning: Removed network namespaces that tests of this host have left \(4\)/,
  );
  assert.match(stderr, /the time for the whole test is over/);
  assert.deepEqual(await prover.left(), []);
  assert.deepEqual(await left(), []);
});

testIf(missing, "N15: Ctrl-C while the VM of a proof comes up leaves nothing", async () => {
  await using prover = await Prover.create();
  const before = await namespaces();
  const child = prover.spawn("prove", "--only", "internet");
  await until(async () => (await prover.left()).some((line) => line.includes("qemu-system")), {
    timeoutMs: 60_000,
    what: "QEMU to be started",
  });
  child.kill("SIGINT");
  assert.equal((await child.status).code, 1);
  assert.deepEqual(await prover.left(), []);
  assert.deepEqual((await namespaces()).filter((name) => !before.includes(name)), []);
});

testIf(netlabMissing, "N15: omerta prove says what is wrong before it begins", async () => {
  await using prover = await Prover.create();
  const fails = async (code: number, ...args: string[]): Promise<string> => {
    const result = await prover.omerta(MAIN, "prove", ...args);
    assert.equal(result.code, code, result.stdout + result.stderr);
    return result.stderr;
  };
  assert.match(await fails(2, "--only", "nothing"), /there is no such attempt/);
  assert.match(await fails(2, "--mode", "open"), /Allowed choices are filtered/);
  assert.match(await fails(2, "--verify", "/nowhere/report"), /Cannot read \/nowhere\/report/);
  assert.match(await fails(5, "--verify", MAIN), /Cannot trust the report: it is not JSON/);
  assert.match(await fails(4, "web"), /Cannot reach a daemon/);
  await Deno.remove(join(prover.folder, "home", "images"));
  await Deno.mkdir(join(prover.folder, "home", "images"));
  assert.match(await fails(3), /there are no images yet/);
});
