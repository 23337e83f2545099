import assert from "node:assert/strict";
import fc from "fast-check";
import { Random } from "../../tests/doubles/random.ts";
import { Cubic, initialWindow } from "./congestion/cubic.ts";
import { type Flow, FlowTable } from "./flow_table.ts";
import { HyStart } from "./congestion/hystart.ts";
import { InitialSequence } from "./isn.ts";
import { Pacing } from "./congestion/pacing.ts";
import { RateLimit } from "./rate_limit.ts";
import { RateReduction } from "./congestion/rate_reduction.ts";
import { RetransmissionTimeout } from "./rto.ts";
import { Script } from "./script_fixture.ts";
import { type Timed, TimerHeap } from "./timers.ts";

const MSS = 1000;

Deno.test("TimerHeap gives entries out in order, each by its earliest deadline", () => {
  const change = fc.record({ which: fc.nat(20), at: fc.nat(1000), remove: fc.boolean() });
  fc.assert(fc.property(fc.array(change, { maxLength: 100 }), (changes) => {
    const entries = Array.from({ length: 21 }, (): Timed => ({ armedAt: Infinity, heapIndex: -1 }));
    const heap = new TimerHeap<Timed>();
    const want = new Map<Timed, number>();
    for (const { which, at, remove } of changes) {
      const entry = entries[which];
      if (entry === undefined) continue;
      if (remove) {
        heap.remove(entry);
        want.delete(entry);
      } else {
        heap.schedule(entry, at);
        want.set(entry, Math.min(at, want.get(entry) ?? Infinity));
      }
      assert.equal(heap.nextAt, Math.min(Infinity, ...want.values()));
      assert.equal(heap.size, want.size);
    }
    let last = 0;
    for (let one = heap.due(1000); one !== undefined; one = heap.due(1000)) {
      const at = want.get(one) ?? -1;
      assert.ok(at >= last);
      last = at;
      want.delete(one);
    }
    assert.equal(want.size, 0);
  }));
});

Deno.test("TimerHeap.due() gives out nothing before its time", () => {
  const heap = new TimerHeap<Timed>();
  const entry: Timed = { armedAt: Infinity, heapIndex: -1 };
  heap.schedule(entry, 10);
  assert.equal(heap.due(9.99), undefined);
  assert.equal(heap.due(10), entry);
  assert.equal(heap.nextAt, Infinity);
});

Deno.test("FlowTable finds what was added and not removed, through growing", () => {
  const table = new FlowTable<Flow>(0x1234567);
  const random = new Random(1);
  const flows = Array.from({ length: 2000 }, (_, i): Flow => ({
    local: 0x0a000001,
    localPort: 80,
    remote: random.below(2 ** 32) | 0,
    remotePort: i,
    hash: 0,
    next: undefined,
  }));
  for (const flow of flows) table.add(flow);
  for (const [i, flow] of flows.entries()) if (i % 2 === 0) table.remove(flow);
  table.remove({ ...flows[1], hash: flows[1]?.hash ?? 0 } as Flow);
  assert.equal(table.size, 1000);
  for (const [i, flow] of flows.entries()) {
    const found = table.find(flow.local, flow.localPort, flow.remote, flow.remotePort);
    assert.equal(found, i % 2 === 0 ? undefined : flow);
  }
});

Deno.test("FlowTable spreads ports that a stranger has chosen against a hash without a secret", () => {
  const inverse = (of: number): number => {
    let x = of;
    for (let i = 0; i < 5; i++) x = Math.imul(x, 2 - Math.imul(of, x));
    return x;
  };
  // Port pairs that a multiplication by this constant moves to bits which no bucket depends on.
  const by = inverse(0x27d4eb2f);
  const pairs = Array.from(
    { length: 2048 },
    (_, i) => Math.imul((i >> 6) << 26 | (i & 63) << 10, by),
  );
  for (const seed of [1, 123_456_789, -99_999_999]) {
    const table = new FlowTable<Flow>(seed);
    const buckets = new Map<number, number>();
    for (const pair of pairs) {
      const flow: Flow = {
        local: 0x0a000001,
        localPort: pair & 0xffff,
        remote: 0x0a000002,
        remotePort: pair >>> 16,
        hash: 0,
        next: undefined,
      };
      table.add(flow);
      buckets.set(flow.hash & 1023, (buckets.get(flow.hash & 1023) ?? 0) + 1);
    }
    assert.ok(Math.max(...buckets.values()) < 40, `${seed}: ${buckets.size} buckets`);
  }
});

