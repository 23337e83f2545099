/**
 * B4: the userspace TCP/IP stack: two of them in memory, and one behind a TUN device with the kernel's
 * TCP on the other side, as its end and as a gateway next to passt and slirp4netns. Bad lines are in
 * `tcp_loss.ts`.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { PacketSink } from "../../net/os/sink.ts";
import type { TcpConnection } from "../../net/tcp/connection.ts";
import { ADDRESS_A, ADDRESS_B } from "../../net/tcp/simulation_fixture.ts";
import { Stack } from "../../net/tcp/stack.ts";
import type { Job, JobResult } from "../interop/tcp_client.ts";
import type { TcpNodeConfig } from "../interop/tcp_node.ts";
import { type Namespace, NetLab } from "../netlab/netlab.ts";
import { commandMissing, rootMissing } from "../support/requires.ts";
import type { Bench, Row } from "./bench.ts";
import { forwardersMissing } from "./filter.ts";
import { gatewayRows } from "./forward/gateways.ts";

/** Length of each measurement in real time (ms). */
const RUN_MS = 3000;
const MTU = 1500;
const STREAMS = [1, 8] as const;
const HOST = "10.9.0.2";
const NODE = new URL("../interop/tcp_node.ts", import.meta.url).pathname;
const CLIENT = new URL("../interop/tcp_client.ts", import.meta.url).pathname;

/** A batch of packets in memory, taken as a whole. */
class Batch implements PacketSink {
  readonly buffer = new Uint8Array(4 << 20);
  readonly at: number[] = [];
  readonly length: number[] = [];
  count = 0;
  #end = 0;
  reserve(size: number): number {
    return this.#end + size > this.buffer.length ? -1 : this.#end;
  }
  commit(length: number): void {
    this.at[this.count] = this.#end;
    this.length[this.count++] = length;
    this.#end += (length + 3) & ~3;
  }
  flush(): void {}
  deliver(to: Stack, now: number): void {
    for (let i = 0; i < this.count; i++) {
      to.input(this.buffer, this.at[i] ?? 0, this.length[i] ?? 0, now);
    }
    this.count = 0;
    this.#end = 0;
    to.flush(now);
    to.tick(now);
  }
}

const scratch = new Uint8Array(256 * 1024);

/** Writes for ever. */
const sender = {
  onWritable: (c: TcpConnection): void => {
    while (c.write(scratch) === scratch.length);
  },
};

/** Reads for ever and counts. */
class Counter {
  bytes = 0;
  onReadable(c: TcpConnection): void {
    for (let n = c.read(scratch); n > 0; n = c.read(scratch)) this.bytes += n;
  }
}

/** Gbit/s between two stacks of one thread, both of them working. */
function backToBack(): number {
  const common = {
    mtu: MTU,
    random: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
    now: performance.now(),
  };
  const ab = new Batch();
  const ba = new Batch();
  const a = new Stack({ ...common, address: ADDRESS_A, out: ab });
  const b = new Stack({ ...common, address: ADDRESS_B, out: ba });
  const counter = new Counter();
  b.listen({ onSyn: (pending) => void pending.accept(counter) });
  a.connect({ to: ADDRESS_B, port: 80, handler: sender });
  a.flush(common.now);
  const begun = performance.now();
  let now = begun;
  for (; now < begun + RUN_MS; now = performance.now()) {
    ab.deliver(b, now);
    ba.deliver(a, now);
  }
  return counter.bytes * 8 / (now - begun) / 1e6;
}

/** Gbit/s of a kernel client in the namespace. */
async function kernel(space: Namespace, kind: Job["kind"], streams: number): Promise<number> {
  const port = kind === "upload" ? 11 : 20;
  const jobs = Array.from({ length: streams }, () => ({ kind, host: HOST, port, ms: RUN_MS }));
  const { stdout } = await space.runChecked(
    Deno.execPath(),
    ["run", "-A", CLIENT, JSON.stringify(jobs)],
    { timeoutMs: 60_000 },
  );
  const results: JobResult[] = JSON.parse(stdout);
  const error = results.find((one) => one.error !== undefined)?.error;
  if (error !== undefined) throw new OmertaError("bench-failed", `Cannot measure: ${error}`);
  return results.reduce((sum, one) => sum + (one.sent + one.read) * 8 / one.ms / 1e6, 0);
}

async function throughTun(): Promise<Row[]> {
  await using lab = await NetLab.create();
  const space = await lab.namespace("tcp");
  const config: TcpNodeConfig = { tun: "omt0", kernel: "10.9.0.1/24", address: HOST, mtu: MTU };
  const child = space.spawn(Deno.execPath(), ["run", "-A", NODE, JSON.stringify(config)], {
    stdin: "piped",
    stdout: "piped",
  });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  if (!new TextDecoder().decode(value).startsWith("ready")) {
    throw new OmertaError("bench-failed", "Cannot start a userspace stack");
  }
  const rows: Row[] = [];
  for (
    const [kind, to] of [["upload", "kernel to stack"], ["receive", "stack to kernel"]] as const
  ) {
    for (const streams of STREAMS) {
      rows.push({
        name: `tcp, TUN, ${to}, ${streams} stream${streams > 1 ? "s" : ""}`,
        value: await kernel(space, kind, streams),
        unit: "Gbit/s",
      });
    }
  }
  await child.stdin.close();
  await reader.cancel();
  await child.status;
  return rows;
}

/** B4. */
export const tcpBench: Bench = {
  name: "tcp",
  missing: rootMissing ?? forwardersMissing ?? commandMissing("iperf3", "pasta"),
  async run(): Promise<Row[]> {
    const rows: Row[] = [{
      name: "tcp, two stacks in memory",
      value: backToBack(),
      unit: "Gbit/s",
      note: "one thread does both ends",
    }];
    rows.push(...await throughTun(), ...await gatewayRows());
    return rows;
  },
};
