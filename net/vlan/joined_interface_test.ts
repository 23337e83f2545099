import assert from "node:assert/strict";
import type { PingAnswer } from "../tcp/ping.ts";
import { Transfer } from "./transfer_fixture.ts";
import { JoinedInterface } from "./joined_interface.ts";
import { MemoryInterface } from "./memory_interface.ts";
import { PacketQueue } from "./packet_queue.ts";
import { UserspaceInterface } from "./userspace_interface.ts";
import { Wire } from "./wire_fixture.ts";

const THEIRS = 0x0a000002;
const PACKET = new Uint8Array(40).fill(0x45);

function userspaceAt(address: string): UserspaceInterface {
  return new UserspaceInterface({ address, mtu: 1400, now: 0 });
}

/** A joined interface, and a userspace one at the other end. */
class Scene {
  readonly joined = new JoinedInterface();
  readonly peer = userspaceAt("10.0.0.2");
  readonly wire = new Wire(this.joined, this.peer);
  /** In the place of the operating system's: it keeps what would go to the kernel. */
  readonly system = new MemoryInterface({ address: "10.0.0.1", mtu: 1300 });
  readonly userspace = userspaceAt("10.0.0.1");

  constructor() {
    this.peer.stack.listen({ port: 80, onSyn: (pending) => void pending.accept(this.there) });
  }

  readonly there = new Transfer(100_000, 1);

  /** Connects to the other end, and moves bytes both ways. */
  transfer(): void {
    const here = new Transfer(100_000, 2);
    assert.equal(typeof this.joined.dialTcp(THEIRS, 80, here), "object");
    this.wire.settle();
    assert.deepEqual([here.reason, this.there.reason], ["closed", "closed"]);
    assert.deepEqual([here.received, this.there.received], [this.there.sends, here.sends]);
  }

  pingIt(): PingAnswer["kind"][] {
    const kinds: PingAnswer["kind"][] = [];
    this.peer.begin(this.wire.now);
    this.peer.ping(0x0a000001, { timeoutMs: 1000 }, ({ kind }) => kinds.push(kind));
    this.wire.settle();
    return kinds;
  }
}

Deno.test("L3: a joined interface without any drops and counts, and has room to decrypt into", () => {
  const { joined, wire } = new Scene();
  assert.deepEqual([joined.name, joined.address, joined.mtu], ["none", 0, 0]);
  assert.equal(joined.inbound.reserve(1400), 0);
  assert.equal(joined.inbound.reserve(65537), -1);
  joined.inbound.commit(1400);
  joined.inbound.flush();
  assert.equal(joined.dropped, 1);
  assert.equal(joined.dialTcp(THEIRS, 80, {}), undefined);
  assert.ok(joined.drain());
  assert.equal(joined.tick(wire.now), Infinity);
  assert.equal(joined.source, undefined);
});

Deno.test("L3: a joined interface with a userspace one alone is that", () => {
  const scene = new Scene();
  scene.joined.attach(scene.userspace);
  assert.deepEqual([scene.joined.name, scene.joined.mtu], ["userspace", 1400]);
  scene.transfer();
  assert.deepEqual(scene.pingIt(), ["reply"]);
});

Deno.test("L3: a joined interface with another one alone is that", () => {
  const { joined, system, peer, wire } = new Scene();
  joined.attach(system);
  assert.deepEqual([joined.name, joined.mtu, joined.source], ["memory", 1300, system.source]);
  assert.equal(joined.dialTcp(THEIRS, 80, {}), undefined);
  system.send(PACKET);
  wire.settle();
  assert.equal(peer.stack.counters.packetsIn, 1);
  const at = joined.inbound.reserve(40);
  joined.inbound.buffer.set(PACKET, at);
  joined.inbound.commit(40);
  joined.inbound.flush();
  assert.deepEqual(system.receive(), PACKET);
});

for (const first of ["the stack", "the other"]) {
  Deno.test(`L3: of two joined interfaces each gets its own, whether ${first} came first`, () => {
    const scene = new Scene();
    const { joined, system, userspace, wire } = scene;
    const both = [userspace, system];
    for (const one of first === "the stack" ? both : both.reverse()) joined.attach(one);
    assert.deepEqual([joined.name, joined.address], ["memory", 0x0a000001]);
    scene.transfer();
    assert.equal(system.receive(), undefined);
    // An echo request is the kernel's, and so is a SYN for a port of nobody's.
    assert.deepEqual(scene.pingIt(), []);
    scene.peer.dialTcp(0x0a000001, 22, {});
    wire.settle(3);
    assert.equal(system.receive()?.[9], 1);
    assert.equal(system.receive()?.[9], 6);
    assert.equal(userspace.stack.counters.noConnection, 0);
    assert.equal(joined.dropped, 0);
  });
}

Deno.test("attach() refuses a second one of a kind, and stop() stops both", () => {
  const { joined, system, userspace } = new Scene();
  joined.attach(system);
  joined.attach(userspace);
  assert.throws(() => joined.attach(system), {
    code: "interface-open",
    message: "Cannot open interface memory: memory is open already",
  });
  assert.throws(() => joined.attach(userspaceAt("10.0.0.3")), { code: "interface-open" });
  joined.stop();
  joined.stop();
  assert.equal(system.send(PACKET), false);
  assert.equal(userspace.dialTcp(THEIRS, 80, {}), undefined);
  assert.equal(joined.inbound.reserve(40), 0);
  joined.inbound.commit(40);
  assert.equal(joined.dropped, 1);
  assert.equal(system.receive(), undefined);
});

Deno.test("attach() starts what comes before start(), and what comes after it", () => {
  const joined = new JoinedInterface();
  const early = new MemoryInterface({ address: "10.0.0.1", mtu: 1400 });
  joined.attach(early);
  const out = new PacketQueue();
  early.send(PACKET);
  joined.drain();
  assert.equal(out.waiting, 0);
  joined.start(out);
  early.send(PACKET);
  joined.drain();
  assert.ok(out.waiting > 0);
});
