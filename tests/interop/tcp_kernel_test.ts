import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { libc } from "../../net/os/libc.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, rootMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import type { Job, JobResult } from "./tcp_client.ts";
import { nodeByte, type NodeResult, type TcpNodeConfig } from "./tcp_node.ts";

const missing = rootMissing ?? netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ?? commandMissing("ip", "ping", "ss");

const DEVICE = "omt0";
const KERNEL = "10.9.0.1";
const STACK = "10.9.0.2";
const NODE = new URL("./tcp_node.ts", import.meta.url).pathname;
const CLIENT = new URL("./tcp_client.ts", import.meta.url).pathname;
const MB = 1_000_000;

/** A namespace with a stack behind a TUN device. */
class Rig implements AsyncDisposable {
  readonly space: Namespace;
  readonly #lab: NetLab;
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #text = "";

  private constructor(lab: NetLab, space: Namespace, child: Deno.ChildProcess) {
    this.#lab = lab;
    this.space = space;
    this.#child = child;
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#writer = child.stdin.getWriter();
  }

  static async start(mtu = 1500, loss = 0): Promise<Rig> {
    const lab = await NetLab.create();
    const space = await lab.namespace("tcp");
    const config: TcpNodeConfig = {
      tun: DEVICE,
      kernel: `${KERNEL}/24`,
      address: STACK,
      mtu,
      loss,
    };
    const child = space.spawn(Deno.execPath(), ["run", "-A", NODE, JSON.stringify(config)], {
      stdin: "piped",
      stdout: "piped",
    });
    const rig = new Rig(lab, space, child);
    assert.equal(await rig.line(), "ready");
    return rig;
  }

  /** The next line that the stack's program prints. */
  async line(): Promise<string> {
    for (;;) {
      const at = this.#text.indexOf("\n");
      if (at >= 0) {
        const line = this.#text.slice(0, at);
        this.#text = this.#text.slice(at + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error("Cannot read on: the stack's program has ended");
      this.#text += value;
    }
  }

  /** Runs the kernel's side of some connections, all at the same time. */
  async kernel(jobs: readonly Omit<Job, "host">[]): Promise<JobResult[]> {
    const list = jobs.map((job) => ({ ...job, host: job.kind === "serve" ? KERNEL : STACK }));
    const { stdout } = await this.space.runChecked(
      Deno.execPath(),
      ["run", "-A", CLIENT, JSON.stringify(list)],
      { timeoutMs: 90_000 },
    );
    return JSON.parse(stdout);
  }

  /** Has the stack connect somewhere; how it went. */
  async connect(to: string, port: number, bytes: number, connectMs?: number): Promise<NodeResult> {
    await this.#send(JSON.stringify({ to, port, bytes, connectMs }));
    return JSON.parse(await this.line());
  }

  async counters(): Promise<Record<string, number>> {
    await this.#send("counters");
    return JSON.parse(await this.line());
  }

  async #send(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
  }

