/**
 * B4: the userspace TCP/IP stack: two of them in memory, and one behind a TUN device with the kernel's
 * TCP on the other side, as its end and as a gateway next to passt and slirp4netns. Bad lines are in
 * `tcp_loss.ts`.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { BackToBack } from "../../net/tcp/back_to_back_fixture.ts";
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

/** Gbit/s between two stacks of one thread, both of them working. */
function backToBack(): number {
  const begun = performance.now();
  const pair = new BackToBack(MTU, begun);
  let now = begun;
  for (; now < begun + RUN_MS; now = performance.now()) pair.step(now);
  return pair.bytes * 8 / (now - begun) / 1e6;
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
