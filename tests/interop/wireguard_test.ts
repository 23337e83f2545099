import assert from "node:assert/strict";
import { linesOf } from "./_lines.ts";
import type { NodeConfig, NodeEvent } from "./wireguard_node.ts";
import {
  emitConfig,
  parseConfig,
  parseEndpoint,
  type WireGuardConfig,
} from "../../net/wireguard/config_text.ts";
import {
  formatKey,
  generatePresharedKey,
  generatePrivateKey,
  publicKeyOf,
} from "../../net/wireguard/keys.ts";
import { parseIpv4, parseIpv4Prefix } from "../../net/wire/ip_address.ts";
import { type Namespace, NetLab, netlabMissing } from "../netlab/netlab.ts";
import { commandMissing, testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";

const missing = netlabMissing ?? commandMissing("wireguard-go", "wg", "wg-quick", "ping");

/** Inner addresses: ours is the TypeScript device, theirs is wireguard-go. */
const OURS = "10.99.0.1";
const THEIRS = "10.99.0.2";
const OUR_PORT = 51821;
const THEIR_PORT = 51822;

/** wireguard-go keeps its control socket under the interface's name, for all namespaces. */
let interfaces = 0;

/** The TypeScript device, running as a program in a namespace. */
class OurNode {
  readonly events: NodeEvent[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;

  constructor(namespace: Namespace, config: NodeConfig) {
    const program = new URL("wireguard_node.ts", import.meta.url).pathname;
    this.#child = namespace.spawn(Deno.execPath(), ["run", "-A", program, JSON.stringify(config)], {
      stdin: "piped",
      stdout: "piped",
    });
    this.#stdin = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const line of linesOf(this.#child.stdout)) this.events.push(JSON.parse(line));
  }

  async command(line: string): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode(`${line}\n`));
  }

  count(event: NodeEvent["event"]): number {
    return this.events.filter((one) => one.event === event).length;
  }

  /** Waits until an event has come `times` times. */
  async seen(event: NodeEvent["event"], times = 1): Promise<void> {
    await until(() => this.count(event) >= times, {
      what: `${event} number ${times} of ${JSON.stringify(this.events)}`,
      timeoutMs: 20_000,
    });
  }

  async stats(): Promise<Readonly<Record<string, number>>> {
    const before = this.count("stats");
    await this.command("stats");
    await this.seen("stats", before + 1);
    return this.events.findLast((one) => one.event === "stats")?.stats ?? {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.command("quit");
      await this.#stdin.close();
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    await this.#reading;
  }
}

/** wireguard-go in one namespace, an empty one for us beside it, and keys for both. */
class Lab {
  readonly ours: Namespace;
  readonly theirs: Namespace;
  readonly ourKey = generatePrivateKey();
  readonly theirKey = generatePrivateKey();
  readonly presharedKey = generatePresharedKey();
  /** Name of wireguard-go's interface. */
  readonly wg = `wgt${Deno.pid}n${interfaces++}`;
  readonly #lab: NetLab;

  private constructor(lab: NetLab, ours: Namespace, theirs: Namespace) {
    this.#lab = lab;
    this.ours = ours;
    this.theirs = theirs;
  }

  static async create(): Promise<Lab> {
    const lab = await NetLab.create();
    const ours = await lab.namespace("ours");
    const theirs = await lab.namespace("theirs");
    await lab.connect(ours, "192.0.2.1/24", theirs, "192.0.2.2/24");
    return new Lab(lab, ours, theirs);
  }

  /** Starts wireguard-go; it knows where we are if it is told so. */
  async startTheirs(peer: { readonly endpoint?: boolean } = {}): Promise<void> {
    this.theirs.spawn("wireguard-go", ["--foreground", this.wg], {
      stdout: "null",
      stderr: "null",
      env: { WG_PROCESS_FOREGROUND: "1", LOG_LEVEL: "silent" },
    });
    await until(async () => (await this.theirs.run("wg", ["show", this.wg])).code === 0, {
      what: "wireguard-go to answer",
    });
    await this.configureTheirs(peer.endpoint === true);
    await this.theirs.addAddress(this.wg, `${THEIRS}/24`);
    await this.theirs.setLink(this.wg, "up");
  }

