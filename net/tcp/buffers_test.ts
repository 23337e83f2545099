import assert from "node:assert/strict";
import fc from "fast-check";
import { CHUNK_BYTES, ChunkPool, SHARE } from "./chunk_pool.ts";
import { ChunkedBytes } from "./chunked_bytes.ts";
import { ReassemblyQueue } from "./reassembly_queue.ts";
import { ReceiveBuffer } from "./receive_buffer.ts";
import { SendBuffer } from "./send_buffer.ts";
import { streamByte } from "./stream_fixture.ts";

/** `length` bytes of a stream from `at`. */
function stream(at: number, length: number): Uint8Array {
  return new Uint8Array(length).map((_, i) => streamByte(at + i, 0));
}

Deno.test("ChunkPool.take() gives nothing at the cap, and again after give()", () => {
  const pool = new ChunkPool(2 * CHUNK_BYTES + 5);
  const first = pool.take(SHARE.inOrder);
  assert.ok(first !== undefined && pool.take(SHARE.inOrder) !== undefined);
  assert.equal(pool.take(SHARE.inOrder), undefined);
  assert.equal(pool.bytes, 2 * CHUNK_BYTES);
  pool.give(first);
  assert.equal(pool.take(SHARE.inOrder), first);
});

Deno.test("ChunkedBytes is the same as one long array", () => {
  const step = fc.record({ write: fc.nat(40_000), ahead: fc.nat(3), drop: fc.nat(50_000) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const pool = new ChunkPool(1 << 30);
      const bytes = new ChunkedBytes(pool);
      let held = 0;
      let start = 0;
      for (const { write, ahead, drop } of steps) {
        const chunk = stream(start + held, write);
        // In two halves, the second one first.
        const half = ahead > 0 ? write >> 1 : 0;
        assert.equal(
          bytes.write(held + half, chunk, half, write - half, SHARE.inOrder),
          write - half,
        );
        assert.equal(bytes.write(held, chunk, 0, half, SHARE.inOrder), half);
        held += write;
        const from = Math.min(drop, held) >> 1;
        const out = new Uint8Array(held - from + 2);
        bytes.read(from, out, 1, held - from);
        assert.deepEqual(out.subarray(1, -1), stream(start + from, held - from));
        const gone = Math.min(drop, held);
        bytes.drop(gone);
        held -= gone;
        start += gone;
      }
      bytes.clear();
      assert.equal(pool.inUse, 0);
    }),
    { numRuns: 30 },
  );
});

Deno.test("ChunkedBytes.write() says how much the pool had room for", () => {
  const pool = new ChunkPool(CHUNK_BYTES);
  const bytes = new ChunkedBytes(pool);
  assert.equal(bytes.write(0, stream(0, 30_000), 0, 30_000, SHARE.inOrder), CHUNK_BYTES);
});

Deno.test("SendBuffer takes up to its limit, which grows to its cap, and drops to a number", () => {
  const pool = new ChunkPool(1 << 30);
  const buffer = new SendBuffer(pool, 100_000);
  buffer.start = -10;
  assert.equal(buffer.write(stream(0, 90_000), 0, 90_000), 65_536);
  buffer.grow(40_000.7);
  assert.equal(buffer.limit, 80_001);
  buffer.grow(1e9);
  assert.equal(buffer.room, 100_000 - 65_536);
  buffer.dropTo(90);
  assert.deepEqual([buffer.start, buffer.end], [90, 65_526]);
  const out = new Uint8Array(5);
  buffer.read(100, out, 0, 5);
  assert.deepEqual(out, stream(110, 5));
  // A FIN's number lies behind the last byte.
  buffer.dropTo(65_527);
  assert.deepEqual([buffer.length, pool.inUse], [0, 0]);
});

