/**
 * TCP of a namespace's kernel through a gateway without a kernel's help: Omerta's stack behind a TUN
 * device, slirp4netns and pasta (which is passt with a TAP device) behind a TAP device, each in front of
 * a namespace of its own, in the network of bench_net.ts. iperf3 sends and receives, both ends of it on
 * the processor that the gateway has not.
 *
 * @module
 */

import { OmertaError } from "../../../lib/core/errors.ts";
import type { Namespace } from "../../netlab/netlab.ts";
import { until } from "../../support/until.ts";
import type { Row } from "../bench.ts";
import { BenchNet, NET, pinnedTo } from "./bench_net.ts";
import type { ForwarderName } from "./lane_config.ts";
import type { GatewayConfig } from "../../interop/gateway.ts";
import { processors } from "./processors.ts";
import { processorTime } from "./rates.ts";

/** Length of each measurement (s). */
const RUN_S = 3;
/** How long one attempt of it may take, and all of them together (ms). */
const ATTEMPT_MS = 15_000;
const LIMIT_MS = 30_000;
const PORT = 5201;
const OUR_PROGRAM = new URL("../../interop/gateway.ts", import.meta.url).pathname;
/** The addresses of libslirp. */
const OURS: Pick<GatewayConfig, "tun" | "kernel" | "address"> = {
  tun: "omt0",
  kernel: "10.0.2.100/24",
  address: "10.0.2.2",
};

/** An Ethernet's, and what pasta and rootless containers choose. */
const MTUS = [1500, 65520] as const;
const OTHERS: readonly ForwarderName[] = ["passt", "slirp4netns"];
/** What is sent through each: from the guest, to the guest, over one connection and several. */
const LOADS = [
  { way: "up", streams: 1 },
  { way: "up", streams: 8 },
  { way: "down", streams: 1 },
  { way: "down", streams: 8 },
] as const;

/** What came through a gateway. */
interface GatewayRate {
  /** At the receiver. */
  readonly gbits: number;
  /** Processor time of the gateway for each gigabit (s). */
  readonly cost: number;
  /** Share of the time in which the gateway's processor worked for it, 0 to 1. */
  readonly busy: number;
}

/** A rate and what it costs for each MTU, way and number of streams. */
export async function gatewayRows(): Promise<Row[]> {
  await using bench = await BenchNet.create();
  await startServer(bench);
  const rows: Row[] = [];
  for (const mtu of MTUS) {
    const ours = await measureGateway(bench, "omerta", mtu);
    const others: (readonly [ForwarderName, GatewayRate[]])[] = [];
    for (const name of OTHERS) others.push([name, await measureGateway(bench, name, mtu)]);
    for (const [i, { way, streams }] of LOADS.entries()) {
      const rates = [ours, ...others.map(([, all]) => all)].flatMap((all) => all[i] ?? []);
      const row = (what: string, unit: string, number: (rate: GatewayRate) => number): Row => ({
        name: `tcp, gateway, MTU ${mtu}, ${way}, ${streams} stream${streams > 1 ? "s" : ""}${what}`,
        value: number(rates[0] ?? NO_RATE),
        unit,
        references: OTHERS.map((name, o) => ({ name, value: number(rates[o + 1] ?? NO_RATE) })),
      });
      const busy = rates.map((rate) => `${Math.round(rate.busy * 100)} %`).join(", ");
      rows.push({ ...row("", "Gbit/s", ({ gbits }) => gbits), note: `busy ${busy}` });
      rows.push(row(": cost", "ms/Gbit", ({ cost }) => cost * 1000));
    }
  }
  return rows;
}

/** Starts the far end's server; it ends with the network. */
async function startServer(bench: BenchNet): Promise<void> {
  const pinned = pinnedTo(processors.generator, "iperf3", ["--server", "--port", String(PORT)]);
  bench.net.spawn("taskset", pinned, { stdout: "null", stderr: "null" });
  await until(
    async () => (await bench.net.run("ss", ["-ltnH", "sport", "=", `:${PORT}`])).stdout !== "",
    { what: "iperf3 to listen" },
  );
}