  /** Gives wireguard-go its configuration; it forgets every session. */
  async configureTheirs(withEndpoint: boolean): Promise<void> {
    const endpoint = parseEndpoint(`192.0.2.1:${OUR_PORT}`);
    const allowed = parseIpv4Prefix(`${OURS}/32`);
    assert.ok(endpoint && allowed);
    const input = emitConfig({
      privateKey: this.theirKey,
      addresses: [],
      listenPort: THEIR_PORT,
      peers: [{
        publicKey: publicKeyOf(this.ourKey),
        presharedKey: this.presharedKey,
        allowedIps: [allowed],
        ...(withEndpoint ? { endpoint } : {}),
      }],
    });
    await this.theirs.runChecked("wg", ["setconf", this.wg, "/dev/stdin"], { input });
  }

  async startOurs(config: Partial<NodeConfig> = {}): Promise<OurNode> {
    const node = new OurNode(this.ours, {
      privateKey: formatKey(this.ourKey),
      address: OURS,
      port: OUR_PORT,
      publicKey: formatKey(publicKeyOf(this.theirKey)),
      presharedKey: formatKey(this.presharedKey),
      allowedIps: `${THEIRS}/32`,
      ...config,
    });
    await node.seen("listening");
    return node;
  }

  /** The kernel's ping through wireguard-go, which tries a handshake again after 5 s. */
  async ping(count = 1, size = 56): Promise<boolean> {
    const args = ["-c", String(count), "-i", "0.2", "-W", "20", "-s", String(size), OURS];
    return (await this.theirs.run("ping", args)).code === 0;
  }

  /** What `wg show INTERFACE WHAT` prints behind the key. */
  async show(what: string): Promise<string> {
    const { stdout } = await this.theirs.runChecked("wg", ["show", this.wg, what]);
    return stdout.trim().split("\t").slice(1).join(" ");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab[Symbol.asyncDispose]();
  }
}

testIf(
  missing,
  "W1: wireguard-go begins a session with Device and the kernel pings through it",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs({ endpoint: true });
    await using node = await lab.startOurs();
    assert.ok(await lab.ping(3));
    assert.ok(await lab.ping(2, 1392));
    await node.seen("handshake");
    await node.seen("request", 5);
    assert.equal(node.count("request"), 5);
    assert.notEqual(await lab.show("latest-handshakes"), "0");
    const stats = await node.stats();
    assert.deepEqual(Object.keys(stats), ["rx", "tx"]);
    assert.equal(await lab.show("transfer"), `${stats.tx} ${stats.rx}`);
  },
);

testIf(
  missing,
  "W1: Device begins a session with wireguard-go and its kernel answers",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs();
    await using node = await lab.startOurs({ endpoint: `192.0.2.2:${THEIR_PORT}` });
    await node.command(`ping ${THEIRS}`);
    await node.seen("reply");
    assert.equal(node.count("handshake"), 1);
    assert.equal(await lab.show("endpoints"), `192.0.2.1:${OUR_PORT}`);
    assert.ok(await lab.ping());
  },
);

testIf(missing, "W1: Device renews the session with wireguard-go while packets flow", async () => {
  await using lab = await Lab.create();
  await lab.startTheirs();
  await using node = await lab.startOurs({
    endpoint: `192.0.2.2:${THEIR_PORT}`,
    timing: { rekeyAfterMs: 2000, rekeyTimeoutMs: 500 },
  });
  await node.command(`ping ${THEIRS}`);
  await node.seen("reply");
  // Exit code 0 of ping with a deadline of its own would allow for loss: count what came.
  assert.ok(await lab.ping(26));
  await node.seen("request", 26);
  assert.equal(node.count("request"), 26);
  assert.ok(node.count("handshake") >= 3, `${node.count("handshake")} handshakes`);
  assert.deepEqual(Object.keys(await node.stats()), ["rx", "tx"]);
});

