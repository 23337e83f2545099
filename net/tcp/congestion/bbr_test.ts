import assert from "node:assert/strict";
import fc from "fast-check";
import { Bbr } from "./bbr.ts";
import { ACKS, type BbrState, PHASE } from "./bbr_state.ts";
import type { AckEvent } from "./control.ts";
import { DeliveryRate } from "./delivery_rate.ts";
import { Pacing } from "./pacing.ts";
import { SegmentRing, SENT } from "../segment_ring.ts";
import { TwoSlotMax } from "./two_slot_max.ts";

const MSS = 1000;
const HEADERS = 40;

Deno.test("L6: TwoSlotMax gives the largest value of the present slot and the last one", () => {
  const slots = fc.array(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1 }), {
    minLength: 1,
  });
  fc.assert(fc.property(slots, (all) => {
    const filter = new TwoSlotMax();
    for (const [i, values] of all.entries()) {
      if (i > 0) filter.advance();
      for (const value of values) filter.add(value);
      assert.equal(filter.value, Math.max(...values, ...(all[i - 1] ?? [])));
    }
    filter.advance();
    const last = filter.value;
    // A slot in which nothing was measured forgets nothing.
    filter.advance();
    assert.equal(filter.value, last);
  }));
});

Deno.test("Delivery Rate Samples: a sample is the lower one of the rates of sending and arriving", () => {
  const ring = new SegmentRing(16);
  const rate = new DeliveryRate();
  const send = (slot: number, now: number, inFlight = slot * MSS): void => {
    rate.sending(inFlight, now);
    ring.end[slot] = (slot + 1) * MSS;
    ring.sentAt[slot] = now;
    rate.stamp(ring, slot, (slot + 1) * MSS);
  };
  const arrive = (slot: number, now: number): void => {
    rate.beginAck();
    rate.arrived(slot, ring.sentAt[slot] ?? 0, ring.end[slot] ?? 0, MSS);
    rate.take(ring, now);
    rate.generate(50);
  };
  for (let i = 0; i < 4; i++) send(i, 100 + 10 * i);
  arrive(0, 150);
  assert.deepEqual([rate.rate, rate.sampleDelivered, rate.inFlight], [MSS / 50, MSS, MSS]);
  // The others arrive all at once: it took 80 ms since sending began, not a moment.
  arrive(1, 180);
  arrive(2, 180);
  arrive(3, 180);
  assert.equal(rate.rate, 4 * MSS / 80);
  // "Upon receiving an ACK": what would have taken less than the least round trip is not believed.
  send(4, 200, 0);
  arrive(4, 210);
  assert.equal(rate.rate, 0);
});

Deno.test("Tracking application-limited phases: samples are marked until the gap has gone by", () => {
  const ring = new SegmentRing(16);
  const rate = new DeliveryRate();
  const flow = (slot: number): boolean => {
    rate.sending(0, slot * 100);
    ring.flags[slot] = rate.appLimited > 0 ? SENT.ownerLimited : 0;
    ring.sentAt[slot] = slot * 100;
    rate.stamp(ring, slot, MSS);
    rate.beginAck();
    rate.arrived(slot, slot * 100, slot, MSS);
    rate.take(ring, slot * 100 + 50);
    rate.generate(50);
    return rate.isAppLimited;
  };
  assert.equal(flow(1), false);
  rate.markAppLimited(MSS);
  assert.equal(flow(2), true);
  assert.equal(flow(3), true);
  assert.equal(flow(4), false);
});

/** A path of one rate and round trip, seen by BBR alone: one acknowledgment for each segment. */
class Path {
  readonly rate = new DeliveryRate();
  readonly pacing = new Pacing();
  readonly bbr: Bbr = new Bbr(this.rate, this.pacing);
  readonly b: BbrState = this.bbr.state;
  /** States in the order in which they were entered. */
  readonly phases: number[] = [PHASE.startup];
  now = 0;
  /** Every so many segments are lost; 0: none. */
  lossEvery = 0;
  recovers = false;
  selective = true;
  readonly #ring = new SegmentRing(1024);
  readonly #arrivesAt: number[] = [];
  readonly #slots: number[] = [];
  #sent = 0;
  #sendAt = 0;
  #inFlight = 0;
  #freeAt = 0;

