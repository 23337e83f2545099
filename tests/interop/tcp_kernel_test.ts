import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import type { BadLineOptions } from "./_bad_line.ts";
import type { Job, JobResult } from "./tcp_client.ts";
import type { Namespace } from "../netlab/netlab.ts";
import { KERNEL, Rig, rigMissing, runJobs, STACK } from "./_tcp_rig.ts";
import { nodeByte } from "./tcp_node.ts";

const missing = rigMissing;

const MB = 1_000_000;
/** Time for a window to be closed, and to be probed, in ms. */
const WINDOW_MS = 30_000;
/** So many probes of a closed window are waited for. */
const PROBES = 3;

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
    const isDown = kind === "download" || kind === "late";
    assert.equal(result.error, undefined, `${kind} failed`);
    if (isDown) assert.equal(result.readHash, patternHash(bytes), kind);
    else if (kind === "upload") assert.equal(result.text, result.sentHash, kind);
    else assert.equal(result.readHash, result.sentHash, kind);
    assert.equal(isDown ? result.read : result.sent, bytes);
  }
}

/** Waits until the kernel's side listens on port 5000. */
async function listens(space: Namespace): Promise<void> {
  await until(
    async () => (await space.run("ss", ["-ltnH", "sport", "=", ":5000"])).stdout !== "",
    { what: "the kernel's side to listen" },
  );
}

for (const mtu of [576, 1400, 9000]) {
  testIf(missing, `L6: MTU ${mtu}: bulk goes both ways with the kernel's TCP, whole`, async () => {
    await using rig = await Rig.start({ mtu });
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

testIf(
  missing,
  "L3: of a TUN and a userspace interface that are wired each reaches the other",
  async () => {
    await using rig = await Rig.start();
    await rig.space.runChecked("ping", ["-c", "2", "-i", "0.05", "-W", "5", STACK]);
    assert.equal((await rig.ping(KERNEL)).kind, "reply");
    const jobs = [{ kind: "echo", port: 7, bytes: MB }] as const;
    checkWhole(jobs, await rig.kernel(jobs));
    const serving = rig.kernel([{ kind: "serve", port: 5000 }]);
    await listens(rig.space);
    const result = await rig.connect(KERNEL, 5000, MB);
    assert.deepEqual(result, { read: MB, sha256: patternHash(MB), reason: "closed" });
    assert.equal((await serving)[0]?.error, undefined);
  },
);

testIf(
  missing,
  "L6: RFC 1191: behind a narrow link the stack is told by ICMP, and every byte arrives",
  async () => {
    await using rig = await Rig.start();
    const { lab, space } = rig;
    const router = await lab.router("router");
    const far = await lab.namespace("far");
    // Both ends have 1500 and announce so; the link between the two routers has 1000.
    await lab.connect(space, "10.8.0.1/24", router, "10.8.0.2/24", { mtu: 1000 });
    await lab.connect(router, "10.7.0.1/24", far, "10.7.0.2/24");
    await space.runChecked("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    await space.route("add", "10.7.0.0/24", "via", "10.8.0.2");
    await router.route("add", "default", "via", "10.8.0.1");
    await far.route("add", "default", "via", "10.7.0.1");
    const serving = runJobs(far, [{ kind: "serve", host: "10.7.0.2", port: 5000 }]);
    await listens(far);
    const result = await rig.connect("10.7.0.2", 5000, 5 * MB);
    assert.deepEqual(result, { read: 5 * MB, sha256: patternHash(5 * MB), reason: "closed" });
    assert.equal((await serving)[0]?.error, undefined);
    // What was too large went again in pieces; nothing larger than the narrow link arrives at all.
    assert.ok(((await rig.counters()).retransmits ?? 0) > 0);
  },
);

testIf(missing, "L6: the stack ends first, and the kernel's side goes on sending", async () => {
  await using rig = await Rig.start();
  const serving = rig.kernel([{ kind: "serve", port: 5000 }]);
  await listens(rig.space);
  const result = await rig.connect(KERNEL, 5000, 10 * MB);
  assert.deepEqual(result, { read: 10 * MB, sha256: patternHash(10 * MB), reason: "closed" });
  assert.equal((await serving)[0]?.error, undefined);
});

testIf(missing, "L6: a slow reader closes the window, and gets every byte", async () => {
  await using rig = await Rig.start();
  // More than fits into the buffers of both.
  const jobs = [{ kind: "upload", port: 10, bytes: 10 * MB }] as const;
  const sent = rig.kernel(jobs);
  await until(async () => await rig.snmp("TCPWinProbe") > 0, {
    what: "the kernel to probe a closed window",
    timeoutMs: WINDOW_MS,
  });
  await rig.read();
  checkWhole(jobs, await sent);
});

testIf(
  missing,
  "L6: a kernel that reads late closes its window, is probed, and gets every byte",
  async () => {
    await using rig = await Rig.start();
    const jobs = [{ kind: "late", port: 19, bytes: 10 * MB }] as const;
    await using client = rig.kernelLate(jobs);
    await until(async () => await rig.snmp("TCPToZeroWindowAdv") > 0, {
      what: "the kernel to close its window",
      timeoutMs: WINDOW_MS,
    });
    await until(async () => (await rig.sending()).sendWindow === 0, {
      what: "the stack to hear of it",
    });
    // Neither has anything else to say now.
    const { segmentsOut = NaN, segmentsIn = NaN } = await rig.counters();
    await until(async () => {
      const now = await rig.counters();
      const sent = (now.segmentsOut ?? 0) - segmentsOut;
      return sent >= PROBES && (now.segmentsIn ?? 0) - segmentsIn >= PROBES;
    }, { what: "probes, and answers to them", timeoutMs: WINDOW_MS });
    assert.equal((await rig.sending()).sendWindow, 0);
    checkWhole(jobs, await client.ask("read"));
    assert.ok(await rig.snmp("TCPFromZeroWindowAdv") > 0);
  },
);

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
  const [result] = await rig.kernel([{ kind: "receive", port: 20, bytes: MB }]);
  assert.equal(result?.error, undefined);
  assert.ok((result?.read ?? 0) >= MB);
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

const BAD_LINES: readonly [what: string, line: BadLineOptions][] = [
  ["lost", { loss: 0.01 }],
  ["overtaken by others", { late: 0.02 }],
  ["lost, overtaken and doubled", { loss: 0.01, late: 0.02, twice: 0.02 }],
];
for (const [what, line] of BAD_LINES) {
  testIf(
    missing,
    `L6: bulk goes both ways when packets are ${what} in both directions`,
    async () => {
      await using rig = await Rig.start({ line });
      const jobs = [
        { kind: "upload", port: 9, bytes: 5 * MB },
        { kind: "download", port: 19, bytes: 5 * MB },
        { kind: "echo", port: 7, bytes: MB },
      ] as const;
      checkWhole(jobs, await rig.kernel(jobs));
      if (line.loss !== undefined) assert.ok(((await rig.counters()).retransmits ?? 0) > 0);
      if (line.late !== undefined) assert.ok(await rig.snmp("TCPOFOQueue") > 0);
    },
  );
}
