/**
 * The loop on the portable sockets, in this process: what runs where FFI is refused. plane_test.ts
 * has the same on a thread of its own with the fast ones.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { loopback } from "../../tests/doubles/endpoints.ts";
import { guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { until } from "../../tests/support/until.ts";
import { openCablePortable } from "../os/cable_portable.ts";
import { Endpoint } from "../os/endpoint.ts";
import { DEFAULT_ROGUE_LIMITS } from "../filter/rogue.ts";
import { AsyncReactor } from "../os/reactor.ts";
import { openTun } from "../os/tun.ts";
import type { UdpSocket } from "../os/packet_socket.ts";
import { openUdpPortable } from "../os/udp_portable.ts";
import { Transfer } from "../vlan/transfer_fixture.ts";
import { MemoryInterface } from "../vlan/memory_interface.ts";
import type { NetworkInterface } from "../vlan/network_interface.ts";
import { PacketQueue } from "../vlan/packet_queue.ts";
import { UserspaceInterface } from "../vlan/userspace_interface.ts";
import { ipv4ToString } from "../wire/ip_address.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import type { PlaneEvent } from "./_messages.ts";
import { Gate, SHARED_BYTES } from "./gate.ts";
import { PacketLoop } from "./packet_loop.ts";
import { MAX_RELAYS } from "./relays.ts";
import type { PlaneStats } from "./stats.ts";

/** A running loop. */
class Running implements AsyncDisposable {
  readonly events: PlaneEvent[] = [];
  readonly loop: PacketLoop;
  readonly #reactor = new AsyncReactor();
  readonly #done: Promise<void>;

  constructor(privateKey: Uint8Array) {
    this.loop = new PacketLoop({
      port: 0,
      privateKey,
      tun: undefined,
      os: {
        openUdp: openUdpPortable,
        openCable: openCablePortable,
        openTun,
        reactor: this.#reactor,
      },
      gate: new Gate(new Int32Array(new SharedArrayBuffer(SHARED_BYTES)), 1),
      post: (event) => this.events.push(event),
    });
    this.#done = this.loop.run(() => undefined);
  }

  get endpoint(): Uint8Array {
    return loopback(this.loop.port).sockaddr;
  }

  stats(): PlaneStats {
    const answer = this.loop.execute({ kind: "stats" });
    assert.equal(answer.kind, "stats");
    return answer.stats;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.loop.execute({ kind: "close" });
    this.#reactor.wake();
    await this.#done;
    this.loop[Symbol.dispose]();
    this.#reactor[Symbol.dispose]();
  }
}

Deno.test("PacketLoop completes a handshake and carries control on portable sockets", async () => {
  const [keyA, keyB] = [generatePrivateKey(), generatePrivateKey()];
  await using a = new Running(keyA);
  await using b = new Running(keyB);
  for (const [from, to, key] of [[b, a, keyA], [a, b, keyB]] as const) {
    from.loop.execute({
      kind: "add-peer",
      publicKey: publicKeyOf(key),
      presharedKey: undefined,
      endpoint: to.endpoint,
      allowedIps: ["10.0.0.0/8"],
      // One side only: initiations that cross cost a retry.
      keepaliveSeconds: from === a ? 1 : 0,
    });
  }
  await until(() => a.events.some((event) => event.kind === "peer"), { what: "a session" });
  const datagram = new Uint8Array(80).fill(9);
  datagram[0] = 0x10;
  a.loop.execute({ kind: "send", datagram, to: b.endpoint });
  const event = await until(() => b.events.find(({ kind }) => kind === "control"), {
    what: "the datagram",
  });
  assert.ok(event.kind === "control");
  assert.deepEqual(event.datagram, datagram);
  assert.equal(Endpoint.fromSockaddr(event.from, 0).port, a.loop.port);
  assert.equal(b.stats().controlReceived, 1);
});