Deno.test("ReassemblyQueue is the same as a set of numbers", () => {
  const piece = fc.record({ at: fc.nat(300), length: fc.integer({ min: 1, max: 40 }) });
  const base = 0x7fffffc0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const queue = new ReassemblyQueue(1000);
      const set = new Set<number>();
      let next = 0;
      for (const { at, length } of pieces) {
        const left = Math.max(at, next + 1);
        const covered = Array.from({ length }, (_, i) => set.has(left + i)).every(Boolean);
        assert.equal(queue.covers((base + left) | 0, (base + left + length) | 0), covered);
        assert.ok(queue.add((base + left) | 0, (base + left + length) | 0));
        for (let i = 0; i < length; i++) set.add(left + i);
        if (at % 7 === 0) {
          // The next number arrives.
          let to = next + 1;
          while (set.has(to)) to++;
          assert.equal(queue.advance((base + next + 1) | 0), (base + to) | 0);
          for (const one of set) if (one < to) set.delete(one);
          next = to;
          // The queue keeps nothing that touches what is in order.
          assert.ok(!set.has(next));
        }
        let ranges = 0;
        for (const one of set) if (!set.has(one - 1)) ranges++;
        assert.equal(queue.count, ranges);
        const edges = new Int32Array(8);
        const blocks = queue.blocks(edges, 0, 4);
        assert.equal(blocks, Math.min(4, blocks));
        assert.ok(ranges === 0 || blocks > 0);
        for (let i = 0; i < blocks; i++) {
          const from = ((edges[2 * i] ?? 0) - base) | 0;
          const to = ((edges[2 * i + 1] ?? 0) - base) | 0;
          assert.ok(set.has(from) && !set.has(from - 1) && set.has(to - 1) && !set.has(to));
        }
        // RFC 2018 section 4: the first block is that of the newest arrival.
        if (blocks > 0 && set.has(left)) {
          const from = ((edges[0] ?? 0) - base) | 0;
          const to = ((edges[1] ?? 0) - base) | 0;
          assert.ok(from <= left && left < to, `${from}:${to} does not hold ${left}`);
        }
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("ReassemblyQueue.add() refuses one range too many, and none that joins", () => {
  const queue = new ReassemblyQueue(2);
  assert.ok(queue.add(10, 20) && queue.add(30, 40));
  assert.ok(!queue.add(50, 60));
  assert.ok(queue.add(20, 30));
  assert.deepEqual([queue.count, queue.end], [1, 40]);
});

Deno.test("ReceiveBuffer gives the stream in order, however it arrives", () => {
  const order = fc.shuffledSubarray(Array.from({ length: 40 }, (_, i) => i), {
    minLength: 40,
    maxLength: 40,
  });
  fc.assert(fc.property(order, fc.integer(), (pieces, first) => {
    const pool = new ChunkPool(1 << 30);
    const buffer = new ReceiveBuffer(pool, 1 << 20, 100);
    buffer.next = first | 0;
    const out = new Uint8Array(40 * 1000);
    let read = 0;
    for (const piece of pieces) {
      const at = (first + piece * 1000) | 0;
      assert.equal(buffer.store(at, stream(piece * 1000, 1000), 0, 1000), "stored");
      read += buffer.read(out, read, 700);
    }
    read += buffer.read(out, read, out.length);
    assert.equal(read, out.length);
    assert.deepEqual(out, stream(0, out.length));
    assert.equal(pool.inUse, 0);
  }));
});

Deno.test("ReceiveBuffer.tune() grows the window of a reader that keeps up, and no other", () => {
  const pool = new ChunkPool(1 << 30);
  const run = (part: number): number => {
    const buffer = new ReceiveBuffer(pool, 1 << 20, 10);
    const out = new Uint8Array(1 << 20);
    for (let round = 0; round < 10; round++) {
      const size = Math.floor(buffer.limit * part);
      buffer.store(buffer.next, new Uint8Array(size), 0, size);
      buffer.read(out, 0, size);
      buffer.tune(round * 20, 20);
    }
    return buffer.limit;
  };
  assert.equal(run(1), 1 << 20);
  assert.equal(run(0.1), 128 * 1024);
});