Deno.test("RetransmissionTimeout follows RFC 6298 section 2", () => {
  const rto = new RetransmissionTimeout();
  assert.equal(rto.value, 1000);
  rto.sample(400);
  assert.deepEqual([rto.smoothed, rto.variation, rto.value], [400, 200, 1200]);
  rto.sample(800);
  assert.deepEqual([rto.smoothed, rto.variation], [450, 250]);
  rto.expired();
  assert.equal(rto.value, 2 * 1450);
  for (let i = 0; i < 30; i++) rto.expired();
  assert.equal(rto.value, 60_000);
  rto.progress();
  assert.equal(rto.value, 1450);
  for (let i = 0; i < 100; i++) rto.sample(1);
  assert.equal(rto.value, 200);
});

Deno.test("initialWindow() follows RFC 6928 section 2", () => {
  assert.deepEqual([536, 1448, 8948].map(initialWindow), [5360, 14480, 17896]);
});

Deno.test("Cubic doubles in slow start and follows its curve afterwards (RFC 9438 section 4.2)", () => {
  const cubic = new Cubic(MSS);
  cubic.acknowledged(10_000, 100, 0);
  assert.equal(cubic.window, 20_000);
  cubic.window = 100 * MSS;
  cubic.lost(100 * MSS);
  assert.equal(cubic.threshold, 70 * MSS);
  cubic.window = cubic.threshold;
  // K = cbrt(30 / 0.4) seconds; at K the window is what it was, one acknowledgment each 10 ms.
  const k = 1000 * Math.cbrt(30 / 0.4);
  const at: number[] = [];
  for (let now = 0; now < 2 * k; now += 10) {
    cubic.acknowledged(cubic.window / 10, 100, now);
    if (now % 1000 === 0) at.push(cubic.window / MSS);
  }
  const plateau = at[Math.round(k / 1000)] ?? 0;
  assert.ok(Math.abs(plateau - 100) < 3, `the plateau is at ${plateau}`);
  assert.ok((at.at(-1) ?? 0) > 115, `it ends at ${at.at(-1)}`);
  assert.ok(at.every((window, i) => i === 0 || window >= (at[i - 1] ?? 0)));
});

Deno.test("Cubic is never slower than Reno (RFC 9438 section 4.3)", () => {
  const cubic = new Cubic(MSS);
  cubic.window = 10 * MSS;
  cubic.lost(10 * MSS);
  cubic.window = cubic.threshold;
  // A short round trip: the curve is flat, Reno's estimate is not.
  for (let i = 0; i < 100; i++) cubic.acknowledged(cubic.window, 1, i);
  assert.ok(cubic.window > 40 * MSS, `${cubic.window}`);
});

Deno.test("Cubic.undo() restores what was before, and idle() begins anew", () => {
  const cubic = new Cubic(MSS);
  cubic.window = 50 * MSS;
  cubic.timedOut(50 * MSS);
  cubic.window = MSS;
  cubic.undo();
  assert.deepEqual([cubic.window, cubic.threshold], [50 * MSS, Infinity]);
  cubic.idle();
  assert.equal(cubic.window, 10 * MSS);
});

Deno.test("HyStart ends slow start when the round trip grows for good, not once (RFC 9406)", () => {
  const run = (roundTrip: (round: number) => number): number => {
    const hystart = new HyStart();
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 10; i++) {
        if (hystart.sample(roundTrip(round), round * 100 + i * 10, round * 100 + 100)) return round;
      }
    }
    return -1;
  };
  assert.equal(run(() => 50), -1);
  assert.equal(run((round) => round === 5 ? 80 : 50), -1);
  const end = run((round) => 50 + 10 * Math.max(0, round - 4));
  assert.ok(end > 5 && end < 15, `it ended in round ${end}`);
});

