/**
 * How much goes through a lane, and what it costs the forwarder's processor.
 *
 * From the guest, the cable's own back pressure bounds what is under way. UDP has none, so what the
 * far end has under way is bounded as the windows of the connections inside a tunnel would, to what
 * the default receive buffer of a Linux socket holds, because two of the forwarders have no larger one.
 *
 * @module
 */

import type { Lane } from "./lane.ts";

/** Frames handed over at once. */
const CHUNK = 32;
/** Messages of the far end that may be under way. */
const WINDOW = 64;
/** Silence after which what was under way counts as lost (ms). */
const LOST_MS = 5;
const WARM_UP_MS = 400;
const RUN_MS = 1500;
/** A clock tick of proc_pid_stat(5), USER_HZ (us). */
const TICK_US = 10_000;

/** What is sent, and which way. */
export interface Load {
  /** What to call it. */
  readonly name: string;
  /** Lengths of the messages, in turn. */
  readonly lengths: readonly number[];
  /** From the guest. */
  readonly up: boolean;
  /** To the guest. */
  readonly down: boolean;
}

/** What came through. */
export interface Rates {
  /** Messages in a second, both ways together. */
  readonly packets: number;
  /** Gbit/s of messages, without headers, both ways together. */
  readonly gbits: number;
  /** Processor time of the forwarder for each message (us). */
  readonly cost: number;
  /** Share of the time in which the forwarder's processor worked for it, 0 to 1. */
  readonly busy: number;
  /** Frames that the cable took and that did not arrive. */
  readonly lost: number;
}

/** Processor time of a process so far, all threads, user and system (us). */
export function processorTime(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

/** Sends for a while and counts what arrives. */
export function measureRates(lane: Lane, load: Load): Rates {
  // Enough rounds of the pattern that a chunk may begin at each place of it.
  const rounds = Math.ceil(2 * CHUNK / load.lengths.length);
  const lengths = Array.from({ length: rounds }, () => load.lengths).flat();
  const messages = lengths.map((length) => lane.message(length));
  const frames = messages.map((message) => lane.frame(message));
  const { atNet, atGuest } = lane;
  let up = 0;
  let down = 0;
  const netBefore = atNet.packets;
  // What arrived or was given up.
  let settledDown = atGuest.packets;
  let sentDown = settledDown;
  let heard = 0;
  let taken = 0;

  const run = (ms: number): void => {
    const end = performance.now() + ms;
    for (let now = 0; (now = performance.now()) < end;) {
      if (load.up) {
        const count = lane.up(frames, up, CHUNK);
        taken += count;
        up = (up + count) % load.lengths.length;
      }
      if (load.down) {
        if (atGuest.packets > settledDown || heard === 0) {
          settledDown = atGuest.packets;
          heard = now;
        } else if (now - heard > LOST_MS) {
          sentDown = settledDown;
          heard = now;
        }
        if (sentDown - settledDown <= WINDOW - CHUNK) {
          const count = lane.down(messages, down, CHUNK);
          sentDown += count;
          down = (down + count) % load.lengths.length;
        }
      }
      lane.drain();
    }
  };

  run(WARM_UP_MS);
  const begun = performance.now();
  const packets = atNet.packets + atGuest.packets;
  const bytes = atNet.bytes + atGuest.bytes;
  const time = processorTime(lane.config.pid);
  run(RUN_MS);
  const seconds = (performance.now() - begun) / 1000;
  const arrived = atNet.packets + atGuest.packets - packets;
  const gbits = (atNet.bytes + atGuest.bytes - bytes) * 8 / seconds / 1e9;
  const worked = processorTime(lane.config.pid) - time;
  lane.settle();
  return {
    packets: arrived / seconds,
    gbits,
    cost: worked / arrived,
    busy: worked / 1e6 / seconds,
    lost: taken - (atNet.packets - netBefore),
  };
}

/** What is lost of so many messages at once, from the guest or from the far end. */
export function measureBurst(
  lane: Lane,
  length: number,
  count: number,
  from: "guest" | "net",
): number {
  const arrived = sendBurst(lane, length, count, from);
  lane.settle();
  return count - arrived();
}

/** Sends so many messages at once. @returns Says how many of them have arrived. */
export function sendBurst(
  lane: Lane,
  length: number,
  count: number,
  from: "guest" | "net",
): () => number {
  const { atNet, atGuest } = lane;
  const arrivals = from === "guest" ? atNet : atGuest;
  const payload = lane.message(length);
  const message = from === "guest" ? lane.frame(payload) : payload;
  const chunk = new Array<Uint8Array>(CHUNK).fill(message);
  const before = arrivals.packets;
  for (let sent = 0; sent < count;) {
    const next = Math.min(CHUNK, count - sent);
    // The guest's network card waits for room on the cable; a network does not wait.
    if (from === "guest") sent += lane.up(chunk, 0, next);
    else sent += Math.max(1, lane.down(chunk, 0, next));
  }
  return () => arrivals.packets - before;
}