  /** A counter of the kernel's TCP, e.g. `InCsumErrors`. */
  async snmp(name: string): Promise<number> {
    const { stdout } = await this.space.runChecked("cat", ["/proc/net/snmp"]);
    const rows = stdout.split("\n").filter((line) => line.startsWith("Tcp:"))
      .map((line) => line.split(" "));
    return Number(rows[1]?.[rows[0]?.indexOf(name) ?? -1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#reader.cancel();
    await this.#child.status;
    await this.#lab[Symbol.asyncDispose]();
  }
}

/** SHA-256 of the first `length` bytes that the stack's services send. */
function patternHash(length: number): string {
  const pattern = new Uint8Array(65536).map((_, i) => nodeByte(i));
  const hash = createHash("sha256");
  for (let at = 0; at < length; at += pattern.length) {
    hash.update(pattern.subarray(0, Math.min(pattern.length, length - at)));
  }
  return hash.digest("hex");
}

/** Nothing failed, and every byte arrived on both sides. */
function checkWhole(jobs: readonly Omit<Job, "host">[], results: readonly JobResult[]): void {
  for (const [i, result] of results.entries()) {
    const { kind, bytes = 0 } = jobs[i] ?? { kind: "echo" };
    assert.equal(result.error, undefined, `${kind} failed`);
    if (kind === "download") assert.equal(result.readHash, patternHash(bytes), kind);
    else if (kind === "upload") assert.equal(result.text, result.sentHash, kind);
    else assert.equal(result.readHash, result.sentHash, kind);
    assert.equal(kind === "download" ? result.read : result.sent, bytes);
  }
}

for (const mtu of [576, 1400, 9000]) {
  testIf(missing, `L6: MTU ${mtu}: bulk goes both ways with the kernel's TCP, whole`, async () => {
    await using rig = await Rig.start(mtu);
    await rig.space.runChecked("ping", ["-c", "2", "-i", "0.05", "-W", "5", STACK]);
    const jobs = [
      { kind: "upload", port: 9, bytes: 20 * MB },
      { kind: "download", port: 19, bytes: 20 * MB },
      { kind: "echo", port: 7, bytes: 5 * MB },
    ] as const;
    checkWhole(jobs, await rig.kernel(jobs));
    assert.equal(await rig.snmp("InCsumErrors"), 0);
    const counters = await rig.counters();
    assert.equal(counters.badChecksum, 0);
    assert.equal(counters.bufferBytes, 0);
  });
}

testIf(missing, "L6: the stack ends first, and the kernel's side goes on sending", async () => {
  await using rig = await Rig.start();
  const serving = rig.kernel([{ kind: "serve", port: 5000 }]);
  await until(
    async () => (await rig.space.run("ss", ["-ltnH", "sport", "=", ":5000"])).stdout !== "",
    { what: "the kernel's side to listen" },
  );
  const result = await rig.connect(KERNEL, 5000, 10 * MB);
  assert.deepEqual(result, { read: 10 * MB, sha256: patternHash(10 * MB), reason: "closed" });
  assert.equal((await serving)[0]?.error, undefined);
});

testIf(missing, "L6: a slow reader closes the window, and gets every byte", async () => {
  await using rig = await Rig.start();
  const jobs = [{ kind: "upload", port: 10, bytes: 3 * MB }] as const;
  checkWhole(jobs, await rig.kernel(jobs));
});

testIf(missing, "L6: 10 streams each way, and 500 connections, at the same time", async () => {
  await using rig = await Rig.start();
  const jobs = [
    ...Array.from({ length: 10 }, () => ({ kind: "upload", port: 9, bytes: 2 * MB }) as const),
    ...Array.from({ length: 10 }, () => ({ kind: "download", port: 19, bytes: 2 * MB }) as const),
  ];
  checkWhole(jobs, await rig.kernel(jobs));
  const many = Array.from({ length: 500 }, () => ({ kind: "echo", port: 7, bytes: 9999 }) as const);
  checkWhole(many, await rig.kernel(many));
  assert.equal((await rig.counters()).accepted, 520);
});

testIf(
  missing,
  "L6: what the kernel is told when it is refused, reset or not answered",
  async () => {
    await using rig = await Rig.start();
    const ports = [81, 82, 84, 4711];
    const results = await rig.kernel(ports.map((port) => ({ kind: "upload", port, bytes: 100 })));
    const words = [
      "Connection refused",
      "No route to host",
      "Connection reset",
      "Connection refused",
    ];
    for (const [i, word] of words.entries()) {
      assert.ok(results[i]?.error?.includes(word), `port ${ports[i]}: ${results[i]?.error}`);
    }
  },
);

testIf(missing ?? commandMissing("curl"), "L6: an unanswered SYN stays unanswered", async () => {
  await using rig = await Rig.start();
  const url = `http://${STACK}`;
  const waits = await rig.space.run("curl", ["-s", "--connect-timeout", "1", `${url}:83/`]);
  // "Operation timeout", where a refusal is 7; the second fetch shows that the address is right.
  assert.equal(waits.code, 28);
  await rig.space.runChecked("curl", ["-s", "-m", "20", "-o", "/dev/null", `${url}:80/`]);
});

testIf(missing, "L6: what the stack is told when it is refused or not answered", async () => {
  await using rig = await Rig.start();
  assert.equal((await rig.connect(KERNEL, 4711, 100)).reason, "refused");
  assert.equal((await rig.connect("10.9.0.77", 80, 100, 1500)).reason, "timeout");
});

testIf(missing, "L6: a kernel's reset ends the connection and frees its memory", async () => {
  await using rig = await Rig.start();
  const [result] = await rig.kernel([{ kind: "receive", port: 20, ms: 200 }]);
  assert.equal(result?.error, undefined);
  assert.ok((result?.read ?? 0) > 0);
  const counters = await until(async () => {
    const now = await rig.counters();
    return now.connections === 0 && now;
  }, { what: "the connection to be gone" });
  assert.ok((counters.resetsIn ?? 0) >= 1);
  assert.equal(counters.bufferBytes, 0);
});

testIf(missing ?? commandMissing("curl"), "L6: curl fetches over HTTP", async () => {
  await using rig = await Rig.start();
  const { stdout } = await rig.space.runChecked("curl", [
    ...["-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download}\n"],
    ...["-m", "20", `http://${STACK}/`],
  ]);
  assert.equal(stdout, `200 ${1 << 20}\n`);
});

testIf(missing, "L6: bulk goes both ways when packets are lost in both directions", async () => {
  await using rig = await Rig.start(1500, 0.01);
  const jobs = [
    { kind: "upload", port: 9, bytes: 5 * MB },
    { kind: "download", port: 19, bytes: 5 * MB },
    { kind: "echo", port: 7, bytes: MB },
  ] as const;
  checkWhole(jobs, await rig.kernel(jobs));
  assert.ok(((await rig.counters()).retransmits ?? 0) > 0);
});
