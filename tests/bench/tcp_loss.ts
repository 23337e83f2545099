/**
 * B4: goodput over a line that loses packets: the userspace stack with each congestion control, next to
 * the kernel's TCP with CUBIC and, where it has it, BBR, over the same line in the same run; and two
 * stacks in virtual time, which is the same on every machine.
 *
 * ```
 * namespace "from"                            namespace "to"
 * iperf3 -C cubic ----------- kernel --- TUN | relay | TUN --- kernel --- iperf3, or a client
 * userspace stack --- TUN --- kernel ---
 * ```
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { libc } from "../../net/os/libc.ts";
import type { CongestionName, TcpConnection } from "../../net/tcp/connection.ts";
import { ADDRESS_B, Simulation } from "../../net/tcp/simulation_fixture.ts";
import type { Job, JobResult } from "../interop/tcp_client.ts";
import type { TcpNodeConfig } from "../interop/tcp_node.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, rootMissing } from "../support/requires.ts";
import { Talk } from "../support/talk.ts";
import { until } from "../support/until.ts";
import type { Bench, Row } from "./bench.ts";
import type { RelayConfig, RelayCount, RelayLine } from "./lossy_relay.ts";

/** Length of each measurement in real time (s). */
const RUN_S = 10;
/** Length of each measurement in virtual time (ms). */
const VIRTUAL_MS = 30_000;
const MTU = 1500;
/** The line: a good uplink. */
const MBIT = 100;
const ROUND_TRIPS_MS = [10, 50] as const;
const LOSSES = [0.001, 0.01] as const;
const OURS: readonly CongestionName[] = ["cubic", "bbr"];
const SEED = 7;
const FROM = "10.9.1.1";
const TO = "10.9.1.2";
const STACK = "10.9.0.2";
const STACK_PORT = 20;
const RELAY = new URL("./lossy_relay.ts", import.meta.url).pathname;
const NODE = new URL("../interop/tcp_node.ts", import.meta.url).pathname;
const CLIENT = new URL("../interop/tcp_client.ts", import.meta.url).pathname;
const KERNEL_CONTROLS = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/** Starts a program that prints `ready`. */
async function start(space: Namespace, program: string, config: unknown): Promise<Talk> {
  const args = ["run", "-A", program, JSON.stringify(config)];
  const options = { stdin: "piped", stdout: "piped" } as const;
  const talk = new Talk(space.spawn(Deno.execPath(), args, options));
  if (await talk.line() !== "ready") throw failed(`${program} does not start`);
  return talk;
}

function failed(why: string): OmertaError {
  return new OmertaError("bench-failed", `Cannot measure over a bad line: ${why}`);
}

/** The line, with a queue of one round trip, or a little where that is short. */
function lineOf(roundTripMs: number, loss: number): RelayLine {
  const queueBytes = Math.max(MBIT * 125 * roundTripMs, 100_000);
  return { roundTripMs, loss, mbit: MBIT, queueBytes, seed: SEED };
}

/** Mbit/s at the other end, from the kernel with this congestion control. */
async function fromKernel(from: Namespace, to: Namespace, control: string): Promise<number> {
  // One for each run: the end of a run may be lost on the line, and another find the server busy.
  const listener = to.spawn("iperf3", ["-s", "-1"], { stdout: "null", stderr: "null" });
  await until(
    async () => (await to.run("ss", ["-ltnH", "sport", "=", ":5201"])).stdout !== "",
    { what: "iperf3 to listen" },
  );
  const { stdout } = await from.runChecked("iperf3", [
    ...["-c", TO, "-C", control, "-t", String(RUN_S), "-J"],
  ], { timeoutMs: 2 * RUN_S * 1000 + 10_000 });
  listener.kill("SIGKILL");
  await listener.status;
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e6;
}

/** Mbit/s at the other end, from a userspace stack. */
async function fromStack(
  from: Namespace,
  to: Namespace,
  congestion: CongestionName,
): Promise<number> {
  const config: TcpNodeConfig = {
    tun: "omt0",
    kernel: "10.9.0.1/24",
    address: STACK,
    mtu: MTU,
    congestion,
  };
  await using _node = await start(from, NODE, config);
  const job: Job = { kind: "receive", host: STACK, port: STACK_PORT, ms: RUN_S * 1000 };
  const { stdout } = await to.runChecked(
    Deno.execPath(),
    ["run", "-A", CLIENT, JSON.stringify([job])],
    { timeoutMs: 2 * RUN_S * 1000 + 10_000 },
  );
  const [result]: JobResult[] = JSON.parse(stdout);
  if (result === undefined || result.error !== undefined) throw failed(String(result?.error));
  return result.read * 8 / result.ms / 1000;
}