const NO_RATE: GatewayRate = { gbits: NaN, cost: NaN, busy: NaN };

/** Measures all {@link LOADS} through one gateway, whose guest has an interface of `mtu`. */
async function measureGateway(
  bench: BenchNet,
  name: ForwarderName,
  mtu: number,
): Promise<GatewayRate[]> {
  const guest = await bench.guest(name);
  const child = await start(bench, guest, name, mtu);
  const rates: GatewayRate[] = [];
  for (const { way, streams } of LOADS) {
    rates.push(await measure(guest, child.pid, way, streams));
  }
  child.kill("SIGKILL");
  await child.status;
  return rates;
}

async function start(
  bench: BenchNet,
  guest: Namespace,
  name: ForwarderName,
  mtu: number,
): Promise<Deno.ChildProcess> {
  const namespace = `/run/netns/${guest.name}`;
  const [program, args] = commandOf(name, namespace, mtu);
  const child = bench.startForwarder(program, args);
  await bench.started(child, name, async () => {
    const links = await guest.ip("-oneline", "link", "show", "up");
    if (name === "omerta") return links.includes(` ${OURS.tun}: `);
    return (await guest.route("show", "default")) !== "";
  });
  if (name === "omerta") await guest.route("add", "default", "dev", OURS.tun);
  const links = await guest.ip("-oneline", "link", "show", "up");
  if (!links.includes(` mtu ${mtu} `)) {
    throw new OmertaError("bench-failed", `Cannot compare ${name}: its MTU is not ${mtu}`);
  }
  return child;
}

function commandOf(name: ForwarderName, namespace: string, mtu: number): [string, string[]] {
  switch (name) {
    case "omerta": {
      const config: GatewayConfig = { ...OURS, namespace, mtu };
      return [Deno.execPath(), [
        "run",
        "--quiet",
        "--allow-all",
        OUR_PROGRAM,
        JSON.stringify(config),
      ]];
    }
    case "slirp4netns":
      return ["slirp4netns", [
        ...["--configure", `--mtu=${mtu}`, "--disable-dns", "--netns-type=path"],
        ...[namespace, "tap0"],
      ]];
    case "passt":
      // As root it would become "nobody", who may not enter a namespace of root's.
      return ["pasta", [
        ...["--foreground", "--quiet", "--runas", "0", "--ipv4-only", "--config-net"],
        ...["--mtu", String(mtu), "--no-map-gw", "--tcp-ports", "none", "--udp-ports", "none"],
        ...["--tcp-ns", "none", "--udp-ns", "none", "--netns", namespace],
      ]];
  }
}

async function measure(
  guest: Namespace,
  pid: number,
  way: "up" | "down",
  streams: number,
): Promise<GatewayRate> {
  const client = pinnedTo(processors.generator, "iperf3", [
    ...["--client", NET, "--port", String(PORT), "--time", String(RUN_S), "--json"],
    ...["--parallel", String(streams), ...(way === "down" ? ["--reverse"] : [])],
  ]);
  // The server may still be busy with the end of the test before, and then refuses.
  return await until(async () => {
    const before = processorTime(pid);
    const { stdout } = await guest.run("taskset", client, { timeoutMs: ATTEMPT_MS });
    const worked = (processorTime(pid) - before) / 1e6;
    const received = parseReceived(stdout);
    if (received === undefined) return undefined;
    const gigabits = received.bytes * 8 / 1e9;
    const { seconds } = received;
    return { gbits: gigabits / seconds, cost: worked / gigabits, busy: worked / seconds };
  }, { what: `iperf3 through process ${pid}`, timeoutMs: LIMIT_MS });
}

/** What iperf3 says of the receiver; undefined when the test has failed. */
function parseReceived(json: string): { bytes: number; seconds: number } | undefined {
  const sum = json === "" ? undefined : JSON.parse(json).end?.sum_received;
  return sum?.bytes > 0 ? { bytes: sum.bytes, seconds: sum.seconds } : undefined;
}
