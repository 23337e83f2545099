import assert from "node:assert/strict";
import { newBpfObjects } from "./bpf_objects.ts";
import { Machine } from "./machine.ts";
import { captured } from "../doubles/captured_frames.ts";
import { guestArp, guestFrame, wireguardMessage } from "../doubles/guest_frames.ts";
import { NetLab, netlabMissing } from "../netlab/netlab.ts";
import type { Namespace } from "../netlab/netlab.ts";
import { bpfMissing } from "../support/bpf.ts";
import { testIf } from "../support/requires.ts";
import { until } from "../support/until.ts";
import { tapName } from "../../lib/node/kernel_guests.ts";
import { checksum, pseudoHeaderSum } from "../../net/wire/checksum.ts";
import { mac1Key } from "../../net/wireguard/mac1.ts";
import { mac } from "../../net/wireguard/noise.ts";

const missing = netlabMissing ?? bpfMissing;

const NODE_PORT = 51820;
const BORROWER_PORT = 40404;
const PUBLIC_KEY = new Uint8Array(32).fill(7);
const SESSION = 0x1234abcd;
const TAP = "om-test";

interface Datagram {
  readonly payload: string;
  readonly from: string;
}

interface Counters {
  readonly fromGuest: Record<string, number>;
  readonly fromUplink: Record<string, number>;
  readonly refused: readonly string[];
}

type Counts = Readonly<Record<string, number>>;

/** A message with an index, and where it stands. */
function indexed(length: number, type: number, at: number, index: number): Uint8Array {
  const message = wireguardMessage(length, type);
  new DataView(message.buffer).setUint32(at, index, true);
  return message;
}

function initiation(): Uint8Array {
  const message = indexed(148, 1, 4, 99);
  message.set(mac(mac1Key(PUBLIC_KEY), message.subarray(0, 116)), 116);
  return message;
}

/** A frame of the guest's with a UDP checksum, as its kernel makes it. */
function fromGuest(payload: Uint8Array): string {
  const frame = guestFrame({ sourcePort: 40000, payload });
  frame.fill(0, 40, 42);
  const length = frame.length - 34;
  const sum = checksum(frame, 34, length, pseudoHeaderSum(0xc0a86402, 0xc0a86401, 17, length));
  new DataView(frame.buffer).setUint16(40, sum || 0xffff);
  return frame.toHex();
}

/** What a frame for the guest carries, when it is right in every part. */
function payloadFor(hex: string): string {
  const frame = Uint8Array.fromHex(hex);
  assert.match(hex, /^52540000640202000000640108004500/);
  assert.equal(checksum(frame, 14, 20, 0), 0, "IPv4 checksum");
  const length = frame.length - 34;
  assert.equal(hex.slice(68, 80), `ca6c9c40${length.toString(16).padStart(4, "0")}`);
  const pseudo = pseudoHeaderSum(0xc0a86401, 0xc0a86402, 17, length);
  assert.equal(checksum(frame, 34, length, pseudo), 0, "UDP checksum");
  return hex.slice(84);
}

/** IPv4 packets that the machine's stack has looked at. */
async function stackPackets(machine: Namespace): Promise<number> {
  const { stdout } = await machine.runChecked("cat", ["/proc/net/snmp"]);
  const [names, values] = stdout.split("\n").filter((line) => line.startsWith("Ip:"))
    .map((line) => line.split(" "));
  return Number(values?.[names?.indexOf("InReceives") ?? 0]);
}

/** Lender with two networks, borrower on both. */
class Rig implements AsyncDisposable {
  private constructor(
    readonly lender: Namespace,
    readonly guest: Machine,
    readonly node: Machine,
    readonly borrower: Machine,
    readonly borrowerSide: Namespace,
    readonly owned: AsyncDisposableStack,
  ) {}