  constructor(readonly perMs: number, readonly roundTrip: number, readonly queue = Infinity) {
    this.bbr.begin(MSS, roundTrip, 1, 0);
  }

  /** Bytes on their way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Lets `ms` pass; with `limit`, the owner sends only so much in a ms. */
  pass(ms: number, limit = Infinity): void {
    const end = this.now + ms;
    while (this.now < end) {
      this.now += 0.25;
      while ((this.#arrivesAt[0] ?? Infinity) <= this.now) this.#arrive();
      const window = Math.min(this.bbr.window, limit * this.roundTrip);
      while (this.#inFlight + MSS <= window && this.#sendAt <= this.now) this.#send();
      if (this.#inFlight + MSS <= this.bbr.window && limit < Infinity) {
        this.rate.markAppLimited(this.#inFlight);
      }
    }
  }

  #send(): void {
    if (this.#inFlight === 0) this.bbr.resume(false, this.now);
    this.rate.sending(this.#inFlight, this.now);
    const slot = this.#sent++ % 1024;
    this.#inFlight += MSS;
    this.#ring.end[slot] = this.#sent;
    this.#ring.sentAt[slot] = this.now;
    this.#ring.flags[slot] = this.rate.appLimited > 0 ? SENT.ownerLimited : 0;
    this.rate.stamp(this.#ring, slot, this.#inFlight);
    this.pacing.sent(MSS + HEADERS, this.now);
    this.#sendAt = this.pacing.nextAt(this.now);
    const waits = Math.max(0, this.#freeAt - this.now) * this.perMs;
    const full = waits > this.queue;
    if (!full) this.#freeAt = Math.max(this.#freeAt, this.now) + MSS / this.perMs;
    const lost = full || (this.lossEvery > 0 && this.#sent % this.lossEvery === 0);
    this.#slots.push(lost ? -1 - slot : slot);
    this.#arrivesAt.push(Math.max(this.#freeAt, this.now) + this.roundTrip);
  }

  #arrive(): void {
    this.#arrivesAt.shift();
    const slot = this.#slots.shift() ?? 0;
    this.#inFlight -= MSS;
    this.rate.beginAck();
    if (slot < 0) {
      this.#lose(-1 - slot);
      return;
    }
    const sentAt = this.#ring.sentAt[slot] ?? 0;
    this.rate.arrived(slot, sentAt, this.#ring.end[slot] ?? 0, MSS);
    this.rate.take(this.#ring, this.now);
    const limited = this.#inFlight + 2 * MSS > this.bbr.window;
    const ack: AckEvent = {
      now: this.now,
      una: 0,
      next: 0,
      newlyDelivered: MSS,
      duplicates: 0,
      pipe: this.#inFlight,
      flightBefore: this.#inFlight + MSS,
      roundTrip: this.now - sentAt,
      smoothed: this.roundTrip,
      progress: true,
      newlyLost: false,
      begun: false,
      recovers: this.recovers,
      restarts: false,
      limited,
      windowLimited: limited,
      selective: this.selective,
    };
    this.bbr.acknowledged(ack);
    if (this.phases.at(-1) !== this.b.phase) this.phases.push(this.b.phase);
  }

  #lose(slot: number): void {
    this.rate.lost += MSS;
    const inFlight = this.#ring.snapshots[5 * slot + 4] ?? 0;
    const since = this.rate.lost - (this.#ring.snapshots[5 * slot + 3] ?? 0);
    const limited = ((this.#ring.flags[slot] ?? 0) & SENT.ownerLimited) !== 0;
    this.bbr.segmentLost(MSS, inFlight, since, limited, true);
    this.recovers = true;
    if (this.phases.at(-1) !== this.b.phase) this.phases.push(this.b.phase);
  }

  /** Lets time pass until it is in this state. */
  until(phase: number, most = 20_000): void {
    for (const end = this.now + most; this.b.phase !== phase;) {
      assert.ok(this.now < end, `state ${phase} is not entered, but ${this.b.phase}`);
      this.pass(0.25);
    }
  }
}

function near(value: number, want: number, part: number): void {
  assert.ok(Math.abs(value - want) <= part * want, `${value}, want ${want}`);
}

Deno.test("Exiting STARTUP on Bandwidth Plateau: the rate is known, then the queue is drained", () => {
  const path = new Path(1000, 50);
  path.pass(49);
  assert.equal(path.b.phase, PHASE.startup);
  path.until(PHASE.drain);
  assert.ok(path.b.fullBwReached);
  near(path.b.maxBw.value, 1000, 0.02);
  assert.equal(path.b.pacingGain, 0.5);
  // "Exiting DRAIN Based on Inflight": DOWN has nothing left to do.
  path.until(PHASE.cruise);
  assert.ok(path.inFlight <= 1.05 * 50_000, `${path.inFlight} bytes are on their way`);
});

Deno.test("Exiting Startup Based on Packet Loss: too many gaps in a round trip end it", () => {
  const path = new Path(1000, 50, 1_000_000);
  path.pass(160);
  path.lossEvery = 5;
  // An owner who sends little makes no plateau: what ends Startup is the loss.
  path.pass(400, 900);
  assert.ok(path.b.fullBwReached);
  assert.deepEqual(path.phases.slice(0, 2), [PHASE.startup, PHASE.drain]);
  assert.ok(path.b.inflightLongterm < Infinity);
  const spared = new Path(1000, 50, 1_000_000);
  spared.pass(160);
  spared.lossEvery = 100;
  spared.pass(400, 900);
  assert.equal(spared.b.phase, PHASE.startup);
});

Deno.test("ProbeBW: DOWN, CRUISE, REFILL and UP follow each other, and the rate stays known", () => {
  const path = new Path(1000, 50);
  path.until(PHASE.cruise);
  path.until(PHASE.refill);
  path.until(PHASE.up);
  path.until(PHASE.down);
  path.until(PHASE.cruise);
  assert.deepEqual(path.phases.slice(2), [
    PHASE.cruise,
    PHASE.refill,
    PHASE.up,
    PHASE.down,
    PHASE.cruise,
  ]);
  near(path.b.bw, 1000, 0.02);
  near(path.pacing.rate, 1000 * 0.99 * 1.04, 0.03);
  // "Time Scale for Bandwidth Probing": every 2 to 3 s, or sooner for Reno's sake.
  const from = path.now;
  path.until(PHASE.refill);
  assert.ok(path.now - from <= 3000);
});

Deno.test("ProbeBW_UP: more room is found when there is more", () => {
  const path = new Path(1000, 50);
  path.until(PHASE.cruise);
  const faster = new Path(1000, 50);
  faster.until(PHASE.cruise);
  Object.assign(faster, { perMs: 2000 });
  path.pass(9000);
  faster.pass(9000);
  near(path.b.maxBw.value, 1000, 0.03);
  assert.ok(faster.b.maxBw.value > 1900, `${faster.b.maxBw.value}`);
});

Deno.test("Probing for Bandwidth In ProbeBW: a queue that overflows bounds what is in flight", () => {
  const path = new Path(1000, 50, 10_000);
  path.pass(9000);
  const { inflightLongterm } = path.b;
  assert.ok(inflightLongterm > 45_000 && inflightLongterm < 70_000, `${inflightLongterm}`);
  // Losses that are as rare as the threshold allows do not.
  const spared = new Path(1000, 50);
  spared.until(PHASE.cruise);
  spared.lossEvery = 200;
  spared.pass(9000);
  assert.equal(spared.b.inflightLongterm, Infinity);
  near(spared.b.maxBw.value, 1000, 0.05);
});

Deno.test("When not Probing for Bandwidth: losses lower the short-term bounds until the next probe", () => {
  const path = new Path(1000, 50);
  path.until(PHASE.cruise);
  assert.equal(path.b.bwShortterm, Infinity);
  path.lossEvery = 20;
  path.pass(250);
  assert.equal(path.b.phase, PHASE.cruise);
  const { bwShortterm, inflightShortterm, bw } = path.b;
  assert.ok(bwShortterm < 1000 && bwShortterm > 900, `${bwShortterm}`);
  assert.equal(bw, bwShortterm);
  assert.ok(inflightShortterm < Infinity);
  path.lossEvery = 0;
  path.until(PHASE.refill);
  assert.deepEqual([path.b.bwShortterm, path.b.inflightShortterm], [Infinity, Infinity]);
});

Deno.test("ProbeRTT: after five seconds without a lower round trip, half of the pipe for 200 ms", () => {
  const path = new Path(1000, 50);
  path.until(PHASE.cruise);
  path.until(PHASE.probeRtt);
  // The first of the samples is that of the handshake.
  assert.ok(path.now >= 5000 && path.now < 5100, `it began at ${path.now}`);
  const from = path.now;
  path.pass(150);
  near(path.inFlight, 25_000, 0.1);
  path.until(PHASE.cruise);
  const took = path.now - from;
  assert.ok(took >= 200 && took < 400, `it took ${took} ms`);
  near(path.b.minRtt, 50, 0.05);
  assert.ok(path.b.window > 45_000, `the window is ${path.b.window}`);
});

Deno.test("ProbeRTT Design Rationale: every five seconds, unless a lower round trip is seen", () => {
  const path = new Path(1000, 50);
  for (let i = 0; i < 4; i++) {
    path.until(PHASE.cruise);
    const from = path.now;
    path.until(PHASE.probeRtt);
    if (i === 0) continue;
    const took = path.now - from;
    assert.ok(took >= 5000 && took < 5100, `it began after ${took} ms`);
  }
  path.until(PHASE.cruise);
  path.pass(3000);
  Object.assign(path, { roundTrip: 48 });
  const from = path.now;
  path.until(PHASE.probeRtt);
  const took = path.now - from;
  assert.ok(took >= 5000 && took < 6000, `it began after ${took} ms`);
});

Deno.test("ProbeRTT Overview: a queue when it begins does not change what the last one found", () => {
  const path = new Path(1000, 50);
  // The handshake has found 50 ms, which a segment does not reach.
  for (let i = 0; i < 2; i++) {
    path.until(PHASE.probeRtt);
    path.until(PHASE.cruise);
  }
  const { minRtt } = path.b;
  near(minRtt, 50, 0.03);
  // A queue that is not its own.
  Object.assign(path, { roundTrip: 80 });
  path.until(PHASE.probeRtt);
  assert.ok(path.b.probeRttMinDelay >= 80, `${path.b.probeRttMinDelay} ms`);
  assert.equal(path.b.minRtt, minRtt);
  path.pass(200);
  near(path.inFlight, 25_000, 0.1);
  path.until(PHASE.cruise);
  assert.equal(path.b.minRtt, minRtt);
  // BBR.MinRTTFilterLen is over.
  path.until(PHASE.probeRtt);
  near(path.b.minRtt, 80, 0.03);
});

Deno.test("Restarting From Idle: sending goes on at the known rate, without ProbeRTT", () => {
  const path = new Path(1000, 50);
  path.until(PHASE.cruise);
  path.pass(200, 0);
  assert.equal(path.inFlight, 0);
  path.now += 15_000;
  path.pass(2);
  near(path.pacing.rate, 1000 * 0.99 * 1.04, 0.03);
  path.pass(200);
  assert.ok(!path.phases.includes(PHASE.probeRtt));
  near(path.b.bw, 1000, 0.02);
});

Deno.test("Updating the Model Upon Detecting a Spurious Loss Recovery: all is as before", () => {
  const path = new Path(1000, 50);
  path.until(PHASE.up);
  const { window } = path.bbr;
  for (let i = 0; i < 3; i++) path.bbr.segmentLost(MSS, 20_000, (i + 1) * MSS, false, true);
  path.bbr.recoveryBegun();
  assert.equal(path.b.phase, PHASE.down);
  assert.ok(path.b.inflightLongterm < Infinity);
  path.bbr.undo(path.now);
  assert.equal(path.b.phase, PHASE.refill);
  assert.equal(path.b.inflightLongterm, Infinity);
  assert.ok(path.bbr.window >= window);
  assert.equal(path.b.ackPhase, ACKS.refilling);
});

Deno.test("Modulating cwnd in Loss Recovery: a timeout leaves one segment, and its end restores", () => {
  const path = new Path(1000, 50);
  path.until(PHASE.cruise);
  const { window } = path.bbr;
  path.bbr.timedOut();
  path.bbr.restart(0);
  assert.equal(path.bbr.window, MSS);
  path.bbr.recovered();
  assert.equal(path.bbr.window, window);
});
