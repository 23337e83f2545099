/**
 * One direction of a line that is slow, long and bad: packets wait for their turn, for the time on the
 * way, and some are lost at random. Each packet counts by itself, as it would on a wire.
 *
 * @module
 */

import type { PacketSink } from "../../net/os/sink.ts";
import { Random } from "../doubles/random.ts";

/** Packets on the way; one more is lost, and counted as one that found the queue full. */
const MOST = 1 << 15;
/** Bytes for each of them. */
const SLOT = 2048;

/** What the line does. */
export interface LineOptions {
  /** Bytes per ms. */
  readonly rate: number;
  /** Bytes that wait for their turn; more are lost. */
  readonly queueBytes: number;
  /** Time on the way, in ms. */
  readonly delayMs: number;
  /** Part of the packets that is lost, 0 to 1. */
  readonly loss: number;
  /** Which ones. */
  readonly seed: number;
}

/** Takes packets and gives them out later, in their order. */
export class LossyLine implements PacketSink {
  /** See {@link PacketSink.buffer}. */
  readonly buffer: Uint8Array = new Uint8Array(MOST * SLOT);
  /** Packets taken. */
  packets = 0;
  /** Packets lost at random. */
  lost = 0;
  /** Packets that found the queue full. */
  overflowed = 0;
  /** The time of the batch, in ms. */
  now = 0;
  readonly #at = new Float64Array(MOST);
  readonly #length = new Int32Array(MOST);
  #first = 0;
  #count = 0;
  #freeAt = 0;
  #options: LineOptions | undefined;
  #random = new Random(0);

  /** Forgets everything that is on the way and goes on like this. */
  begin(options: LineOptions): void {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#count = 0;
    this.#freeAt = 0;
    this.packets = 0;
    this.lost = 0;
    this.overflowed = 0;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    if (this.#count < MOST && size <= SLOT) return ((this.#first + this.#count) % MOST) * SLOT;
    this.overflowed++;
    return -1;
  }

  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    const options = this.#options;
    if (options === undefined) return;
    this.packets++;
    const begins = Math.max(this.#freeAt, this.now);
    if ((begins - this.now) * options.rate + length > options.queueBytes) {
      this.overflowed++;
      return;
    }
    this.#freeAt = begins + length / options.rate;
    // It is lost behind the queue, having taken its turn.
    if (this.#random.below(1_000_000) < options.loss * 1_000_000) {
      this.lost++;
      return;
    }
    const slot = (this.#first + this.#count++) % MOST;
    this.#at[slot] = this.#freeAt + options.delayMs;
    this.#length[slot] = length;
  }

  /** See {@link PacketSink.flush}. */
  flush(): void {}

  /** When the next packet arrives, in ms; Infinity: none is on its way. */
  get nextAt(): number {
    return this.#count === 0 ? Infinity : this.#at[this.#first] ?? 0;
  }

  /** Hands over what has arrived. */
  deliver(to: PacketSink, now: number): void {
    if (this.nextAt > now) return;
    while (this.nextAt <= now) {
      const length = this.#length[this.#first] ?? 0;
      const from = this.#first * SLOT;
      const at = to.reserve(length);
      if (at >= 0) {
        to.buffer.set(this.buffer.subarray(from, from + length), at);
        to.commit(length);
      }
      this.#first = (this.#first + 1) % MOST;
      this.#count--;
    }
    to.flush();
  }
}