  static async start(withoutLinks: boolean, socket: "udp" | "plane" = "udp"): Promise<Rig> {
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await NetLab.create());
    const lender = await lab.namespace("lender");
    const borrowerSide = await lab.namespace("borrower");
    await lab.connect(lender, "192.168.1.100/24", borrowerSide, "192.168.1.7/24");
    await lab.connect(lender, "10.9.0.1/24", borrowerSide, "10.9.0.7/24");
    const guest = stack.use(new Machine(lender));
    const node = stack.use(new Machine(lender));
    const borrower = stack.use(new Machine(borrowerSide));
    await guest.do({ op: "tap", name: TAP });
    await node.do({ op: socket, port: NODE_PORT });
    await borrower.do({ op: "udp", port: BORROWER_PORT });
    const key = mac1Key(PUBLIC_KEY).toHex();
    const filter = { op: "filter", tap: TAP, nodePort: NODE_PORT, mac1Key: key } as const;
    await node.do({ ...filter, withoutLinks });
    await node.do({ op: "uplink", to: `192.168.1.7:${BORROWER_PORT}` });
    return new Rig(lender, guest, node, borrower, borrowerSide, stack.move());
  }

  send(...frames: readonly string[]): Promise<unknown> {
    return this.guest.do({ op: "frames", frames });
  }

  counters(): Promise<Counters> {
    return this.node.do({ op: "counters" });
  }

  /** What arrives at a socket, at least so many. */
  async arrived(at: Machine, count: number): Promise<Datagram[]> {
    const all: Datagram[] = [];
    await until(async () => {
      all.push(...await at.do<Datagram[]>({ op: "take" }));
      return all.length >= count;
    }, { what: `${count} datagrams` });
    return all;
  }

  /** What arrives at the guest, at least so many. */
  async frames(count: number): Promise<string[]> {
    const all: string[] = [];
    await until(async () => {
      all.push(...await this.guest.do<string[]>({ op: "take-frames" }));
      return all.length >= count;
    }, { what: `${count} frames` });
    return all;
  }

  /** Sends one good message and waits for it, so that all that was sent before is judged. */
  async fence(): Promise<void> {
    await this.send(fromGuest(indexed(148, 1, 4, SESSION)));
    await this.arrived(this.borrower, 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.owned.disposeAsync();
  }
}

