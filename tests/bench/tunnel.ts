/**
 * B3: TCP through a tunnel between two network namespaces, a data plane with a TUN device in each, and
 * `wireguard-go` between the same two in the same run.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { libc } from "../../net/os/libc.ts";
import type { FixtureConfig } from "../../net/plane/plane_program.ts";
import { generatePrivateKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, rootMissing } from "../support/requires.ts";
import { until } from "../support/until.ts";
import type { Bench, Row } from "./bench.ts";
import { percentile } from "./statistics.ts";

/** Length of each measurement (s). */
const RUN_S = 5;
const STREAMS = [1, 4] as const;
/** Shares of the pings that take no longer than what is printed. */
const SHARES = [0.5, 0.9, 0.99] as const;
const PORT = 51820;
const MTU = 1400;
const FIXTURE = new URL("../../net/plane/plane_program.ts", import.meta.url).pathname;

/** One end of the tunnel. */
interface Side {
  readonly space: Namespace;
  readonly key: Uint8Array;
  /** On the cable between the namespaces. */
  readonly outer: string;
  /** Inside the tunnel. */
  readonly inner: string;
}

/** Ends a tunnel. */
type Stop = () => Promise<void>;

async function startPlane(own: Side, other: Side): Promise<Stop> {
  const config: FixtureConfig = {
    privateKey: own.key.toHex(),
    port: PORT,
    tun: { name: "omerta0", address: `${own.inner}/24`, mtu: MTU },
    peers: [{
      publicKey: publicKeyOf(other.key).toHex(),
      endpoint: [other.outer, PORT],
      allowedIps: [`${other.inner}/32`],
    }],
  };
  const child = own.space.spawn(
    Deno.execPath(),
    ["run", "-A", FIXTURE, JSON.stringify(config)],
    { stdin: "piped", stdout: "piped" },
  );
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  if (!new TextDecoder().decode(value).startsWith("ready")) {
    throw new OmertaError("bench-failed", "Cannot start a data plane");
  }
  return async () => {
    await child.stdin.close();
    await reader.cancel();
    await child.status;
  };
}

async function startWireguardGo(own: Side, other: Side, folder: string): Promise<Stop> {
  const { space } = own;
  const device = `wg${crypto.randomUUID().slice(0, 8)}`;
  const child = space.spawn("wireguard-go", ["-f", device], {
    stdout: "null",
    stderr: "null",
    env: { WG_PROCESS_FOREGROUND: "1" },
  });
  const keyFile = `${folder}/${device}`;
  await Deno.writeTextFile(keyFile, own.key.toBase64(), { mode: 0o600 });
  await until(async () => (await space.run("wg", ["show", device])).code === 0, {
    what: "wireguard-go to answer",
  });
  await space.runChecked("wg", [
    ...["set", device, "listen-port", String(PORT), "private-key", keyFile],
    ...["peer", publicKeyOf(other.key).toBase64(), "endpoint", `${other.outer}:${PORT}`],
    ...["allowed-ips", `${other.inner}/32`],
  ]);
  await space.addAddress(device, `${own.inner}/24`);
  await space.runChecked("ip", ["link", "set", device, "mtu", String(MTU), "up"]);
  return async () => {
    child.kill("SIGTERM");
    await child.status;
  };
}

/** Gbit/s at the receiver, by number of streams. */
async function iperf(client: Side, server: Side, address: string): Promise<Map<number, number>> {
  await until(
    async () => (await client.space.run("ping", ["-c", "1", "-W", "1", address])).code === 0,
    { what: `${address} to answer` },
  );
  const listener = server.space.spawn("iperf3", ["-s"], { stdout: "null", stderr: "null" });
  await until(
    async () => (await server.space.run("ss", ["-ltnH", "sport", "=", ":5201"])).stdout !== "",
    { what: "iperf3 to listen" },
  );
  const rates = new Map<number, number>();
  for (const streams of STREAMS) {
    const { stdout } = await client.space.runChecked("iperf3", [
      ...["-c", address, "-t", String(RUN_S), "-P", String(streams), "-J"],
    ]);
    rates.set(streams, JSON.parse(stdout).end.sum_received.bits_per_second / 1e9);
  }
  listener.kill("SIGTERM");
  await listener.status;
  return rates;
}

/** Round trips, ascending (us). */
async function ping(from: Side, address: string): Promise<number[]> {
  const { stdout } = await from.space.runChecked("ping", [
    ...["-c", "1000", "-i", "0.002", address],
  ]);
  return Array.from(stdout.matchAll(/time=([\d.]+) ms/g), ([, ms]) => Number(ms) * 1000)
    .sort((x, y) => x - y);
}

/** B3. */
export const tunnelBench: Bench = {
  name: "tunnel",
  missing: rootMissing ?? netlabMissing ??
    (libc() === undefined ? "needs FFI on Linux" : undefined) ??
    commandMissing("ip", "iperf3", "wireguard-go", "wg"),
  async run(): Promise<Row[]> {
    await using lab = await NetLab.create();
    await using owned = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "omerta-bench-" });
    owned.defer(() => Deno.remove(folder, { recursive: true }));
    const a: Side = {
      space: await lab.namespace("a"),
      key: generatePrivateKey(),
      outer: "192.168.78.1",
      inner: "10.0.0.1",
    };
    const b: Side = {
      space: await lab.namespace("b"),
      key: generatePrivateKey(),
      outer: "192.168.78.2",
      inner: "10.0.0.2",
    };
    await lab.connect(a.space, `${a.outer}/24`, b.space, `${b.outer}/24`);

    const bare = await iperf(a, b, b.outer);
    const ours = [await startPlane(a, b), await startPlane(b, a)];
    const plane = await iperf(a, b, b.inner);
    const latency = await ping(a, b.inner);
    for (const stop of ours) await stop();
    const theirs = [await startWireguardGo(a, b, folder), await startWireguardGo(b, a, folder)];
    const go = await iperf(a, b, b.inner);
    const goLatency = await ping(a, b.inner);
    for (const stop of theirs) await stop();
    const name = "wireguard-go";
    return [
      ...STREAMS.map((streams) => ({
        name: `tunnel, ${streams} stream${streams > 1 ? "s" : ""}`,
        value: plane.get(streams),
        unit: "Gbit/s",
        references: [{ name, value: go.get(streams) ?? 0 }],
        note: `${(bare.get(streams) ?? 0).toFixed(1)} without a tunnel`,
      })),
      ...SHARES.map((share) => ({
        name: `tunnel, ping p${share * 100}`,
        value: percentile(latency, share),
        unit: "us",
        references: [{ name, value: percentile(goLatency, share) }],
      })),
    ];
  },
};
