import assert from "node:assert/strict";
import { insideNamespace } from "../../net/os/namespace_linux.ts";
import type { Namespace } from "../netlab/netlab.ts";
import { testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import {
  DEVICE,
  GATEWAY,
  gatewayMissing,
  GatewayRig,
  GUEST,
  HOST,
  NET,
  OTHER,
  OTHER_HOST,
} from "./_gateway_rig.ts";

const PORT = 7000;
const LIMIT_MS = 5000;

/** A datagram and who has sent it. */
interface Letter {
  readonly bytes: Uint8Array;
  readonly from: Deno.NetAddr;
}

/** A socket of the kernel of a namespace. */
class Socket implements Disposable {
  readonly #socket: Deno.DatagramConn;

  constructor(space: Namespace, port = 0) {
    this.#socket = insideNamespace(
      `/run/netns/${space.name}`,
      () => Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port }),
    );
  }

  async send(hostname: string, port: number, bytes: Uint8Array): Promise<void> {
    await this.#socket.send(bytes, { transport: "udp", hostname, port });
  }

  /** The next one, within a time. */
  async receive(): Promise<Letter> {
    const timer = setTimeout(() => this[Symbol.dispose](), LIMIT_MS);
    try {
      const [bytes, from] = await this.#socket.receive(new Uint8Array(65535));
      return { bytes: bytes.slice(), from: from as Deno.NetAddr };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends back everything, until it is closed. */
  async echo(): Promise<void> {
    for await (const [bytes, from] of this.#socket) await this.#socket.send(bytes, from);
  }

  [Symbol.dispose](): void {
    try {
      this.#socket.close();
    } catch {
      // The time was over.
    }
  }
}

function random(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length));
}

function text(words: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(words);
}

function words({ bytes }: Letter): string {
  return new TextDecoder().decode(bytes);
}

/** Sockets of UDP in a namespace. */
async function sockets(space: Namespace): Promise<number> {
  return (await space.run("ss", ["-uanH"])).stdout.split("\n").filter((line) => line !== "").length;
}

testIf(
  gatewayMissing,
  "G1: a kernel's datagrams of 1 to 9000 bytes come back whole from a server outside",
  async () => {
    await using rig = await GatewayRig.start();
    using server = new Socket(rig.net, PORT);
    using client = new Socket(rig.guest);
    const served = server.echo();
    for (const size of [0, 1, 2, 1371, 1372, 1373, 1472, 1473, 4000, 8999, 9000]) {
      const sent = random(size);
      await client.send(NET, PORT, sent);
      const { bytes, from } = await client.receive();
      assert.deepEqual(bytes, sent, `${size} bytes`);
      assert.deepEqual([from.hostname, from.port], [NET, PORT]);
    }
    server[Symbol.dispose]();
    await served;
  },
);

testIf(
  gatewayMissing,
  "G1: a hundred ports inside have a hundred outside, each its own",
  async () => {
    await using rig = await GatewayRig.start();
    using server = new Socket(rig.net, PORT);
    await using owned = new AsyncDisposableStack();
    const clients = Array.from({ length: 100 }, () => owned.use(new Socket(rig.guest)));
    const ports = new Set<number>();
    const served = (async () => {
      for (let i = 0; i < 200; i++) {
        const { bytes, from } = await server.receive();
        assert.equal(from.hostname, HOST);
        ports.add(from.port);
        await server.send(from.hostname, from.port, bytes);
      }
    })();
    for (let round = 0; round < 2; round++) {
      await Promise.all(clients.map(async (client, i) => {
        const sent = text(`${round} ${i}`);
        await client.send(NET, PORT, sent);
        assert.deepEqual((await client.receive()).bytes, sent);
      }));
    }
    await served;
    assert.equal(ports.size, 100);
    assert.equal(await sockets(rig.host), 100);
  },
);

testIf(
  gatewayMissing,
  "G1: a port inside is the same one outside for everybody, who is heard once he was sent to",
  async () => {
    await using rig = await GatewayRig.start();
    using client = new Socket(rig.guest);
    using server = new Socket(rig.net, PORT);
    using other = new Socket(rig.other, PORT);
    await client.send(NET, PORT, text("hello"));
    const { port } = (await server.receive()).from;
    // A stranger knows the port, and knocks by both addresses of the host.
    await rig.other.route("add", "default", "via", OTHER_HOST);
    await other.send(OTHER_HOST, port, text("stranger"));
    await other.send(HOST, port, text("stranger"));
    await server.send(HOST, port, text("answer"));
    assert.equal(words(await client.receive()), "answer");
    await client.send(OTHER, PORT, text("hello"));
    const met = (await other.receive()).from;
    assert.deepEqual([met.hostname, met.port], [OTHER_HOST, port]);
    // By whichever port he has.
    using door = new Socket(rig.other);
    await door.send(OTHER_HOST, port, text("no stranger"));
    await door.send(HOST, port, text("no stranger"));
    for (let i = 0; i < 2; i++) {
      const letter = await client.receive();
      assert.deepEqual([words(letter), letter.from.hostname], ["no stranger", OTHER]);
    }
  },
);

