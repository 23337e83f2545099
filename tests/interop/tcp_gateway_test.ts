import assert from "node:assert/strict";
import { libc } from "../../net/os/libc.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, rootMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import type { Job, JobResult } from "./tcp_client.ts";
import type { GatewayConfig } from "./tcp_gateway.ts";

const missing = rootMissing ?? netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ?? commandMissing("ip", "ss");

const GATEWAY = new URL("./tcp_gateway.ts", import.meta.url).pathname;
const CLIENT = new URL("./tcp_client.ts", import.meta.url).pathname;
const NET = "192.168.78.2";
const FIRST_PORT = 7000;

/** A guest whose only way out is a gateway in `host`, and a neighbour of the gateway's. */
interface Places {
  readonly guest: Namespace;
  readonly host: Namespace;
  readonly net: Namespace;
}

async function start(lab: NetLab, mtu: number): Promise<Places> {
  const [guest, host] = [await lab.namespace("guest"), await lab.namespace("host")];
  const net = await lab.namespace("net");
  await lab.connect(host, "192.168.78.1/24", net, `${NET}/24`);
  const config: GatewayConfig = {
    namespace: `/run/netns/${guest.name}`,
    tun: "omt0",
    kernel: "10.0.2.100/24",
    address: "10.0.2.2",
    mtu,
  };
  host.spawn(Deno.execPath(), ["run", "--allow-all", GATEWAY, JSON.stringify(config)], {
    stdout: "null",
  });
  await until(
    async () => (await guest.ip("-oneline", "link", "show", "up")).includes(" omt0: "),
    { what: "the gateway's interface" },
  );
  await guest.route("add", "default", "dev", "omt0");
  return { guest, host, net };
}

async function run(space: Namespace, jobs: readonly Job[]): Promise<JobResult[]> {
  const args = ["run", "--allow-all", CLIENT, JSON.stringify(jobs)];
  return JSON.parse((await space.runChecked(Deno.execPath(), args, { timeoutMs: 60_000 })).stdout);
}

for (const mtu of [1400, 65520]) {
  testIf(
    missing,
    `G1: a kernel's TCP reaches servers outside through the stack, MTU ${mtu}`,
    async () => {
      await using lab = await NetLab.create();
      const { guest, net } = await start(lab, mtu);
      const ports = Array.from({ length: 8 }, (_, i) => FIRST_PORT + i);
      const served = run(net, ports.map((port) => ({ kind: "serve", host: NET, port })));
      await until(
        async () => (await net.run("ss", ["-ltnH"])).stdout.trim().split("\n").length === 8,
        { what: "servers to listen" },
      );
      const results = await run(
        guest,
        ports.map((port) => ({ kind: "echo", host: NET, port, bytes: 3_000_000 })),
      );
      for (const { error, sent, read, sentHash, readHash } of results) {
        assert.deepEqual([error, sent, read], [undefined, 3_000_000, 3_000_000]);
        assert.equal(readHash, sentHash);
      }
      assert.ok((await served).every(({ error }) => error === undefined));
    },
  );
}

testIf(
  missing,
  "G1: a kernel's TCP hears from outside that nobody listens, and that no way leads there",
  async () => {
    await using lab = await NetLab.create();
    const { guest } = await start(lab, 1400);
    const results = await run(guest, [
      { kind: "echo", host: NET, port: 9, bytes: 1 },
      { kind: "echo", host: "203.0.113.9", port: 9, bytes: 1 },
    ]);
    const [refused = "", unreachable = ""] = results.map(({ error }) => error);
    assert.match(refused, /ConnectionRefused/);
    assert.match(unreachable, /os error 113/);
  },
);
