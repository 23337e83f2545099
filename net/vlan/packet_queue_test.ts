import assert from "node:assert/strict";
import fc from "fast-check";
import { PacketQueue } from "./packet_queue.ts";

function packetOf(length: number, seed: number): Uint8Array {
  return new Uint8Array(length).map((_, i) => (i * 31 + seed) & 255);
}

Deno.test("take() gives what was put, oldest first, as copies", () => {
  const queue = new PacketQueue({ packets: 2, bytes: 100 });
  let told = 0;
  queue.onReadable = (): void => void told++;
  assert.ok(queue.put(packetOf(40, 1)));
  assert.ok(queue.put(packetOf(60, 2)));
  assert.equal(queue.put(packetOf(1, 3)), false);
  assert.deepEqual([told, queue.waiting, queue.dropped], [2, 2, 1]);
  const first = queue.take();
  assert.ok(queue.put(packetOf(40, 4)));
  assert.deepEqual(first, packetOf(40, 1));
  assert.deepEqual(queue.take(), packetOf(60, 2));
  assert.deepEqual(queue.take(), packetOf(40, 4));
  assert.equal(queue.take(), undefined);
  // Longer than it holds at all, and none.
  assert.equal(queue.reserve(101), -1);
  queue.put(new Uint8Array(0));
  assert.equal(queue.waiting, 0);
});

Deno.test("drainInto() moves so many and no more, and drops what finds no room there", () => {
  const queue = new PacketQueue();
  for (let i = 0; i < 5; i++) queue.put(packetOf(100, i));
  const small = new PacketQueue({ packets: 2 });
  assert.equal(queue.drainInto(small, 1), 1);
  assert.deepEqual([queue.waiting, small.waiting], [4, 1]);
  assert.equal(queue.drainInto(small, 3), 3);
  assert.deepEqual([queue.waiting, small.waiting, queue.dropped], [1, 2, 2]);
  assert.deepEqual(small.take(), packetOf(100, 0));
  assert.deepEqual(small.take(), packetOf(100, 1));
});

Deno.test("PacketQueue keeps every packet that it has room for, in whatever order it is used", () => {
  const step = fc.oneof(
    fc.record({ put: fc.integer({ min: 1, max: 70 }), spare: fc.nat(10) }),
    fc.constant(undefined),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const queue = new PacketQueue({ packets: 8, bytes: 200 });
    const model: Uint8Array[] = [];
    for (const [i, one] of steps.entries()) {
      if (one === undefined) assert.deepEqual(queue.take(), model.shift());
      else {
        // As producers do: more room than is used in the end.
        const at = queue.reserve(one.put + one.spare);
        const held = model.reduce((sum, { length }) => sum + length, 0);
        if (at < 0) assert.ok(model.length === 8 || held + 2 * 80 > 200);
        else {
          queue.buffer.set(packetOf(one.put, i), at);
          queue.commit(one.put);
          model.push(packetOf(one.put, i));
        }
      }
      assert.equal(queue.waiting, model.length);
    }
    for (const packet of model) assert.deepEqual(queue.take(), packet);
  }));
});