testIf(gatewayMissing, "G1: two ports inside reach each other by their ports outside", async () => {
  await using rig = await GatewayRig.start();
  using server = new Socket(rig.net, PORT);
  using left = new Socket(rig.guest);
  using right = new Socket(rig.guest);
  const ports: number[] = [];
  for (const client of [left, right]) {
    await client.send(NET, PORT, text("hello"));
    ports.push((await server.receive()).from.port);
  }
  const [leftPort = 0, rightPort = 0] = ports;
  // Each has to have spoken first; whether the other hears of that depends on who was earlier.
  await left.send(HOST, rightPort, text("opens"));
  await right.send(HOST, leftPort, text("from right"));
  const letter = await left.receive();
  assert.deepEqual([words(letter), letter.from.hostname, letter.from.port], [
    "from right",
    HOST,
    rightPort,
  ]);
  await left.send(HOST, rightPort, text("from left"));
  const heard = [words(await right.receive())];
  if (heard[0] === "opens") heard.push(words(await right.receive()));
  assert.equal(heard.at(-1), "from left");
});

testIf(gatewayMissing, "G1: a mapping is forgotten when it is idle, and made again", async () => {
  await using rig = await GatewayRig.start({ idleMs: 500 });
  using server = new Socket(rig.net, PORT);
  using client = new Socket(rig.guest);
  await client.send(NET, PORT, text("one"));
  const { from: before } = await server.receive();
  await server.send(before.hostname, before.port, text("in time"));
  assert.equal(words(await client.receive()), "in time");
  await until(async () => await sockets(rig.host) === 0, { what: "the mapping to be forgotten" });
  await server.send(before.hostname, before.port, text("too late"));
  await client.send(NET, PORT, text("two"));
  const { from: after } = await server.receive();
  await server.send(after.hostname, after.port, text("again"));
  assert.equal(words(await client.receive()), "again");
});

testIf(
  gatewayMissing,
  "G1: a kernel is told of its datagrams that no way leads there",
  async () => {
    await using rig = await GatewayRig.start();
    using client = new Socket(rig.guest);
    using server = new Socket(rig.net, PORT);
    const told = async (): Promise<number> => {
      const { stdout } = await rig.guest.runChecked("cat", ["/proc/net/snmp"]);
      const [names = [], values = []] = stdout.split("\n").filter((line) =>
        line.startsWith("Icmp:")
      )
        .map((line) => line.split(" "));
      return Number(values[names.indexOf("InDestUnreachs")]);
    };
    await client.send(NET, PORT, text("hello"));
    await server.receive();
    assert.equal(await told(), 0);
    await client.send("203.0.113.9", PORT, text("hello"));
    // The broadcast address of the host's network is nobody's either.
    await client.send("192.168.78.255", PORT, text("hello"));
    await until(async () => await told() === 2, { what: "ICMP host unreachable" });
  },
);

/** Asks for echoes; what ping says. */
async function ping(rig: GatewayRig, ...args: string[]): Promise<string> {
  const { stdout } = await rig.guest.run("ping", ["-n", "-i", "0.1", "-W", "2", ...args]);
  return stdout;
}

testIf(
  gatewayMissing,
  "G1: pings are answered from outside where the host lets everybody send them",
  async () => {
    await using rig = await GatewayRig.start({ ping: true });
    assert.equal(rig.ready.echo, true);
    const small = await ping(rig, "-c", "5", NET);
    assert.match(small, /5 packets transmitted, 5 received, 0% packet loss/);
    assert.match(small, /64 bytes from 192\.168\.78\.2: icmp_seq=5 /);
    assert.match(await ping(rig, "-c", "2", "-s", "3000", NET), / 2 received/);
    // Nobody has this address, and the gateway does not speak for him.
    assert.match(await ping(rig, "-c", "1", "-W", "0.5", "192.168.78.9"), / 0 received/);
    // No way leads here.
    assert.match(await ping(rig, "-c", "1", "203.0.113.9"), /Destination Host Unreachable/);
    // Two pingers with one identifier, and the same numbers.
    await rig.guest.addAddress(DEVICE, "10.0.2.101/24");
    const both = await Promise.all(
      [GUEST, "10.0.2.101"].map((from) => ping(rig, "-c", "5", "-e", "7", "-I", from, NET)),
    );
    for (const said of both) {
      assert.match(said, / 5 received, 0% packet loss/);
      assert.doesNotMatch(said, /DUP/);
    }
  },
);

testIf(
  gatewayMissing,
  "G1: pings stay without an answer where the host lets nobody send them, but for the gateway's",
  async () => {
    await using rig = await GatewayRig.start();
    assert.equal(rig.ready.echo, false);
    assert.match(await ping(rig, "-c", "2", "-W", "0.5", NET), / 0 received/);
    assert.match(await ping(rig, "-c", "2", GATEWAY), / 2 received/);
  },
);
