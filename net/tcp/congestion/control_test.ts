import assert from "node:assert/strict";
import { Random } from "../../../tests/doubles/random.ts";
import type { PacketSink } from "../../os/sink.ts";
import type { CongestionName } from "./control.ts";
import type { TcpConnection, TcpHandler } from "../connection.ts";
import { ADDRESS_A, ADDRESS_B, type LinkOptions, Simulation } from "../simulation_fixture.ts";
import { Stack } from "../stack.ts";

const CONTROLS = ["cubic", "bbr"] as const;
const SEGMENT = 1448;
const scratch = new Uint8Array(65536);

/** Writes for ever. */
const sender: TcpHandler = {
  onWritable(c): void {
    while (c.write(scratch) === scratch.length);
  },
};

/** Reads for ever and counts. */
class Counter implements TcpHandler {
  bytes = 0;
  onReadable(c: TcpConnection): void {
    for (let n = c.read(scratch); n > 0; n = c.read(scratch)) this.bytes += n;
  }
  onEnd(c: TcpConnection): void {
    c.end();
  }
}

/** A flow that sends for ever, to this port. */
class Flow {
  readonly counter = new Counter();
  readonly connection: TcpConnection;
  constructor(sim: Simulation, port: number, congestion: CongestionName) {
    sim.b.listen({ port, onSyn: (pending) => void pending.accept(this.counter) });
    const options = { congestion };
    const made = sim.a.connect({ to: ADDRESS_B, port, handler: sender, options });
    assert.ok(typeof made !== "string");
    this.connection = made;
  }
}

/** Bytes per ms over `ms` of a link, from the beginning. */
function goodput(link: LinkOptions, congestion: CongestionName, seed: number, ms: number): number {
  const sim = new Simulation({ seed, link });
  const { counter, connection } = new Flow(sim, 80, congestion);
  sim.pass(ms);
  assert.equal(connection.stats.congestion, congestion);
  return counter.bytes / ms;
}

const LOSSY = [[10, 0.001], [10, 0.01], [50, 0.001], [50, 0.01]] as const;

for (const [roundTrip, loss] of LOSSY) {
  Deno.test(`B4: goodput at ${loss * 100} % loss and ${roundTrip} ms: CUBIC's model, and BBR`, () => {
    const queueBytes = Math.max(12_500 * roundTrip, 100_000);
    const link = { delayMs: roundTrip / 2, loss, rate: 12_500, queueBytes };
    const rates = CONTROLS.map((congestion) => goodput(link, congestion, 1, 8000));
    const [cubic = 0, bbr = 0] = rates;
    // RFC 9438 section 4.3: as much as Reno, whose window is sqrt(3 / 2p) segments on average.
    const model = Math.sqrt(1.5 / loss) * SEGMENT / roundTrip;
    assert.ok(cubic >= 0.9 * model, `CUBIC gives ${cubic}, the model ${model}`);
    const want = { 10: { 0.001: 1.4, 0.01: 4 }, 50: { 0.001: 4, 0.01: 5 } }[roundTrip][loss];
    assert.ok(bbr >= want * cubic, `BBR gives ${bbr}, CUBIC ${cubic}`);
  });
}

for (const queue of [1, 4]) {
  for (
    const order of [["bbr", "cubic"], ["cubic", "bbr"], ["bbr", "bbr"], ["cubic", "cubic"]] as const
  ) {
    Deno.test(`L6: ${order.join(", then ")} share a queue of ${queue} round trips`, () => {
      const rate = 1250;
      const link = { delayMs: 20, rate, queueBytes: queue * rate * 40 };
      const sim = new Simulation({ seed: 1, link, back: { delayMs: 20 } });
      const first = new Flow(sim, 80, order[0]);
      sim.pass(3000);
      const second = new Flow(sim, 81, order[1]);
      // BBR knows the round trip without the other's queue after a ProbeRTT.
      sim.pass(20_000);
      const before = [first, second].map(({ counter }) => counter.bytes);
      sim.pass(60_000);
      const shares = [first, second].map(({ counter }, i) =>
        (counter.bytes - (before[i] ?? 0)) / 60_000 / rate
      );
      assert.ok(Math.min(...shares) >= 0.2, `their shares are ${shares}`);
      assert.ok(shares.reduce((a, b) => a + b) >= 0.9, `their shares are ${shares}`);
      // A timeout that was needless must not give back what losses have taken.
      assert.ok(sim.ab.lost < 0.02 * sim.ab.sent, `${sim.ab.lost} of ${sim.ab.sent} are lost`);
    });
  }
}

Deno.test("L6: CUBIC's window does not jump after an owner who sent little (RFC 9438 section 5.8)", () => {
  const link = { delayMs: 25, rate: 2500, queueBytes: 62_500 };
  const sim = new Simulation({ seed: 1, link, back: { delayMs: 25 } });
  const counter = new Counter();
  sim.b.listen({ port: 80, onSyn: (pending) => void pending.accept(counter) });
  let isBusy = true;
  const onWritable = (c: TcpConnection): void => {
    while (isBusy && c.write(scratch) === scratch.length);
  };
  const options = { congestion: "cubic", noDelay: true } as const;
  const c = sim.a.connect({ to: ADDRESS_B, port: 80, handler: { onWritable }, options });
  assert.ok(typeof c !== "string");
  sim.pass(20_000);
  isBusy = false;
  sim.pass(150);
  for (let i = 0; i < 600; i++) {
    c.write(scratch, 0, 1000);
    sim.a.flush(sim.now);
    sim.pass(50);
  }
  const { congestionWindow } = c.stats;
  const { lost } = sim.ab;
  isBusy = true;
  onWritable(c);
  sim.a.flush(sim.now);
  let most = 0;
  for (let i = 0; i < 14; i++) {
    sim.pass(50);
    most = Math.max(most, c.stats.congestionWindow);
  }
  assert.ok(most < 1.25 * congestionWindow, `the window is ${most}, was ${congestionWindow}`);
  // The queue may be full by now, but it was not filled at once.
  assert.ok(sim.ab.lost - lost < 10, `${sim.ab.lost - lost} packets are lost`);
});

