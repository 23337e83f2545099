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
/** How long a datagram is waited for, and after how long it is sent again, in ms. */
const LIMIT_MS = 30_000;
const AGAIN_MS = 2000;

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

  /** Answers everything, with the same if nothing else is said, until it is closed. */
  async serve(answer: (letter: Letter) => Uint8Array = ({ bytes }) => bytes): Promise<void> {
    for await (const [bytes, from] of this.#socket) {
      await this.#socket.send(answer({ bytes, from: from as Deno.NetAddr }), from);
    }
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

/**
 * Sends, and again after a while, until something comes to `to` that is none of `earlier`, which may
 * come more than once by this: a datagram is lost where nobody has the time to take it.
 */
async function reach(
  [from, hostname, port]: readonly [from: Socket, hostname: string, port: number],
  bytes: Uint8Array,
  to: Socket,
  earlier: readonly string[] = [],
): Promise<Letter> {
  await from.send(hostname, port, bytes);
  const timer = setInterval(() => void from.send(hostname, port, bytes), AGAIN_MS);
  try {
    let letter = await to.receive();
    while (earlier.includes(words(letter))) letter = await to.receive();
    return letter;
  } finally {
    clearInterval(timer);
  }
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
    const served = server.serve();
    for (const size of [0, 1, 2, 1371, 1372, 1373, 1472, 1473, 4000, 8999, 9000]) {
      using client = new Socket(rig.guest);
      const sent = random(size);
      const { bytes, from } = await reach([client, NET, PORT], sent, client);
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
    const hosts = new Set<string>();
    const ports = new Set<number>();
    const served = server.serve(({ bytes, from }) => {
      hosts.add(from.hostname);
      ports.add(from.port);
      return bytes;
    });
    for (let round = 0; round < 2; round++) {
      await Promise.all(clients.map(async (client, i) => {
        const sent = text(`${round} ${i}`);
        const letter = await reach([client, NET, PORT], sent, client, [`${round - 1} ${i}`]);
        assert.deepEqual(letter.bytes, sent);
      }));
    }
    server[Symbol.dispose]();
    await served;
    assert.deepEqual(Array.from(hosts), [HOST]);
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
    const { port } = (await reach([client, NET, PORT], text("hello"), server)).from;
    // A stranger knows the port, and knocks by both addresses of the host.
    await rig.other.route("add", "default", "via", OTHER_HOST);
    await other.send(OTHER_HOST, port, text("stranger"));
    await other.send(HOST, port, text("stranger"));
    const earlier = ["answer"];
    assert.equal(words(await reach([server, HOST, port], text("answer"), client)), "answer");
    const met = (await reach([client, OTHER, PORT], text("hello"), other)).from;
    assert.deepEqual([met.hostname, met.port], [OTHER_HOST, port]);
    // By whichever port he has.
    using door = new Socket(rig.other);
    for (const host of [OTHER_HOST, HOST]) {
      const said = `no stranger to ${host}`;
      const letter = await reach([door, host, port], text(said), client, earlier);
      assert.deepEqual([words(letter), letter.from.hostname], [said, OTHER]);
      earlier.push(said);
    }
  },
);

testIf(gatewayMissing, "G1: two ports inside reach each other by their ports outside", async () => {
  await using rig = await GatewayRig.start();
  using server = new Socket(rig.net, PORT);
  using left = new Socket(rig.guest);
  using right = new Socket(rig.guest);
  const leftPort = (await reach([left, NET, PORT], text("left"), server)).from.port;
  const rightPort = (await reach([right, NET, PORT], text("right"), server, ["left"])).from.port;
  // Each has to have spoken first; whether the other hears of that depends on who was earlier.
  await left.send(HOST, rightPort, text("opens"));
  const letter = await reach([right, HOST, leftPort], text("from right"), left);
  assert.deepEqual([words(letter), letter.from.hostname, letter.from.port], [
    "from right",
    HOST,
    rightPort,
  ]);
  const back = await reach([left, HOST, rightPort], text("from left"), right, ["opens"]);
  assert.equal(words(back), "from left");
});

testIf(gatewayMissing, "G1: a mapping is forgotten when it is idle, and made again", async () => {
  await using rig = await GatewayRig.start({ idleMs: 500 });
  using server = new Socket(rig.net, PORT);
  using client = new Socket(rig.guest);
  let answer = "in time";
  let before: Deno.NetAddr | undefined;
  const served = server.serve(({ from }) => {
    before = from;
    return text(answer);
  });
  // On a busy host an answer may be too late too: then it is asked for again.
  assert.equal(words(await reach([client, NET, PORT], text("one"), client)), "in time");
  await until(async () => await sockets(rig.host) === 0, { what: "the mapping to be forgotten" });
  assert.ok(before);
  await server.send(before.hostname, before.port, text("too late"));
  answer = "again";
  const again = await reach([client, NET, PORT], text("two"), client, ["in time"]);
  assert.equal(words(again), "again");
  server[Symbol.dispose]();
  await served;
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
    await reach([client, NET, PORT], text("hello"), server);
    assert.equal(await told(), 0);
    await client.send("203.0.113.9", PORT, text("hello"));
    // The broadcast address of the host's network is nobody's either.
    await client.send("192.168.78.255", PORT, text("hello"));
    await until(async () => await told() === 2, {
      what: "ICMP host unreachable",
      timeoutMs: LIMIT_MS,
    });
  },
);

/**
 * Asks for echoes, all at once; what ping says. `-W` counts only until one is answered; for the others
 * ping waits as long as between two of them, by `-i`.
 */
async function ping(rig: GatewayRig, count: number, ...args: string[]): Promise<string> {
  const whole = ["-n", "-c", `${count}`, "-l", `${count}`, "-i", "10", "-W", "10", ...args];
  return (await rig.guest.run("ping", whole)).stdout;
}

testIf(
  gatewayMissing,
  "G1: pings are answered from outside where the host lets everybody send them",
  async () => {
    await using rig = await GatewayRig.start({ ping: true });
    assert.equal(rig.ready.echo, true);
    const small = await ping(rig, 5, NET);
    assert.match(small, /5 packets transmitted, 5 received, 0% packet loss/);
    assert.match(small, /64 bytes from 192\.168\.78\.2: icmp_seq=5 /);
    assert.match(await ping(rig, 2, "-s", "3000", NET), / 2 received/);
    // Nobody has this address, and the gateway does not speak for him.
    assert.match(await ping(rig, 1, "-W", "0.5", "192.168.78.9"), / 0 received/);
    // No way leads here.
    assert.match(await ping(rig, 1, "203.0.113.9"), /Destination Host Unreachable/);
    // Two pingers with one identifier, and the same numbers.
    await rig.guest.addAddress(DEVICE, "10.0.2.101/24");
    const both = await Promise.all(
      [GUEST, "10.0.2.101"].map((from) => ping(rig, 5, "-e", "7", "-I", from, NET)),
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
    assert.match(await ping(rig, 2, "-W", "0.5", NET), / 0 received/);
    assert.match(await ping(rig, 2, GATEWAY), / 2 received/);
  },
);