async function overRelay(): Promise<Row[]> {
  await using lab = await NetLab.create();
  const from = await lab.namespace("from");
  const to = await lab.namespace("to");
  // What one connection has learned of the line must not help the next.
  const settings = "echo 1 > /proc/sys/net/ipv4/ip_forward; " +
    "echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save";
  await from.runChecked("sh", ["-c", settings]);
  const spaceOf = ({ name }: Namespace): string => `/run/netns/${name}`;
  const config: RelayConfig = {
    ends: [
      { space: spaceOf(from), tun: "line0", address: `${FROM}/24` },
      { space: spaceOf(to), tun: "line1", address: `${TO}/24` },
    ],
    mtu: MTU,
  };
  await using relay = await start(from, RELAY, config);
  await to.route("add", `${STACK}/32`, "via", FROM);
  const begin = (line: RelayLine): Promise<RelayCount> => relay.ask(JSON.stringify(line));
  const hasBbr = (await Deno.readTextFile(KERNEL_CONTROLS)).split(/\s+/).includes("bbr");
  const rows: Row[] = [];
  for (const roundTripMs of ROUND_TRIPS_MS) {
    for (const loss of LOSSES) {
      const line = lineOf(roundTripMs, loss);
      await begin(line);
      const references = [{ name: "kernel CUBIC", value: await fromKernel(from, to, "cubic") }];
      await begin(line);
      if (hasBbr) references.push({ name: "kernel BBR", value: await fromKernel(from, to, "bbr") });
      for (const congestion of OURS) {
        await begin(line);
        const value = await fromStack(from, to, congestion);
        const { packets, lost, overflowed } = await begin(line);
        rows.push({
          name: `tcp, bad line, ${roundTripMs} ms, ${loss * 100} %, ${congestion}`,
          value,
          unit: "Mbit/s",
          references,
          note: `${lost} of ${packets} lost, ${overflowed} too many`,
        });
      }
    }
  }
  return rows;
}

const scratch = new Uint8Array(256 * 1024);

/** Mbit/s of one stack to another in virtual time. */
function inVirtualTime(roundTripMs: number, loss: number, congestion: CongestionName): number {
  const { queueBytes } = lineOf(roundTripMs, loss);
  const link = { delayMs: roundTripMs / 2, loss, rate: MBIT * 125, queueBytes };
  const sim = new Simulation({ seed: SEED, link, congestion });
  let bytes = 0;
  const onReadable = (c: TcpConnection): void => {
    for (let n = c.read(scratch); n > 0; n = c.read(scratch)) bytes += n;
  };
  const onWritable = (c: TcpConnection): void => {
    while (c.write(scratch) === scratch.length);
  };
  sim.b.listen({ onSyn: (pending) => void pending.accept({ onReadable }) });
  sim.a.connect({ to: ADDRESS_B, port: 80, handler: { onWritable } });
  sim.pass(VIRTUAL_MS);
  return bytes * 8 / VIRTUAL_MS / 1000;
}

/** B4. */
export const tcpLossBench: Bench = {
  name: "tcp-loss",
  missing: rootMissing ?? netlabMissing ??
    (libc() === undefined ? "needs FFI on Linux" : undefined) ?? commandMissing("ip", "iperf3"),
  async run(): Promise<Row[]> {
    const rows = await overRelay();
    for (const roundTripMs of ROUND_TRIPS_MS) {
      for (const loss of LOSSES) {
        rows.push({
          name: `tcp, bad line, ${roundTripMs} ms, ${loss * 100} %, bbr, virtual time`,
          value: inVirtualTime(roundTripMs, loss, "bbr"),
          unit: "Mbit/s",
          references: [{ name: "cubic", value: inVirtualTime(roundTripMs, loss, "cubic") }],
        });
      }
    }
    return rows;
  },
};
