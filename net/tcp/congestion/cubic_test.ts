import assert from "node:assert/strict";
import type { AckEvent } from "./control.ts";
import { CubicControl } from "./cubic_control.ts";
import { Pacing } from "./pacing.ts";

const MSS = 1000;
const ROUND_TRIP = 50;

/** CUBIC alone, which lost something once: one acknowledgment for each round trip. */
class Flow {
  readonly cubic: CubicControl = new CubicControl(new Pacing());
  now = 0;
  constructor() {
    this.cubic.begin(MSS, ROUND_TRIP);
    for (let i = 0; i < 4; i++) this.round(true);
    this.cubic.recoveryBegun(this.cubic.window);
    this.cubic.recovered(true);
    for (let i = 0; i < 20; i++) this.round(true);
  }

  /** A round trip passes, in which the window held the sender back or did not. */
  round(limited: boolean): void {
    this.now += ROUND_TRIP;
    const { window } = this.cubic;
    const ack: AckEvent = {
      now: this.now,
      una: 0,
      next: 0,
      newlyDelivered: limited ? window : MSS,
      duplicates: 0,
      pipe: 0,
      flightBefore: limited ? window : MSS,
      roundTrip: ROUND_TRIP,
      smoothed: ROUND_TRIP,
      progress: true,
      newlyLost: false,
      begun: false,
      recovers: false,
      restarts: false,
      limited,
      windowLimited: limited,
      selective: true,
    };
    this.cubic.acknowledged(ack);
  }

  /** The window after each of some round trips, before each of which nothing is sent for a while. */
  grow(silence = 0): number[] {
    return Array.from({ length: 100 }, () => {
      this.now += silence;
      if (silence > 0) this.cubic.resume(false, this.now);
      this.round(true);
      return this.cubic.window;
    });
  }
}

Deno.test("RFC 9438 section 4.2: time in which the owner sent little is none of the curve's", () => {
  const want = new Flow().grow();
  const little = new Flow();
  const { window } = little.cubic;
  for (let i = 0; i < 600; i++) little.round(false);
  assert.equal(little.cubic.window, window);
  assert.deepEqual(little.grow(), want);
  assert.ok((want.at(-1) ?? 0) > 1.3 * window, `the window is ${want.at(-1)}, was ${window}`);
});

Deno.test("RFC 9438 section 4.2: nor is a silence that is shorter than a timeout", () => {
  assert.deepEqual(new Flow().grow(150), new Flow().grow());
});