for (const withoutLinks of [false, true]) {
  const how = withoutLinks ? "by clsact filters, as before Linux 6.6" : "by links";
  testIf(missing, `N14: KernelFilter carries a guest's tunnel, ${how}`, async (t) => {
    await using rig = await Rig.start(withoutLinks);
    const { lender, guest, node, borrower } = rig;
    await guest.do({ op: "take-frames" });

    await t.step("ARP for the gateway is answered", async () => {
      await rig.send(guestArp({}).toHex());
      assert.deepEqual(await rig.frames(1), [captured("arpReply").toHex()]);
    });

    await t.step("a message arrives from the node's address and port", async () => {
      const message = indexed(148, 1, 4, SESSION);
      await rig.send(fromGuest(message));
      assert.deepEqual(await rig.arrived(borrower, 1), [
        { payload: message.toHex(), from: `192.168.1.100:${NODE_PORT}` },
      ]);
    });

    await t.step("answers reach the guest, one by one and joined", async () => {
      const messages = [
        indexed(92, 2, 8, SESSION),
        ...Array.from({ length: 20 }, () => indexed(1216, 4, 4, SESSION)),
        indexed(48, 4, 4, SESSION),
        initiation(),
      ].map((message) => message.toHex());
      const { calls } = await borrower.do<{ calls: number }>({
        ...{ op: "send", to: `192.168.1.100:${NODE_PORT}`, payloads: messages },
      });
      assert.ok(calls < messages.length, `${calls} calls`);
      const frames = await rig.frames(messages.length);
      assert.deepEqual(frames.map(payloadFor), messages);
      assert.equal((await rig.counters()).fromUplink["forwarded"], messages.length);
    });

    await t.step("everything else goes to the node's socket, untouched", async () => {
      const others = [
        new Uint8Array(64), // control, by its first byte
        indexed(96, 4, 4, SESSION + 1), // another's session
        indexed(148, 1, 4, 1), // an initiation for another key
        new Uint8Array([100, 1, 2]),
      ].map((payload) => payload.toHex());
      await borrower.do({ op: "send", to: `192.168.1.100:${NODE_PORT}`, payloads: others });
      const from = `192.168.1.7:${BORROWER_PORT}`;
      const want = others.map((payload) => ({ payload, from }));
      assert.deepEqual(await rig.arrived(node, others.length), want);
      assert.deepEqual(await guest.do({ op: "take-frames" }), []);
    });

    await t.step("nothing of the guest reaches the host's stack", async () => {
      await rig.fence();
      const before = await stackPackets(lender);
      const counted = await rig.counters();
      await rig.send(
        ...[
          { destination: 0xc0a80164 },
          { destination: 0xffffffff },
          { source: 0xc0a80107 },
          {
            protocol: 6,
          },
          { destinationMac: 0xffffffffffff },
          { type: 0x86dd },
          { type: 0x8100 },
        ]
          .map((fields) => guestFrame(fields).toHex()),
        guestArp({ targetIp: 0xc0a80164 }).toHex(),
        fromGuest(new Uint8Array(64)),
      );
      await rig.fence();
      assert.equal(await stackPackets(lender), before);
      const { fromGuest: counts, refused } = await rig.counters();
      const words = [
        "destination",
        "source-address",
        "protocol",
        "destination-mac",
        "ipv6",
        "vlan",
      ];
      for (const word of [...words, "arp", "not-wireguard"]) {
        const grown = (counts[word] ?? 0) - (counted.fromGuest[word] ?? 0);
        assert.equal(grown, word === "destination" ? 2 : 1, word);
      }
      assert.match(refused.at(-1) ?? "", /^UDP 192\.168\.100\.2:40000 > .* \(not-wireguard\)$/);
      // The control: the counter counts.
      const payloads = ["00".repeat(40)];
      await borrower.do({ op: "send", to: `192.168.1.100:${NODE_PORT}`, payloads });
      await rig.arrived(node, 1);
      assert.equal(await stackPackets(lender), before + 1);
    });

    await t.step("it follows a borrower to another address and another interface", async () => {
      await rig.borrowerSide.addAddress("eth0", "192.168.1.8/24");
      for (const [to, from] of [["192.168.1.8", "192.168.1.100"], ["10.9.0.7", "10.9.0.1"]]) {
        await node.do({ op: "uplink", to: `${to}:${BORROWER_PORT}` });
        await rig.send(fromGuest(indexed(96, 4, 4, 5)));
        const [datagram] = await rig.arrived(borrower, 1);
        assert.equal(datagram?.from, `${from}:${NODE_PORT}`);
      }
      const answer = indexed(64, 4, 4, SESSION).toHex();
      await borrower.do({ op: "send", to: `10.9.0.1:${NODE_PORT}`, payloads: [answer] });
      assert.deepEqual((await rig.frames(1)).map(payloadFor), [answer]);
      // By the old one it is nobody's any more.
      await borrower.do({ op: "send", to: `192.168.1.100:${NODE_PORT}`, payloads: [answer] });
      assert.equal((await rig.arrived(node, 1)).length, 1);
    });

    await t.step("an uplink that the kernel cannot forward to is refused in words", async () => {
      const refused = (to: string): Promise<unknown> => node.do({ op: "uplink", to });
      await assert.rejects(refused("127.0.0.1:5"), /in the kernel: the route leads to this host/);
      await assert.rejects(refused("192.168.1.100:5"), /in the kernel: the route leads to this/);
      await assert.rejects(refused("203.0.113.9:5"), /in the kernel: Cannot find the route/);
      await lender.runChecked("ip", ["link", "set", "eth1", "mtu", "1400"]);
      await assert.rejects(
        refused("10.9.0.7:5"),
        /leads out of eth1, whose MTU is 1400, want 1500/,
      );
    });

    await t.step("without an uplink nothing is forwarded, either way", async () => {
      await node.do({ op: "uplink", to: null });
      const before = (await rig.counters()).fromGuest["no-uplink"] ?? 0;
      await rig.send(fromGuest(indexed(96, 4, 4, 5)));
      await until(async () => ((await rig.counters()).fromGuest["no-uplink"] ?? 0) > before, {
        what: "the refusal",
      });
    });
  });

  testIf(missing, `N8, N14: KernelFilter leaves nothing, ${how}`, async (t) => {
    const left = newBpfObjects("omerta_");
    await using rig = await Rig.start(withoutLinks);
    const { lender, guest, node } = rig;
    const qdiscs = async (): Promise<string[]> => {
      const { stdout } = await lender.runChecked("ip", ["-o", "link"]);
      const names = [...stdout.matchAll(/^\d+: ([^:@]+)/gm)].map((match) => match[1] ?? "");
      const found: string[] = [];
      for (const name of names) {
        const shown = await lender.runChecked("tc", ["qdisc", "show", "dev", name]);
        if (shown.stdout.includes("clsact")) found.push(name);
      }
      return found;
    };
    assert.equal(left().length, 6, "the control: 2 programs, 4 maps");
    assert.deepEqual(await qdiscs(), withoutLinks ? ["eth0", TAP] : [TAP]);

    await t.step("a killed node leaves the guest behind its filter", async () => {
      await rig.fence();
      await node.kill();
      const { stdout } = await lender.runChecked("tc", ["filter", "show", "dev", TAP, "ingress"]);
      assert.match(stdout, /omerta guest direct-action/);
      const packets = await stackPackets(lender);
      await rig.send(
        guestFrame({ destination: 0xc0a80164 }).toHex(),
        guestFrame({ destination: 0xffffffff, source: 0 }).toHex(),
        guestArp({ targetIp: 0xc0a80164 }).toHex(),
      );
      await rig.fence();
      assert.equal(await stackPackets(lender), packets);
      const frames = await guest.do<string[]>({ op: "take-frames" });
      // The kernel itself announces a new interface by IPv6 multicast until that is switched off.
      assert.deepEqual(frames.filter((frame) => !frame.startsWith("3333")), []);
      assert.deepEqual(await qdiscs(), withoutLinks ? ["eth0", TAP] : [TAP]);
    });

    await t.step("the next start takes away what hangs on the uplink's interface", async () => {
      await using next = new Machine(lender);
      const done = await next.do<string[]>({ op: "sweep" });
      const removed = "Removed the filter of a node that is gone from interface eth0";
      assert.deepEqual(done, withoutLinks ? [removed] : []);
      assert.deepEqual(await qdiscs(), [TAP]);
    });

    await t.step("with the guest everything goes", async () => {
      await guest.kill();
      await until(() => left().length === 0, {
        what: "programs and maps to be gone",
      });
      assert.deepEqual(await qdiscs(), []);
      assert.doesNotMatch((await lender.runChecked("ip", ["link"])).stdout, /om-test/);
    });
  });
}