testIf(
  missing,
  "W1: Device and wireguard-go meet again when either forgets the session",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs({ endpoint: true });
    {
      await using node = await lab.startOurs();
      assert.ok(await lab.ping());
      await lab.configureTheirs(true);
      assert.equal(await lab.show("latest-handshakes"), "0");
      assert.ok(await lab.ping());
      await node.seen("handshake", 2);
      assert.equal(node.count("handshake"), 2);
    }
    await using node = await lab.startOurs({ endpoint: `192.0.2.2:${THEIR_PORT}` });
    await node.command(`ping ${THEIRS}`);
    await node.seen("reply");
    assert.ok(await lab.ping());
  },
);

testIf(
  missing,
  "W1: Device sends persistent and passive keepalives that wireguard-go takes",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs();
    await using node = await lab.startOurs({
      endpoint: `192.0.2.2:${THEIR_PORT}`,
      keepaliveSeconds: 1,
      timing: { keepaliveTimeoutMs: 300 },
    });
    // Nothing is sent but keepalives: they begin the session and go on.
    await node.seen("handshake");
    const received = async (): Promise<number> =>
      Number((await lab.show("transfer")).split(" ")[0]);
    const before = await received();
    await until(async () => await received() >= before + 64, { what: "two persistent keepalives" });
    // A datagram that nobody answers: the passive one follows within 0.3 s.
    const { tx = 0 } = await node.stats();
    await lab.theirs.runChecked("bash", ["-c", `echo hello > /dev/udp/${OURS}/9`]);
    await until(async () => ((await node.stats()).tx ?? 0) >= tx + 32, { what: "a keepalive" });
  },
);

testIf(missing, "W1: Device and wireguard-go follow each other to other addresses", async () => {
  await using lab = await Lab.create();
  await lab.startTheirs({ endpoint: true });
  await using node = await lab.startOurs();
  assert.ok(await lab.ping());
  await node.command(`rebind ${OUR_PORT + 100}`);
  await node.command(`ping ${THEIRS}`);
  await node.seen("reply");
  assert.equal(await lab.show("endpoints"), `192.0.2.1:${OUR_PORT + 100}`);
  assert.ok(await lab.ping());

  await lab.ours.deleteAddress("eth0", "192.0.2.1/24");
  await lab.ours.addAddress("eth0", "192.0.2.9/24");
  await node.command(`ping ${THEIRS}`);
  await node.seen("reply", 2);
  assert.equal(await lab.show("endpoints"), `192.0.2.9:${OUR_PORT + 100}`);

  // Moving its address would need wireguard-go to forget the source that it keeps for each peer.
  await lab.theirs.runChecked("wg", ["set", lab.wg, "listen-port", String(THEIR_PORT + 100)]);
  assert.ok(await lab.ping());
  await node.seen("roamed");
  const roamed = node.events.findLast((one) => one.event === "roamed");
  assert.equal(roamed?.from, `192.0.2.2:${THEIR_PORT + 100}`);
});

testIf(
  missing,
  "W1: Device and wireguard-go refuse inner addresses that are not allowed",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs({ endpoint: true });
    await using node = await lab.startOurs();
    assert.ok(await lab.ping());
    await lab.theirs.addAddress(lab.wg, "10.99.0.50/24");
    const args = ["-c", "1", "-W", "1", "-I", "10.99.0.50", OURS];
    assert.notEqual((await lab.theirs.run("ping", args)).code, 0);
    await until(async () => (await node.stats()).wrongSource === 1, {
      what: "the packet to be refused",
      timeoutMs: 20_000,
    });
    assert.equal(node.count("request"), 1);
    // They drop the first one and answer the second.
    await node.command(`ping ${THEIRS} 10.99.0.77`);
    await node.command(`ping ${THEIRS}`);
    await node.seen("reply");
    assert.equal(node.count("reply"), 1);
  },
);