Deno.test("RateReduction lets out as much as the threshold allows (RFC 6937 section 3)", () => {
  const reduction = new RateReduction();
  reduction.begin(20 * MSS);
  let pipe = 19 * MSS;
  let out = 0;
  for (let i = 0; i < 19; i++) {
    pipe -= MSS;
    const may = reduction.allowance(MSS, pipe, 14 * MSS, MSS, true, i === 0);
    const segments = Math.floor(may / MSS);
    reduction.sent(segments * MSS);
    pipe += segments * MSS;
    out += segments;
  }
  assert.ok(Math.abs(pipe - 14 * MSS) <= MSS, `${pipe} bytes are on their way`);
  assert.ok(out >= 12 && out <= 16, `${out} segments went out`);
});

Deno.test("Pacing spreads a window over its round trip, with a small burst", () => {
  const pacing = new Pacing();
  assert.equal(pacing.nextAt(5), 5);
  pacing.setWindow(100 * MSS, 100, false);
  let now = 0;
  for (let i = 0; i < 100; i++) {
    now = pacing.nextAt(now);
    pacing.sent(MSS, now);
  }
  // 1.2 windows in a round trip.
  assert.ok(now > 75 && now < 84, `it took ${now} ms`);
});

Deno.test("Pacing works off what was sent ahead at the rate of now when that is higher", () => {
  const pacing = new Pacing();
  pacing.rate = 0.2;
  pacing.sent(1500, 0);
  assert.ok(pacing.nextAt(0) > 7000);
  pacing.rate = 100;
  assert.ok(pacing.nextAt(0) < 16);
  // A lower one does not make it last longer.
  pacing.rate = 0.001;
  assert.ok(pacing.nextAt(0) < 7600);
});

Deno.test("L6: a reader that was slow for long has full segments at once when it is not any more", () => {
  for (const congestion of ["bbr", "cubic"] as const) {
    const s = new Script({ congestion });
    s.in({ flags: "S", mss: 1460, sackOk: true, scale: 0 });
    s.sent();
    s.wait(40);
    s.in({ flags: ".", win: 10 });
    s.c.write(new Uint8Array(60_000));
    s.end();
    /** What was sent is acknowledged, and the window is `win`. */
    const answer = (win: number): void => {
      s.sent();
      s.in({ flags: ".", win });
    };
    for (let i = 0; i < 60; i++) {
      s.wait(50);
      answer(10);
    }
    let rounds = 0;
    for (; s.c.unacknowledged > 0 && rounds < 100; rounds++) {
      answer(65_535);
      s.wait(40);
    }
    assert.ok(rounds < 40, `${congestion}: ${rounds} round trips`);
  }
});

Deno.test("RateLimit allows so many in a second, and no more saved up", () => {
  const limit = new RateLimit(5);
  const burst = (now: number): number =>
    Array.from({ length: 20 }, () => limit.allow(now)).filter(Boolean).length;
  assert.deepEqual([burst(0), burst(0), burst(200), burst(99_000)], [5, 0, 1, 5]);
});

Deno.test("L6: RateLimit of 0 allows nothing", () => {
  const limit = new RateLimit(0);
  for (const now of [0, 1, 99_000]) assert.equal(limit.allow(now), false);
});

Deno.test("InitialSequence.compute() depends on the secret, all four numbers and the time", () => {
  const isn = new InitialSequence((length) => new Uint8Array(length).fill(1));
  const other = new InitialSequence((length) => new Uint8Array(length).fill(2));
  const of = (one: InitialSequence, ...args: [number, number, number, number, number]): number => {
    one.compute(...args);
    return one.sequence;
  };
  const first = of(isn, 1, 2, 3, 4, 0);
  assert.equal(of(isn, 1, 2, 3, 4, 0), first);
  const different = [
    of(isn, 9, 2, 3, 4, 0),
    of(isn, 1, 9, 3, 4, 0),
    of(isn, 1, 2, 9, 4, 0),
    of(isn, 1, 2, 3, 9, 0),
    of(other, 1, 2, 3, 4, 0),
  ];
  assert.equal(new Set([first, ...different]).size, 6);
  assert.equal((of(isn, 1, 2, 3, 4, 1000) - first) | 0, 250_000);
});