/** Two loops with a tunnel between them, and an interface at each end of it. */
async function withTunnel(
  [left, right]: readonly [NetworkInterface, NetworkInterface],
  work: (left: Running, right: Running) => Promise<void>,
): Promise<void> {
  const [keyA, keyB] = [generatePrivateKey(), generatePrivateKey()];
  await using a = new Running(keyA);
  await using b = new Running(keyB);
  a.loop.attach(left);
  b.loop.attach(right);
  for (const [from, to, key, address] of [[b, a, keyA, left], [a, b, keyB, right]] as const) {
    from.loop.execute({
      kind: "add-peer",
      publicKey: publicKeyOf(key),
      presharedKey: undefined,
      endpoint: to.endpoint,
      allowedIps: [`${ipv4ToString(address.address)}/32`],
      keepaliveSeconds: from === a ? 1 : 0,
    });
  }
  await until(() => a.events.some((event) => event.kind === "peer"), { what: "a session" });
  await work(a, b);
}

Deno.test("L3: PacketLoop carries what programs of userspace interfaces say to each other", async () => {
  const here = new UserspaceInterface({ address: "10.0.0.1", mtu: 1400 });
  const there = new UserspaceInterface({ address: "10.0.0.2", mtu: 1400 });
  await withTunnel([here, there], async (a, b) => {
    const [asks, answers] = [new Transfer(200_000, 1), new Transfer(100_000, 2)];
    there.stack.listen({ port: 80, onSyn: (pending) => void pending.accept(answers) });
    here.dialTcp(there.address, 80, asks);
    await until(() => asks.reason && answers.reason, { what: "both to be over" });
    assert.deepEqual([asks.reason, answers.reason], ["closed", "closed"]);
    assert.deepEqual([asks.received, answers.received], [answers.sends, asks.sends]);
    const second = new MemoryInterface({ address: "10.0.0.1", mtu: 1400 });
    a.loop.attach(second);
    assert.throws(() => a.loop.attach(second), { code: "interface-open" });
    assert.equal(b.stats().noTun, 0);
  });
  assert.equal(here.dialTcp(there.address, 80, {}), undefined); // the loop has stopped it
});

Deno.test("L3: PacketLoop carries what memory interfaces send to each other", async () => {
  const here = new MemoryInterface({ address: "10.0.0.1", mtu: 1400 });
  const there = new MemoryInterface({ address: "10.0.0.2", mtu: 1400 });
  await withTunnel([here, there], async () => {
    for (const [from, to] of [[here, there], [there, here]] as const) {
      // A host that pings another.
      const host = new UserspaceInterface({ address: ipv4ToString(from.address), mtu: 1400 });
      const out = new PacketQueue();
      host.start(out);
      host.ping(to.address, { timeoutMs: 1000 }, () => {});
      const packet = out.take();
      assert.ok(packet && from.send(packet));
      const got = await until(() => to.receive(), { what: "the packet" });
      assert.deepEqual(got, packet);
      host.stop();
    }
  });
  assert.equal(here.send(new Uint8Array(20)), false);
});

