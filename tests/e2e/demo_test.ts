import assert from "node:assert/strict";
import { join } from "node:path";
import { netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const DEMO = join(import.meta.dirname ?? ".", "..", "..", "scripts", "demo.sh");
const QEMU = `qemu-system-${Deno.build.arch === "aarch64" ? "aarch64" : "x86_64"}`;
const missing = netlabMissing ?? commandMissing(QEMU, "mmdebstrap", "ssh");

/** A demo that runs, and everything it has printed. */
class Demo implements AsyncDisposable {
  readonly folder: string;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>[];
  output = "";
  /** Whether it has ended. */
  over = false;

  private constructor(folder: string) {
    this.folder = folder;
    this.#child = new Deno.Command(DEMO, {
      env: { TMPDIR: folder, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      // A process group of its own, to which Ctrl-C can be sent as a terminal does.
      detached: true,
    }).spawn();
    this.#reading = [this.#read(this.#child.stdout), this.#read(this.#child.stderr)];
  }

  static async start(): Promise<Demo> {
    return new Demo(await Deno.makeTempDir({ prefix: "omerta-demo-test-" }));
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) this.output += text;
  }

  /** Waits for its end; the exit code. */
  async ended(): Promise<number> {
    const { code } = await this.#child.status;
    this.over = true;
    await Promise.all(this.#reading);
    return code;
  }

  /** What Ctrl-C does in a terminal. */
  interrupt(): void {
    Deno.kill(-this.#child.pid, "SIGINT");
  }

  /** Finds nothing left of it: no namespace, no process, no file. */
  async leftNothing(): Promise<void> {
    const prefix = `omdemo-${this.#child.pid}-`;
    const namespaces = await Array.fromAsync(Deno.readDir("/run/netns"));
    assert.deepEqual(namespaces.map(({ name }) => name).filter((n) => n.startsWith(prefix)), []);
    assert.deepEqual(await processesNaming(this.folder), []);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(this.folder)), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.interrupt();
    } catch {
      // It has ended.
    }
    await this.ended();
    await Deno.remove(this.folder, { recursive: true });
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

testIf(missing, "F3: the demo lends and borrows a VM and leaves nothing", async () => {
  await using demo = await Demo.start();
  assert.equal(await demo.ended(), 0, demo.output);
  assert.match(demo.output, /VM Created Successfully!/);
  assert.match(demo.output, /^borrower\$ omerta ssh demo uname -a\nLinux demo /m);
  assert.match(demo.output, /No process, no disk of a VM, no tunnel interface\n$/);
  await demo.leftNothing();
});

testIf(missing, "F3: Ctrl-C during the demo leaves nothing", async () => {
  await using demo = await Demo.start();
  const ended = demo.ended();
  await until(() => demo.over || /^ {2}qemu /m.test(demo.output), {
    timeoutMs: 240_000, // the guest image may have to be built first
    what: "the VM to start",
  });
  assert.equal(demo.over, false, demo.output);
  demo.interrupt();
  assert.equal(await ended, 130, demo.output);
  await demo.leftNothing();
});
