import assert from "node:assert/strict";
import { MemoryInterface } from "./memory_interface.ts";
import { PacketQueue } from "./packet_queue.ts";
import { Wire } from "./wire_fixture.ts";

const PACKET = new TextEncoder().encode("test packet");

function memoryAt(address: string): MemoryInterface {
  return new MemoryInterface({ address, mtu: 1400 });
}

Deno.test("L3: drain() hands on what a program sends", () => {
  const memory = memoryAt("10.0.0.5");
  const out = new PacketQueue();
  let told = 0;
  memory.source.onReadable = (): void => void told++;
  assert.ok(memory.send(PACKET));
  assert.ok(memory.drain());
  assert.equal(out.take(), undefined); // it was not started
  memory.start(out);
  assert.ok(memory.drain());
  assert.deepEqual(out.take(), PACKET);
  assert.deepEqual([told, out.take()], [1, undefined]);
});

Deno.test("L3: receive() gives what is written to the interface", () => {
  const memory = memoryAt("10.0.0.5");
  const { inbound } = memory;
  assert.equal(memory.receive(), undefined);
  for (const byte of [1, 2]) {
    const at = inbound.reserve(100);
    inbound.buffer.fill(byte, at, at + 20);
    inbound.commit(20);
  }
  inbound.flush();
  assert.deepEqual(memory.receive(), new Uint8Array(20).fill(1));
  assert.deepEqual(memory.receive(), new Uint8Array(20).fill(2));
  assert.equal(memory.receive(), undefined);
});

Deno.test("L3: of two memory interfaces that are wired one sends and the other receives", () => {
  const [left, right] = [memoryAt("10.0.0.1"), memoryAt("10.0.0.2")];
  const wire = new Wire(left, right);
  left.send(PACKET);
  assert.equal(wire.settle(), 1);
  assert.deepEqual(right.receive(), PACKET);
  right.send(PACKET.slice(0, 4));
  wire.settle();
  assert.deepEqual(left.receive(), PACKET.slice(0, 4));
  assert.equal(right.receive(), undefined);
});

Deno.test("send() refuses what is longer than the MTU, what finds no room, and after stop()", () => {
  const memory = new MemoryInterface({ address: "10.0.0.1", mtu: 600, packets: 2 });
  assert.equal(memory.send(new Uint8Array(601)), false);
  assert.ok(memory.send(new Uint8Array(600)));
  assert.ok(memory.send(PACKET));
  assert.equal(memory.send(PACKET), false);
  const out = new PacketQueue();
  memory.start(out);
  memory.stop();
  memory.drain();
  assert.equal(out.waiting, 0);
  assert.equal(memory.send(PACKET), false);
});

Deno.test("MemoryInterface wants an address and an MTU", () => {
  assert.throws(() => memoryAt("10.0.0"), { code: "bad-address" });
  for (const mtu of [575, 65536, 1400.5]) {
    assert.throws(() => new MemoryInterface({ address: "10.0.0.1", mtu }), { code: "bad-mtu" });
  }
  const memory = memoryAt("10.0.0.5");
  assert.deepEqual([memory.address, memory.mtu], [0x0a000005, 1400]);
  assert.equal(memory.dialTcp(), undefined);
  assert.equal(memory.tick(0), Infinity);
});
