import assert from "node:assert/strict";
import type { PacketSink } from "../../net/os/sink.ts";
import { LossyLine } from "./_lossy_line.ts";

/** Keeps the first byte of what arrives. */
class Arrived implements PacketSink {
  readonly buffer: Uint8Array = new Uint8Array(2048);
  readonly marks: number[] = [];
  reserve(): number {
    return 0;
  }
  commit(): void {
    this.marks.push(this.buffer[0] ?? 0);
  }
  flush(): void {}
}

function send(line: LossyLine, mark: number, length = 1000): void {
  const at = line.reserve(length);
  if (at < 0) return;
  line.buffer[at] = mark;
  line.commit(length);
}

const GOOD = { rate: 1000, queueBytes: 3000, delayMs: 10, loss: 0, seed: 1 };

Deno.test("B4: LossyLine gives packets out in turn, after the time on the way", () => {
  const line = new LossyLine();
  line.begin(GOOD);
  line.now = 100;
  for (const mark of [1, 2, 3, 4]) send(line, mark);
  const out = new Arrived();
  line.deliver(out, 110.9);
  assert.deepEqual(out.marks, []);
  assert.equal(line.nextAt, 111);
  line.deliver(out, 112);
  assert.deepEqual(out.marks, [1, 2]);
  line.deliver(out, 1000);
  // The fourth found three thousand bytes waiting.
  assert.deepEqual(out.marks, [1, 2, 3]);
  assert.deepEqual([line.packets, line.lost, line.overflowed, line.nextAt], [4, 0, 1, Infinity]);
});

Deno.test("B4: LossyLine loses as many as it is told, and the same ones for the same seed", () => {
  const run = (seed: number): number[] => {
    const line = new LossyLine();
    const out = new Arrived();
    line.begin({ ...GOOD, loss: 0.1, seed });
    for (let i = 0; i < 2000; i++) {
      line.now = 2 * i;
      send(line, i & 255);
      line.deliver(out, line.now);
    }
    line.deliver(out, 1e9);
    assert.equal(out.marks.length + line.lost, 2000);
    assert.ok(line.lost > 150 && line.lost < 250, `${line.lost} of 2000 are lost`);
    return out.marks;
  };
  assert.deepEqual(run(1), run(1));
  assert.notDeepEqual(run(1), run(2));
});
