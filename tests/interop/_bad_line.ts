/**
 * A line that treats packets badly on their way to a sink, the same ones in each run.
 *
 * @module
 */

import type { PacketSink } from "../../net/os/sink.ts";
import type { Random } from "../doubles/random.ts";

/** What happens to packets: parts of all, 0 to 1. */
export interface BadLineOptions {
  /** Never arrive. @default {0} */
  readonly loss?: number;
  /** Arrive behind up to {@link MOST_BEHIND} that were sent after them. @default {0} */
  readonly late?: number;
  /** Arrive twice. @default {0} */
  readonly twice?: number;
}

/** Packets that overtake one that is late, at most. */
const MOST_BEHIND = 8;
const PARTS = 1_000_000;

/**
 * The line. It is for single packets with checksums: those that are handed over whole, and without,
 * cannot go through it.
 */
export class BadLine implements PacketSink {
  readonly #to: PacketSink;
  readonly #options: BadLineOptions;
  readonly #random: Random;
  #reserved = 0;
  /** The one that is late. */
  #late: Uint8Array | undefined;
  #behind = 0;

  /** A line to `to`. */
  constructor(to: PacketSink, options: BadLineOptions, random: Random) {
    this.#to = to;
    this.#options = options;
    this.#random = random;
  }

  /** See {@link PacketSink.buffer}. */
  get buffer(): Uint8Array {
    return this.#to.buffer;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    return this.#reserved = this.#to.reserve(size);
  }

  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    const { loss = 0, late = 0, twice = 0 } = this.#options;
    if (this.#happens(loss)) return;
    const at = this.#reserved;
    const packet = this.buffer.slice(at, at + length);
    if (this.#late === undefined && this.#happens(late)) {
      this.#late = packet;
      this.#behind = 1 + this.#random.below(MOST_BEHIND);
      return;
    }
    this.#to.commit(length);
    if (this.#happens(twice)) this.#send(packet);
    if (this.#late !== undefined && --this.#behind === 0) this.#release();
  }

  /** See {@link PacketSink.flush}: nothing is later than the end of a burst. */
  flush(): void {
    this.#release();
    this.#to.flush();
  }

  #release(): void {
    const packet = this.#late;
    this.#late = undefined;
    if (packet !== undefined) this.#send(packet);
  }

  #send(packet: Uint8Array): void {
    const at = this.#to.reserve(packet.length);
    if (at < 0) return;
    this.#to.buffer.set(packet, at);
    this.#to.commit(packet.length);
  }

  #happens(part: number): boolean {
    return this.#random.below(PARTS) < part * PARTS;
  }
}
