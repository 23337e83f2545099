/**
 * Two stacks with a bad link between them, in virtual time: the same seed gives the same run.
 *
 * @module
 */

import { Random } from "../../tests/doubles/random.ts";
import type { PacketSink } from "../os/sink.ts";
import { readU32, writeU16 } from "../wire/bytes.ts";
import { checksum, pseudoHeaderSum } from "../wire/checksum.ts";
import { TCP_FLAG } from "../wire/tcp.ts";
import { TCP_OPTION } from "../wire/tcp_options.ts";
import type { CongestionName } from "./congestion/control.ts";
import type { Limits } from "./limits.ts";
import { Stack } from "./stack.ts";

/** What a link does to packets, in one direction. */
export interface LinkOptions {
  /** Time on the way, in ms. @default {5} */
  readonly delayMs?: number;
  /** Up to so much more, at random: packets overtake each other. @default {0} */
  readonly jitterMs?: number;
  /** Part of the packets that is lost, 0 to 1. @default {0} */
  readonly loss?: number;
  /** Part that arrives twice. @default {0} */
  readonly duplicate?: number;
  /** Part in which one byte is changed. @default {0} */
  readonly corrupt?: number;
  /** Bytes per ms; Infinity: no limit. @default {Infinity} */
  readonly rate?: number;
  /** Bytes that wait for the rate; more are lost. @default {Infinity} */
  readonly queueBytes?: number;
  /** Packets that the sink takes in one batch; then it is full. @default {Infinity} */
  readonly batch?: number;
  /** Sees every packet that is sent; false: it is lost. */
  readonly filter?: (packet: Uint8Array, now: number) => boolean;
}

/** Steps at the same time after which something is wrong: a timer that is due for ever. */
const MAX_IDLE_STEPS = 1000;

interface Delivery {
  readonly at: number;
  readonly packet: Uint8Array;
}

/** One direction of a link: a sink that delivers later. */
export class Link implements PacketSink {
  /** See {@link PacketSink.buffer}. */
  readonly buffer: Uint8Array = new Uint8Array(65536 + 8);
  /** What it does now; may be changed at any time. */
  options: LinkOptions;
  /** Packets sent. */
  sent = 0;
  /** Packets lost. */
  lost = 0;
  /** The time. */
  now = 0;
  readonly #random: Random;
  readonly #queue: Delivery[] = [];
  #first = 0;
  #freeAt = 0;
  #batch = 0;

  /** A link that rolls `random`. */
  constructor(random: Random, options: LinkOptions) {
    this.#random = random;
    this.options = options;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    if (this.#batch >= (this.options.batch ?? Infinity)) return -1;
    // Dirty, so that a field that was forgotten shows.
    this.buffer.fill(0xa5, 4, 4 + Math.min(size, 128));
    return 4;
  }

  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    const { options } = this;
    this.sent++;
    this.#batch++;
    const packet = this.buffer.slice(4, 4 + length);
    if (options.filter?.(packet, this.now) === false || this.#roll(options.loss)) {
      this.lost++;
      return;
    }
    this.#deliver(packet);
    if (this.#roll(options.duplicate)) this.#deliver(packet.slice());
  }

  /** See {@link PacketSink.flush}. */
  flush(): void {
    this.#batch = 0;
  }

  /** Puts a packet on the link that nobody sent. */
  inject(packet: Uint8Array): void {
    this.#deliver(packet);
  }

  /** When the next packet arrives, in ms; Infinity: none is on its way. */
  get nextAt(): number {
    return this.#queue[this.#first]?.at ?? Infinity;
  }

  /** Takes a packet that has arrived. */
  take(now: number): Uint8Array | undefined {
    const next = this.#queue[this.#first];
    if (next === undefined || next.at > now) return undefined;
    this.#first++;
    if (this.#first > 4096) {
      this.#queue.splice(0, this.#first);
      this.#first = 0;
    }
    return next.packet;
  }

  #roll(part: number | undefined): boolean {
    if (part === undefined || part === 0) return false;
    return this.#random.below(1_000_000) < part * 1_000_000;
  }