testIf(
  missing,
  "N14: KernelLeftovers brings a guest what came to the node's socket, and nothing else",
  async () => {
    await using rig = await Rig.start(false, "plane");
    const { borrower, borrowerSide } = rig;
    await rig.fence();
    await rig.guest.do({ op: "take-frames" });
    const own = Array.from({ length: 10 }, () => indexed(1216, 4, 4, SESSION));
    const others = own.map(() => indexed(1216, 4, 4, SESSION + 1));
    const mixed = own.flatMap((message, i) => [message, others[i] ?? message]);
    const to = `192.168.1.100:${NODE_PORT}`;
    const payloads = mixed.map((message) => message.toHex());
    const { calls } = await borrower.do<{ calls: number }>({ op: "send", to, payloads });
    assert.equal(calls, 1, "all of them as one");
    const got = (await rig.frames(own.length)).map(payloadFor);
    assert.deepEqual(got, own.map((message) => message.toHex()));
    assert.equal((await rig.counters()).fromUplink["forwarded"], own.length);

    // Fragments, which only the host's stack puts together.
    await borrowerSide.runChecked("ip", ["link", "set", "eth0", "mtu", "800"]);
    const long = indexed(1216, 4, 4, SESSION).toHex();
    await borrower.do({ op: "send", to, payloads: [long] });
    assert.deepEqual((await rig.frames(1)).map(payloadFor), [long]);
  },
);

