/**
 * Planes with a TUN device in namespaces of their own, against each other and against `wireguard-go`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Namespace, NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { commandMissing, rootMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { libc } from "../os/libc.ts";
import { generatePresharedKey, generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import type { PlaneStats } from "./plane.ts";
import { type FixtureConfig, startPlane } from "./plane_fixture.ts";

const missing = rootMissing ?? netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ??
  commandMissing("ip", "ping", "iperf3");

const PORT = 51820;
const SERVER = "192.168.77.1";
const CLIENT = "192.168.77.2";

function configOf(
  key: Uint8Array,
  address: string,
  peer: { key: Uint8Array; address: string; at?: string; psk?: Uint8Array },
): FixtureConfig {
  return {
    privateKey: key.toHex(),
    port: PORT,
    tun: { name: "omerta0", address: `${address}/24` },
    peers: [{
      publicKey: publicKeyOf(peer.key).toHex(),
      allowedIps: [`${peer.address}/32`],
      ...(peer.at ? { endpoint: [peer.at, PORT] as const } : {}),
      ...(peer.psk ? { presharedKey: peer.psk.toHex() } : {}),
    }],
  };
}

/** Sends 8 MB each way by TCP and checks that all of it is acknowledged. */
async function transfer(client: Namespace, server: Namespace, address: string): Promise<void> {
  const listener = server.spawn("iperf3", ["-s"], { stdout: "null", stderr: "null" });
  await until(
    async () => (await server.run("ss", ["-ltnH", "sport", "=", ":5201"])).stdout !== "",
    { what: "iperf3 to listen" },
  );
  for (const extra of [[], ["-R"], ["-P", "4"]]) {
    const { stdout } = await client.runChecked("iperf3", [
      ..."-n 8M -J -c".split(" "),
      address,
      ...extra,
    ]);
    assert.ok(JSON.parse(stdout).end.sum_sent.bytes >= 8_000_000);
  }
  listener.kill("SIGTERM");
  await listener.status;
}

testIf(missing, "W4: two planes carry ping and TCP through their TUN devices", async () => {
  await using lab = await NetLab.create();
  const [a, b] = [await lab.namespace("a"), await lab.namespace("b")];
  await lab.connect(a, `${SERVER}/24`, b, `${CLIENT}/24`);
  const [keyA, keyB] = [generatePrivateKey(), generatePrivateKey()];
  await using _a = await startPlane(
    a,
    configOf(keyA, "10.0.0.1", { key: keyB, address: "10.0.0.2" }),
  );
  await using planeB = await startPlane(
    b,
    configOf(keyB, "10.0.0.2", { key: keyA, address: "10.0.0.1", at: SERVER }),
  );
  const ping = await b.runChecked("ping", ["-c", "5", "-i", "0.05", "-W", "5", "10.0.0.1"]);
  assert.match(ping.stdout, /5 received/);
  // From the side that had to wait to be found.
  await a.runChecked("ping", ["-c", "2", "-i", "0.05", "-W", "5", "10.0.0.2"]);
  await transfer(b, a, "10.0.0.1");
  const stats = await planeB.ask("stats") as PlaneStats;
  const [peer] = stats.peers;
  assert.ok(peer && peer.rxBytes > 8_000_000 && peer.txBytes > 8_000_000);
  assert.equal(stats.wireguard.badTag, 0);
});

testIf(
  missing ?? commandMissing("wireguard-go", "wg"),
  "W2: a plane and wireguard-go carry ping and TCP to each other, with a preshared key",
  async () => {
    await using lab = await NetLab.create();
    const [a, b] = [await lab.namespace("ours"), await lab.namespace("theirs")];
    await lab.connect(a, `${SERVER}/24`, b, `${CLIENT}/24`);
    const [ours, theirs, psk] = [
      generatePrivateKey(),
      generatePrivateKey(),
      generatePresharedKey(),
    ];
    await using _a = await startPlane(
      a,
      configOf(ours, "10.0.0.1", { key: theirs, address: "10.0.0.2", psk }),
    );
    await using temp = await temporaryFolder();
    const device = `wg${crypto.randomUUID().slice(0, 8)}`;
    const go = b.spawn("wireguard-go", ["-f", device], {
      stdout: "null",
      env: { WG_PROCESS_FOREGROUND: "1", LOG_LEVEL: "error" },
    });
    await Deno.writeTextFile(`${temp.path}/key`, theirs.toBase64(), { mode: 0o600 });
    await Deno.writeTextFile(`${temp.path}/psk`, psk.toBase64(), { mode: 0o600 });
    await until(async () => (await b.run("wg", ["show", device])).code === 0, {
      what: "wireguard-go to answer",
    });
    await b.runChecked("wg", [
      ...["set", device, "private-key", `${temp.path}/key`],
      ...["peer", publicKeyOf(ours).toBase64(), "preshared-key", `${temp.path}/psk`],
      ...["endpoint", `${SERVER}:${PORT}`, "allowed-ips", "10.0.0.1/32"],
    ]);
    await b.addAddress(device, "10.0.0.2/24");
    await b.setLink(device, "up");
    const ping = await b.runChecked("ping", ["-c", "5", "-i", "0.05", "-W", "5", "10.0.0.1"]);
    assert.match(ping.stdout, /5 received/);
    await transfer(b, a, "10.0.0.1");
    go.kill("SIGTERM");
    await go.status;
  },
);

testIf(missing, "L5: closing a plane, and killing its process, leaves no interface", async () => {
  await using lab = await NetLab.create();
  const space = await lab.namespace("alone");
  const config = configOf(generatePrivateKey(), "10.0.0.1", {
    key: generatePrivateKey(),
    address: "10.0.0.2",
  });
  const shown = async (): Promise<number> =>
    (await space.run("ip", ["link", "show", "omerta0"])).code;
  {
    await using _plane = await startPlane(space, config);
    assert.equal(await shown(), 0);
  }
  assert.notEqual(await shown(), 0);
  await using killed = await startPlane(space, config);
  assert.equal(await shown(), 0);
  killed.child.kill("SIGKILL");
  await killed.child.status;
  await until(async () => await shown() !== 0, { what: "the interface to go" });
});

testIf(missing, "W4: a plane whose TUN name is taken says interface-in-use", async () => {
  await using lab = await NetLab.create();
  const space = await lab.namespace("taken");
  await space.runChecked("ip", ["tuntap", "add", "dev", "omerta0", "mode", "tun"]);
  const config = configOf(generatePrivateKey(), "10.0.0.1", {
    key: generatePrivateKey(),
    address: "10.0.0.2",
  });
  const { code, stderr } = await space.run(Deno.execPath(), [
    "run",
    "-A",
    new URL("plane_program.ts", import.meta.url).pathname,
    JSON.stringify(config),
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /Cannot make interface omerta0: one of that name exists/);
});

testIf(missing, "L5: a plane whose interface is removed under it fails and says so", async () => {
  await using lab = await NetLab.create();
  const space = await lab.namespace("gone");
  const config = configOf(generatePrivateKey(), "10.0.0.1", {
    key: generatePrivateKey(),
    address: "10.0.0.2",
  });
  await using plane = await startPlane(space, config, "piped");
  await space.runChecked("ip", ["link", "delete", "omerta0"]);
  const said = await new Response(plane.child.stderr).text();
  assert.match(said, /somebody has removed interface omerta0/);
  assert.equal((await plane.child.status).code, 1);
});

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: "omerta-plane-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