  #deliver(packet: Uint8Array): void {
    const { options } = this;
    const rate = options.rate ?? Infinity;
    let at = this.now;
    if (rate !== Infinity) {
      const waiting = Math.max(0, this.#freeAt - this.now) * rate;
      if (waiting > (options.queueBytes ?? Infinity)) {
        this.lost++;
        return;
      }
      this.#freeAt = Math.max(this.#freeAt, this.now) + packet.length / rate;
      at = this.#freeAt;
    }
    if (this.#roll(options.corrupt)) {
      const i = this.#random.below(packet.length);
      packet[i] = (packet[i] ?? 0) ^ (1 + this.#random.below(255));
    }
    at += options.delayMs ?? 5;
    const jitter = options.jitterMs ?? 0;
    if (jitter > 0) at += this.#random.below(Math.round(jitter * 1000)) / 1000;
    let i = this.#queue.length;
    this.#queue.push({ at, packet });
    for (; i > this.#first; i--) {
      const before = this.#queue[i - 1];
      if (before === undefined || before.at <= at) break;
      this.#queue[i] = before;
    }
    this.#queue[i] = { at, packet };
  }
}

/** How a simulation is set up. */
export interface SimulationOptions {
  /** Makes the run. */
  readonly seed: number;
  /** Both links, unless `back` is given. */
  readonly link?: LinkOptions;
  /** The link from the second stack to the first. */
  readonly back?: LinkOptions;
  /** Largest packet, in bytes. @default {1500} */
  readonly mtu?: number;
  /** Limits of both stacks. */
  readonly limits?: Partial<Limits>;
  /** Congestion control of both stacks. @default {theirs} */
  readonly congestion?: CongestionName;
  /** Where the clock begins, in ms. @default {1000000} */
  readonly startMs?: number;
}

/** Address of the first stack: 10.0.0.1. */
export const ADDRESS_A = 0x0a000001;
/** Address of the second stack: 10.0.0.2. */
export const ADDRESS_B = 0x0a000002;

/** Two stacks, a link in each direction, and a clock. */
export class Simulation {
  /** The first stack. */
  readonly a: Stack;
  /** The second stack. */
  readonly b: Stack;
  /** From the first to the second. */
  readonly ab: Link;
  /** From the second to the first. */
  readonly ba: Link;
  /** What is left of the seed's numbers is for the test. */
  readonly random: Random;
  /** The time, in ms. */
  now: number;
  #dueA = 0;
  #dueB = 0;
  #idleSteps = 0;

  /** Nothing has happened yet. */
  constructor(options: SimulationOptions) {
    const random = new Random(options.seed);
    this.random = random;
    this.now = options.startMs ?? 1_000_000;
    this.ab = new Link(new Random(random.below(2 ** 32)), options.link ?? {});
    this.ba = new Link(new Random(random.below(2 ** 32)), options.back ?? options.link ?? {});
    const bytes = (length: number): Uint8Array =>
      new Uint8Array(length).map(() => random.below(256));
    const common = {
      mtu: options.mtu ?? 1500,
      random: bytes,
      now: this.now,
      limits: options.limits ?? {},
      ...(options.congestion === undefined ? {} : { congestion: options.congestion }),
    };
    this.a = new Stack({ ...common, address: ADDRESS_A, out: this.ab });
    this.b = new Stack({ ...common, address: ADDRESS_B, out: this.ba });
  }

  /** When something happens next, in ms; Infinity: never. */
  get nextAt(): number {
    return Math.min(this.ab.nextAt, this.ba.nextAt, this.#dueA, this.#dueB);
  }

  /** Goes to the next event and lets it happen; false when nothing will ever happen. */
  step(): boolean {
    const next = this.nextAt;
    if (next === Infinity) return false;
    this.#idleSteps = next > this.now ? 0 : this.#idleSteps + 1;
    if (this.#idleSteps > MAX_IDLE_STEPS) throw new Error("Cannot go on: time stands still");
    this.now = Math.max(this.now, next);
    this.settle();
    return true;
  }

  /** Delivers what has arrived and lets both stacks work, at the present time. */
  settle(): void {
    const { now } = this;
    this.ab.now = now;
    this.ba.now = now;
    for (let p = this.ba.take(now); p !== undefined; p = this.ba.take(now)) {
      this.a.input(p, 0, p.length, now);
    }
    this.a.flush(now);
    this.#dueA = this.a.tick(now);
    for (let p = this.ab.take(now); p !== undefined; p = this.ab.take(now)) {
      this.b.input(p, 0, p.length, now);
    }
    this.b.flush(now);
    this.#dueB = this.b.tick(now);
    // What B did may be due at A at once.
    this.#dueA = Math.min(this.#dueA, this.a.tick(now));
  }

  /** Runs until `done`, at most until `limitMs` later; whether it was done. */
  run(done: () => boolean, limitMs: number): boolean {
    const end = this.now + limitMs;
    this.settle();
    while (!done()) {
      if (this.nextAt > end || !this.step()) return done();
    }
    return true;
  }

  /** Lets `ms` pass. */
  pass(ms: number): void {
    const end = this.now + ms;
    this.settle();
    while (this.nextAt <= end) this.step();
    this.now = end;
    this.settle();
  }
}

/** A filter that takes options of these kinds out of SYNs, so that they are not agreed on. */
export function withoutOptions(kinds: readonly number[]): (packet: Uint8Array) => boolean {
  return (packet) => {
    if (kinds.length === 0 || ((packet[33] ?? 0) & TCP_FLAG.syn) === 0) return true;
    const end = 20 + ((packet[32] ?? 0) >>> 4) * 4;
    for (let at = 40; at < end;) {
      const kind = packet[at] ?? 0;
      const length = kind <= 1 ? 1 : packet[at + 1] ?? 1;
      if (kinds.includes(kind)) packet.fill(TCP_OPTION.nop, at, at + length);
      at += length;
    }
    packet.set([0, 0], 36);
    const rest = packet.length - 20;
    const pseudo = pseudoHeaderSum(readU32(packet, 12), readU32(packet, 16), 6, rest);
    writeU16(packet, 36, checksum(packet, 20, rest, pseudo));
    return true;
  };
}