testIf(
  missing,
  "W1: Device makes no session with wireguard-go when the preshared keys differ",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs({ endpoint: true });
    await using node = await lab.startOurs({ presharedKey: formatKey(generatePresharedKey()) });
    assert.notEqual((await lab.theirs.run("ping", ["-c", "1", "-W", "1", OURS])).code, 0);
    assert.equal(node.count("handshake"), 0);
    assert.equal(await lab.show("latest-handshakes"), "0");
  },
);

testIf(
  missing,
  "W1: Device under load gives wireguard-go a cookie and takes its proof",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs({ endpoint: true });
    await using node = await lab.startOurs({ handshakesPerSecond: 0 });
    assert.ok(await lab.ping());
    assert.equal((await node.stats()).cookieSent, 1);
    assert.equal(node.count("handshake"), 1);
  },
);

testIf(
  missing,
  "W2: wg shows what emitConfig() wrote, and parseConfig() reads it back",
  async () => {
    await using lab = await Lab.create();
    await lab.startTheirs();
    const config = sample();
    const text = emitConfig({ ...config, addresses: [] });
    await lab.theirs.runChecked("wg", ["setconf", lab.wg, "/dev/stdin"], { input: text });
    const { stdout } = await lab.theirs.runChecked("wg", ["showconf", lab.wg]);
    const shown = parseConfig(stdout);
    const byKey = (a: { publicKey: Uint8Array }, b: { publicKey: Uint8Array }): number =>
      formatKey(a.publicKey) < formatKey(b.publicKey) ? -1 : 1;
    assert.deepEqual([...shown.peers].sort(byKey), [...config.peers].sort(byKey));
    assert.deepEqual({ ...shown, peers: [] }, { ...config, addresses: [], peers: [] });
    const key = await lab.theirs.runChecked("wg", ["show", lab.wg, "public-key"]);
    assert.equal(key.stdout.trim(), formatKey(publicKeyOf(config.privateKey)));
  },
);

testIf(missing, "W2: wg-quick brings up what emitConfig() wrote, and takes it down", async () => {
  await using lab = await Lab.create();
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/${lab.wg}.conf`;
    const config = sample();
    await Deno.writeTextFile(file, emitConfig({ ...config, mtu: 1400 }), { mode: 0o600 });
    const stripped = await lab.theirs.runChecked("wg-quick", ["strip", file]);
    assert.deepEqual(parseConfig(stripped.stdout), { ...config, addresses: [] });
    await lab.theirs.runChecked("wg-quick", ["up", file]);
    const shown = (await lab.theirs.runChecked("ip", ["address", "show", lab.wg])).stdout;
    assert.match(shown, /mtu 1400/);
    assert.match(shown, /inet 10\.98\.0\.1\/24/);
    assert.match((await lab.theirs.runChecked("ip", ["route"])).stdout, /10\.97\.0\.0\/24 dev wgt/);
    await lab.theirs.runChecked("wg-quick", ["down", file]);
    assert.notEqual((await lab.theirs.run("ip", ["link", "show", lab.wg])).code, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** A server with three clients, each of another kind. */
function sample(): WireGuardConfig {
  const prefixes = ["10.98.0.2/32", "10.97.0.0/24", "10.98.0.3/32", "10.98.0.4/32"]
    .map(parseIpv4Prefix);
  const [first, net, second, third] = prefixes;
  const v4 = parseEndpoint("192.0.2.77:51820");
  const v6 = parseEndpoint("[2001:db8::7]:51820");
  assert.ok(first && net && second && third && v4 && v6);
  return {
    privateKey: generatePrivateKey(),
    addresses: [{ address: parseIpv4("10.98.0.1") ?? 0, bits: 24 }],
    listenPort: 51899,
    peers: [
      {
        publicKey: publicKeyOf(generatePrivateKey()),
        allowedIps: [first, net],
        endpoint: v4,
        keepaliveSeconds: 25,
      },
      {
        publicKey: publicKeyOf(generatePrivateKey()),
        presharedKey: generatePresharedKey(),
        allowedIps: [second],
        endpoint: v6,
      },
      { publicKey: publicKeyOf(generatePrivateKey()), allowedIps: [third] },
    ],
  };
}
