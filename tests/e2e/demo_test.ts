/**
 * The demo, of an ordinary user and of root. Ending it early is tried with a VM on its way: then
 * there is most to be taken away.
 *
 * @module
 */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { signalIfThere } from "../../lib/core/process.ts";
import { guestImage, guestMissing, testHome } from "../guest/guest_image.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { type OrdinaryUser, ordinaryUser } from "../support/ordinary_user.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const DEMO = join(import.meta.dirname ?? ".", "..", "..", "scripts", "demo.sh");
const missing = netlabMissing ?? guestMissing ??
  commandMissing("ssh", "setpriv", "unshare", "nsenter");
/** Time for a translated guest on a busy host, in ms. */
const READY_MS = 240_000;
/** Time for a whole demo, in ms. */
const DEMO_MS = 400_000;
/** The folder for temporary files of a demo; every process of it knows it. */
const TEMPORARY = "made-by-the-demo";

/** A demo that runs, and everything it has printed. */
class Demo implements AsyncDisposable {
  readonly #folder: string;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>[];
  output = "";
  /** Whether it has ended. */
  over = false;

  /** @param prefix What comes before the script. @param env Besides what every demo gets. */
  constructor(folder: string, prefix: readonly string[], env: Record<string, string> = {}) {
    this.#folder = folder;
    const [program = DEMO, ...args] = [...prefix, DEMO];
    this.#child = new Deno.Command(program, {
      args,
      env: {
        PATH: `${dirname(Deno.execPath())}:${Deno.env.get("PATH") ?? ""}`,
        ...{ TMPDIR: folder, NO_COLOR: "1", ...env },
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      // A process group of its own, to which Ctrl-C can be sent as a terminal does.
      detached: true,
    }).spawn();
    this.#reading = [this.#read(this.#child.stdout), this.#read(this.#child.stderr)];
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) this.output += text;
  }

  /** Waits for its end, which it is made to have when it takes too long; the exit code. */
  async ended(): Promise<number> {
    const timer = setTimeout(() => {
      this.output += `\nIt was killed after ${DEMO_MS / 1000} s`;
      signalIfThere(-this.#child.pid, "SIGKILL");
    }, DEMO_MS);
    const { code } = await this.#child.status;
    this.over = true;
    await Promise.all(this.#reading);
    clearTimeout(timer);
    return code;
  }

  /** Waits until its VM is on its way. */
  async untilVm(): Promise<void> {
    const what = "the VM to start";
    await until(() => this.over || /^ {2}qemu /m.test(this.output), { timeoutMs: READY_MS, what });
    assert.equal(this.over, false, this.output);
    // A positive control of leftNothing().
    assert.notDeepEqual(await processesNaming(this.#folder), []);
  }

  /** What Ctrl-C does in a terminal. */
  interrupt(): void {
    Deno.kill(-this.#child.pid, "SIGINT");
  }

  /** Ends the script alone, which can do nothing about it. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Finds nothing left of it: no process, and so no namespace and no memory file system; no file. */
  async leftNothing(): Promise<void> {
    await until(async () => (await processesNaming(this.#folder)).length === 0, {
      timeoutMs: 60_000,
      what: "the kernel to end every process of the demo",
    });
    assert.deepEqual(await Array.fromAsync(Deno.readDir(this.#folder)), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.interrupt();
    } catch {
      // It has ended.
    }
    if (!this.over) await this.ended();
  }
}

/** Command lines and environments of the processes that name a folder. */
async function processesNaming(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
    try {
      const line = await Deno.readTextFile(`/proc/${name}/cmdline`);
      const environment = await Deno.readTextFile(`/proc/${name}/environ`);
      if (`${line}${environment}`.includes(folder)) found.push(line.replaceAll("\0", " "));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

/** A user with a copy of the guest image, and where a demo of theirs puts what it makes. */
async function userWithImage(): Promise<OrdinaryUser & { demo: () => Demo; temporary: string }> {
  const user = await ordinaryUser();
  await guestImage();
  const home = await user.give(testHome());
  const temporary = join(user.folder, TEMPORARY);
  await Deno.mkdir(temporary);
  await Deno.chmod(temporary, 0o777);
  const env = { OMERTA_TEST_HOME: home };
  return { ...user, temporary, demo: () => new Demo(temporary, user.prefix, env) };
}

testIf(
  missing,
  "F3: an ordinary user's demo lends and borrows a VM and leaves nothing",
  async (t) => {
    await using user = await userWithImage();

    await t.step("all of it", async () => {
      await using demo = user.demo();
      assert.equal(await demo.ended(), 0, demo.output);
      assert.match(demo.output, /^Image ready: /m);
      // What image_user_test.ts finds when one is built.
      assert.doesNotMatch(demo.output, /looking for the package mirror/);
      assert.match(demo.output, /VM Created Successfully!/);
      assert.match(demo.output, /^borrower\$ omerta ssh demo uname -a\nLinux demo /m);
      assert.match(demo.output, /^borrower\$ omerta ssh demo wc -l LICENSE\n21 LICENSE$/m);
      // It asks twice; an answer that is lost on a busy host says nothing.
      assert.match(demo.output, /^answers +[12] of 2/m);
      assert.match(demo.output, /^ {2}interface userspace \(Cannot /m);
      assert.match(demo.output, /^No process, no disk of a VM, no tunnel interface$/m);
      await demo.leftNothing();
    });

    await t.step("killed outright, it leaves nothing", async () => {
      await using demo = user.demo();
      const ended = demo.ended();
      await demo.untilVm();
      demo.kill();
      assert.equal(await ended, 137, demo.output);
      await demo.leftNothing();
    });
  },
);

testIf(missing, "F3: Ctrl-C during root's demo leaves nothing", async () => {
  const folder = await Deno.makeTempDir({ prefix: "omerta-demo-test-" });
  await using demo = new Demo(folder, [], { OMERTA_TEST_HOME: testHome() });
  const ended = demo.ended();
  await demo.untilVm();
  demo.interrupt();
  assert.equal(await ended, 130, demo.output);
  await demo.leftNothing();
  await Deno.remove(folder);
});

testIf(missing, "F3: where namespaces are forbidden, the demo says what allows them", async () => {
  await using user = await ordinaryUser();
  // A namespace of users in which no other may be made.
  const holder = new Deno.Command("unshare", { args: ["--user", "sleep", "60"] }).spawn();
  try {
    await until(async () => {
      const name = await Deno.readLink(`/proc/${holder.pid}/ns/user`);
      return name !== await Deno.readLink("/proc/self/ns/user");
    }, { what: "the namespace" });
    for (const map of ["uid_map", "gid_map"]) {
      await Deno.writeTextFile(`/proc/${holder.pid}/${map}`, "0 0 65536\n");
    }
    const forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"';
    const enter = ["nsenter", `--target=${holder.pid}`, "--user", "sh", "-c", forbid, "sh"];
    await using demo = new Demo(user.folder, [...enter, ...user.prefix]);
    assert.equal(await demo.ended(), 3, demo.output);
    assert.match(demo.output, /^error: Cannot show it here: namespaces cannot be made \(unshare: /);
    assert.match(demo.output, /sysctl -w .*max_user_namespaces.*\n.*or run the demo as root$/m);
  } finally {
    holder.kill("SIGKILL");
    await holder.status;
  }
});
