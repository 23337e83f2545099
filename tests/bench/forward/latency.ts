/**
 * How long a message takes through a lane and back: the guest sends a probe, the far end answers.
 *
 * The generator never sleeps, so each round trip holds two ways through the forwarder, with whatever
 * it takes it to wake up, and nothing of the generator's own but two system calls on each end.
 *
 * @module
 */

import { percentile } from "../statistics.ts";
import type { Lane } from "./lane.ts";
import { IMIX, PROBE_NUMBER, SMALL } from "./loads.ts";

const PROBES = 5000;
const EVERY_MS = 0.5;
const WARM_UP = 500;
/** Frames of the other traffic that are handed over at once, at the most. */
const CHUNK = 32;
/** Rounds of the mix that a chunk may begin in and reach into. */
const ROUNDS = 1 + Math.ceil(CHUNK / IMIX.length);
/** How long the last answers are waited for (ms). */
const LAST_MS = 100;

/** Round trips (us). */
export interface Latency {
  /** Half took no longer. */
  readonly p50: number;
  /** 90 of 100 took no longer. */
  readonly p90: number;
  /** 99 of 100 took no longer. */
  readonly p99: number;
  /** 999 of 1000 took no longer. */
  readonly p999: number;
  /** Probes that were not answered. */
  readonly lost: number;
}

/**
 * Times probes, one each half millisecond.
 *
 * @param background Messages in a second that the guest sends besides, a mix of lengths.
 */
export function measureLatency(lane: Lane, background: number): Latency {
  const answer = lane.message(SMALL, 0);
  const answerView = new DataView(answer.buffer);
  const frames = new Array<readonly number[]>(ROUNDS).fill(IMIX).flat()
    .map((length) => lane.frame(lane.message(length)));
  const total = WARM_UP + PROBES;
  const probes = Array.from({ length: total }, (_, i) => lane.frame(lane.message(SMALL, i)));
  const sentAt = new Float64Array(total);
  const took = new Float64Array(total).fill(Infinity);
  let answered = 0;
  lane.atNet.onProbe = (number): void => {
    answerView.setUint32(PROBE_NUMBER, number, true);
    lane.down([answer], 0, 1);
  };
  lane.atGuest.onProbe = (number): void => {
    if (took[number] !== Infinity) return;
    took[number] = (performance.now() - (sentAt[number] ?? NaN)) * 1000;
    answered++;
  };
  const begun = performance.now();
  const end = begun + total * EVERY_MS + LAST_MS;
  let next = 0;
  let sent = 0;
  let place = 0;
  for (let now = begun; now < end && answered < total; now = performance.now()) {
    if (next < total && now >= begun + next * EVERY_MS) {
      sentAt[next] = performance.now();
      next += lane.up(probes, next, 1);
    }
    // What the cable does not take now is not made up for: `sent` keeps to the clock.
    const due = Math.min(CHUNK, Math.floor((now - begun) * background / 1000 - sent));
    if (due > 0) {
      const count = lane.up(frames, place, due);
      sent = Math.max(sent + count, (now - begun) * background / 1000 - CHUNK);
      place = (place + count) % IMIX.length;
    }
    lane.drain();
  }
  lane.atNet.onProbe = undefined;
  lane.atGuest.onProbe = undefined;
  lane.settle();
  const times = took.slice(WARM_UP).sort();
  return {
    p50: percentile(times, 0.5),
    p90: percentile(times, 0.9),
    p99: percentile(times, 0.99),
    p999: percentile(times, 0.999),
    lost: total - answered,
  };
}