Deno.test("PacketLoop carries a guest's frames on portable sockets", async () => {
  const folder = await Deno.makeTempDir({ prefix: "omerta-loop-" });
  {
    await using lender = new Running(generatePrivateKey());
    using uplink = openUdpPortable({ port: 0 });
    using guest = openCablePortable({ localPath: `${folder}/guest`, peerPath: `${folder}/cable` });
    lender.loop.execute({
      kind: "add-guest",
      id: "web",
      cablePath: `${folder}/cable`,
      guestPath: `${folder}/guest`,
      mac: "52:54:00:00:64:02",
      publicKey: publicKeyOf(generatePrivateKey()),
      uplink: loopback(uplink.port).sockaddr,
      mode: "filtered",
      sampleRate: 1,
      rogue: DEFAULT_ROGUE_LIMITS,
    });
    const initiation = wireguardMessage(148, 1);
    const frame = guestFrame({ payload: initiation });
    guest.out.buffer.set(frame, guest.out.reserve(frame.length));
    guest.out.commit(frame.length);
    const got: Uint8Array[] = [];
    const keep = {
      receive: (buffer: Uint8Array, at: number, length: number): void => {
        got.push(buffer.slice(at, at + length));
      },
    };
    await until(() => uplink.drain(keep, 8) > 0, { what: "the initiation at the uplink" });
    assert.deepEqual(got[0], initiation);
    // The answer carries the guest's index, which was learned on the way out.
    const response = wireguardMessage(92, 2);
    response.set(initiation.subarray(4, 8), 8);
    uplink.out.buffer.set(response, uplink.out.reserve(92));
    uplink.out.commit(92, loopback(lender.loop.port));
    await until(() => guest.drain(keep, 8) > 0, { what: "the response at the guest" });
    assert.deepEqual(got[1]?.subarray(42), response);
    assert.equal(lender.stats().guests[0]?.bytesToGuest, 92);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("W5: PacketLoop carries a tunnel of others through its port, and stops", async () => {
  await using node = new Running(generatePrivateKey());
  using client = openUdpPortable({ port: 0 });
  using uplink = openUdpPortable({ port: 0 });
  const relay = {
    id: "vm/client",
    client: loopback(client.port).sockaddr,
    publicKey: publicKeyOf(generatePrivateKey()),
    uplink: loopback(uplink.port).sockaddr,
  };
  // The second takes the place of the first.
  for (let i = 0; i < 2; i++) node.loop.execute({ kind: "add-relay", ...relay });
  assert.equal(node.stats().relays.length, 1);
  const got: Uint8Array[] = [];
  const keep = {
    receive: (buffer: Uint8Array, at: number, length: number): void => {
      got.push(buffer.slice(at, at + length));
    },
  };
  const send = (from: UdpSocket, bytes: Uint8Array): void => {
    from.out.buffer.set(bytes, from.out.reserve(bytes.length));
    from.out.commit(bytes.length, loopback(node.loop.port));
    from.out.flush();
  };
  const initiation = wireguardMessage(148, 1);
  send(client, initiation);
  await until(() => uplink.drain(keep, 8) > 0, { what: "the initiation at the uplink" });
  const response = wireguardMessage(92, 2);
  response.set(initiation.subarray(4, 8), 8);
  send(uplink, response);
  await until(() => client.drain(keep, 8) > 0, { what: "the response at the client" });
  assert.deepEqual(got, [initiation, response]);
  assert.deepEqual(
    node.stats().relays.map(({ bytesToUplink: up, bytesToClient: down }) => [up, down]),
    [
      [148, 92],
    ],
  );
  node.loop.execute({ kind: "remove-relay", id: relay.id });
  assert.deepEqual(node.stats().relays, []);
  // From now on the client is a stranger, whose initiation is the device's to refuse.
  const before = node.stats().wireguard;
  send(client, initiation);
  await until(() => JSON.stringify(node.stats().wireguard) !== JSON.stringify(before), {
    what: "the initiation to be refused",
  });
});

Deno.test("W5: PacketLoop carries so many tunnels and no more", async () => {
  await using node = new Running(generatePrivateKey());
  const add = (i: number): void => {
    node.loop.execute({
      kind: "add-relay",
      id: String(i),
      client: loopback(1000 + i).sockaddr,
      publicKey: new Uint8Array(32).fill(i),
      uplink: loopback(9).sockaddr,
    });
  };
  for (let i = 0; i < MAX_RELAYS; i++) add(i);
  assert.throws(() => add(MAX_RELAYS), { code: "too-many-relays" });
  add(0); // in place of itself
  assert.equal(node.stats().relays.length, MAX_RELAYS);
});

Deno.test("PacketLoop.receive() never throws on any bytes", async () => {
  await using running = new Running(generatePrivateKey());
  const names = loopback(1234).sockaddr;
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(0, 1, 2, 3, 4, 16),
      (b, type) => {
        if (b.length > 3) b.set([type, 0, 0, 0]);
        running.loop.receive(b, 0, b.length, names, 0);
      },
    ),
  );
  const { unknown, controlReceived, controlDropped, wireguard } = running.stats();
  const counted = Object.values(wireguard).reduce((sum, n) => sum + n, 0);
  assert.ok(unknown + controlReceived + controlDropped + counted >= 100);
});