Deno.test("L6: BBR alone leaves a large queue nearly empty, and the path full", () => {
  const rate = 2500;
  const link = { delayMs: 20, rate, queueBytes: 4 * rate * 40 };
  const sim = new Simulation({ seed: 1, link, back: { delayMs: 20 } });
  const { counter, connection } = new Flow(sim, 80, "bbr");
  sim.pass(5000);
  const before = counter.bytes;
  let sum = 0;
  for (let i = 0; i < 200; i++) {
    sim.pass(100);
    sum += connection.stats.roundTripMs;
  }
  assert.ok(sum / 200 < 1.2 * 40, `${sum / 200} ms, of them 40 on the way`);
  assert.ok(counter.bytes - before > 0.93 * 20_000 * rate, `${counter.bytes - before} bytes`);
});

Deno.test("L6: 100 KB at 50 ms take no longer with BBR than with CUBIC", () => {
  const size = 100_000;
  for (const rate of [Infinity, 12_500, 2500]) {
    const [cubic = 0, bbr = 0] = CONTROLS.map((congestion) => {
      const link = { delayMs: 25, rate, queueBytes: 125_000 };
      const sim = new Simulation({ seed: 1, link, back: { delayMs: 25 } });
      const counter = new Counter();
      sim.b.listen({ onSyn: (pending) => void pending.accept(counter) });
      let left = size;
      const onWritable = (c: TcpConnection): void => {
        while (left > 0) {
          const taken = c.write(scratch, 0, Math.min(left, scratch.length));
          if (taken === 0) return;
          left -= taken;
        }
        c.end();
      };
      const handler = { onWritable };
      sim.a.connect({ to: ADDRESS_B, port: 80, handler, options: { congestion } });
      const from = sim.now;
      assert.ok(sim.run(() => counter.bytes >= size, 60_000));
      return sim.now - from;
    });
    assert.ok(bbr <= cubic + 1, `it took ${bbr} ms, with CUBIC ${cubic} ms`);
  }
});

/** Keeps packets until they are taken. */
class Wire implements PacketSink {
  readonly buffer: Uint8Array = new Uint8Array(4 << 20);
  readonly #at: number[] = [];
  readonly #length: number[] = [];
  #end = 0;
  reserve(size: number): number {
    return this.#end + size > this.buffer.length ? -1 : this.#end;
  }
  commit(length: number): void {
    this.#at.push(this.#end);
    this.#length.push(length);
    this.#end += (length + 3) & ~3;
  }
  flush(): void {}
  deliver(to: Stack, now: number): void {
    const count = this.#at.length;
    for (let i = 0; i < count; i++) {
      to.input(this.buffer, this.#at[i] ?? 0, this.#length[i] ?? 0, now);
    }
    this.#at.length = 0;
    this.#length.length = 0;
    this.#end = 0;
    to.flush(now);
    to.tick(now);
  }
}

Deno.test("L6: a loop that wakes once in a millisecond does not hold BBR back", () => {
  const [cubic = 0, bbr = 0] = CONTROLS.map((congestion) => {
    const random = new Random(1);
    const bytes = (length: number): Uint8Array =>
      new Uint8Array(length).map(() => random.below(256));
    const ab = new Wire();
    const ba = new Wire();
    const limits = { bufferBytes: 256 * 1024 };
    const common = { mtu: 1500, random: bytes, now: 0, limits, congestion };
    const a = new Stack({ ...common, address: ADDRESS_A, out: ab });
    const b = new Stack({ ...common, address: ADDRESS_B, out: ba });
    const counter = new Counter();
    b.listen({ onSyn: (pending) => void pending.accept(counter) });
    a.connect({ to: ADDRESS_B, port: 80, handler: sender });
    a.flush(0);
    // Late now and then, as on a busy machine.
    for (let now = 1; now < 2000; now += random.below(10) === 0 ? 3 : 1) {
      ab.deliver(b, now);
      ba.deliver(a, now);
    }
    return counter.bytes;
  });
  assert.ok(bbr >= 0.9 * cubic, `BBR sent ${bbr} bytes, CUBIC ${cubic}`);
});

Deno.test("L6: congestion is the stack's, or what the connection asks for, on both sides", () => {
  const sim = new Simulation({ seed: 1, congestion: "cubic" });
  const accepted: TcpConnection[] = [];
  sim.b.listen({
    onSyn: (pending) => {
      const made = pending.accept({}, accepted.length > 0 ? { congestion: "bbr" } : {});
      if (made !== undefined) accepted.push(made);
    },
  });
  const connect = (congestion?: CongestionName): CongestionName => {
    const options = congestion === undefined ? {} : { congestion };
    const made = sim.a.connect({ to: ADDRESS_B, port: 80, handler: {}, options });
    assert.ok(typeof made !== "string");
    sim.pass(100);
    return made.stats.congestion;
  };
  assert.deepEqual([connect(), connect("bbr")], ["cubic", "bbr"]);
  assert.deepEqual(accepted.map(({ stats }) => stats.congestion), ["cubic", "bbr"]);
  const other = new Simulation({ seed: 1 });
  const made = other.a.connect({ to: ADDRESS_B, port: 80, handler: {} });
  assert.ok(typeof made !== "string");
  assert.equal(made.stats.congestion, "bbr");
});