testIf(
  missing,
  "N14: KernelGuests follows the routes, and tells of refusals at a bounded rate",
  async (t) => {
    const id = "0123456789abcdef";
    const address = "10.50.0.7";
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await NetLab.create());
    const lender = await lab.namespace("lender");
    const borrowerSide = await lab.namespace("borrower");
    await lab.connect(lender, "192.168.1.100/24", borrowerSide, "192.168.1.7/24");
    await lab.connect(lender, "10.9.0.1/24", borrowerSide, "10.9.0.7/24");
    await borrowerSide.addAddress("lo", `${address}/32`);
    await lender.route("add", address, "via", "192.168.1.7");
    const guest = stack.use(new Machine(lender));
    const node = stack.use(new Machine(lender));
    const borrower = stack.use(new Machine(borrowerSide));
    await guest.do({ op: "tap", name: tapName(id) });
    await borrower.do({ op: "udp", port: BORROWER_PORT });
    const to = `${address}:${BORROWER_PORT}`;
    const publicKey = PUBLIC_KEY.toHex();
    await node.do({ op: "lend", id, nodePort: NODE_PORT, publicKey, to });
    const poll = (): Promise<{
      refusals: string[];
      alarms: string[];
      refused: number;
      stats: {
        readonly mode: string;
        readonly uplink: string;
        readonly bytesToUplink: number;
        readonly fromGuest: Counts;
        readonly sessionFromGuestMs?: number;
        readonly sessionToGuestMs?: number;
      };
    }> => node.do({ op: "poll" });
    const arrivesFrom = async (): Promise<string | undefined> => {
      await guest.do({ op: "frames", frames: [fromGuest(indexed(96, 4, 4, 5))] });
      const found: Datagram[] = [];
      await until(async () => {
        found.push(...await borrower.do<Datagram[]>({ op: "take" }));
        return found.length > 0;
      }, { what: "the message" });
      return found[0]?.from;
    };

    await t.step("by the first route", async () => {
      assert.equal(await arrivesFrom(), `192.168.1.100:${NODE_PORT}`);
      const { refusals, stats } = await poll();
      assert.deepEqual([stats.mode, stats.uplink, stats.bytesToUplink], ["ebpf", to, 96]);
      // What the kernel says by itself on a new interface, it says to the guest, not from it.
      assert.deepEqual([refusals, stats.fromGuest], [[], { forwarded: 1 }]);
      // N13: data is a sign of life, of the guest only.
      assert.ok(Date.now() - (stats.sessionFromGuestMs ?? 0) < 60_000);
      assert.equal(stats.sessionToGuestMs, undefined);
    });

    await t.step("by another interface, once the route has changed", async () => {
      await lender.route("replace", address, "via", "10.9.0.7");
      await poll();
      assert.equal(await arrivesFrom(), `10.9.0.1:${NODE_PORT}`);
    });

    await t.step("nowhere while there is no route, and again when there is one", async () => {
      await lender.route("delete", address);
      await poll();
      await guest.do({ op: "frames", frames: [fromGuest(indexed(96, 4, 4, 5))] });
      await until(async () => (await poll()).stats.fromGuest["no-uplink"] === 1, {
        what: "the refusal",
      });
      await lender.route("add", address, "via", "192.168.1.7");
      await poll();
      assert.equal(await arrivesFrom(), `192.168.1.100:${NODE_PORT}`);
    });

    await t.step("a refusal is told once, with the last frame; more of them later", async () => {
      const bad = guestFrame({ destination: 0x08080808 }).toHex();
      const told: string[] = [];
      for (const count of [1, 3]) {
        await guest.do({ op: "frames", frames: new Array<string>(count).fill(bad) });
        await arrivesFrom();
        told.push(...(await poll()).refusals);
      }
      assert.equal(told.length, 1);
      assert.match(told[0] ?? "", /^1 destination: UDP 192\.168\.100\.2:\d+ > 8\.8\.8\.8:51820 /);
    });

    await t.step(
      "N12: a guest that tries one destination after the other raises an alarm",
      async () => {
        const before = await poll();
        assert.deepEqual(before.alarms, []);
        const frames = Array.from(
          { length: 20 },
          (_, i) => guestFrame({ destination: 0x08080800 + i }).toHex(),
        );
        await guest.do({ op: "frames", frames });
        await arrivesFrom();
        const after = await poll();
        assert.deepEqual(after.alarms, ["scan: 16"]);
        assert.equal(after.refused - before.refused, 20);
      },
    );
    await node.do({ op: "release" });
  },
);
