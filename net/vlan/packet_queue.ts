/**
 * Packets that wait in memory: written as into any sink, read by whoever is on the other side.
 *
 * ```
 *   0          head                 tail                    buffer.length
 *   +-----------+--------------------+------------------------+
 *   |   free    | oldest ... newest  |          free          |
 *   +-----------+--------------------+------------------------+
 * ```
 *
 * A packet lies in one piece: what does not fit behind the newest goes to the beginning. A queue that
 * is full has no room: `reserve` says -1, and counts it. Nothing is allocated for a packet but the
 * short-lived view with which it is copied, and by {@link PacketQueue.take} the copy.
 *
 * @module
 */

import type { Watchable } from "../os/packet_socket.ts";
import type { PacketSink } from "../os/sink.ts";

/** How much a queue holds. */
export interface PacketQueueOptions {
  /** Packets. @default {1024} */
  readonly packets?: number;
  /** Bytes; also the longest packet. @default {1048576} */
  readonly bytes?: number;
}

/** A queue of packets. */
export class PacketQueue implements PacketSink, Watchable {
  /** See {@link Watchable.fd}: none. */
  readonly fd = -1;
  /** See {@link Watchable.onReadable}: called by {@link flush} when packets wait. */
  onReadable: (() => void) | undefined;
  /** See {@link PacketSink.buffer}. */
  readonly buffer: Uint8Array;
  /** Packets that found no room here, or none where they were moved to. */
  dropped = 0;
  readonly #at: Uint32Array;
  readonly #length: Uint32Array;
  #first = 0;
  #count = 0;
  #head = 0;
  #tail = 0;
  #reserved = 0;

  /** An empty queue. */
  constructor({ packets = 1024, bytes = 1 << 20 }: PacketQueueOptions = {}) {
    this.buffer = new Uint8Array(bytes);
    this.#at = new Uint32Array(packets);
    this.#length = new Uint32Array(packets);
  }

  /** See {@link Watchable.waiting}. */
  get waiting(): number {
    return this.#count;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    const at = this.#count === this.#at.length ? -1 : this.#room(size);
    if (at < 0) this.dropped++;
    return this.#reserved = at;
  }

  #room(size: number): number {
    const { length } = this.buffer;
    if (this.#count === 0) return size <= length ? 0 : -1;
    const head = this.#head;
    const tail = this.#tail;
    if (tail <= head) return tail + size <= head ? tail : -1;
    if (tail + size <= length) return tail;
    return size <= head ? 0 : -1;
  }

  /** See {@link PacketSink.commit}. An empty packet is none. */
  commit(length: number): void {
    if (length === 0) return;
    const at = this.#reserved;
    const i = (this.#first + this.#count) % this.#at.length;
    this.#at[i] = at;
    this.#length[i] = length;
    if (this.#count === 0) this.#head = at;
    this.#tail = at + length;
    this.#count++;
  }

  /** Tells whoever reads. */
  flush(): void {
    if (this.#count > 0) this.onReadable?.();
  }

  /** Writes one packet and flushes. @returns False when there is no room for it. */
  put(packet: Uint8Array): boolean {
    const at = this.reserve(packet.length);
    if (at < 0) return false;
    this.buffer.set(packet, at);
    this.commit(packet.length);
    this.flush();
    return true;
  }

  /** A copy of the oldest packet, which is taken out; undefined when there is none. */
  take(): Uint8Array | undefined {
    if (this.#count === 0) return undefined;
    const at = this.#at[this.#first] ?? 0;
    const packet = this.buffer.slice(at, at + (this.#length[this.#first] ?? 0));
    this.#forget();
    return packet;
  }

  /** Moves at most `limit` packets to `sink`, without flushing it. @returns How many were taken out. */
  drainInto(sink: PacketSink, limit: number): number {
    let moved = 0;
    for (; moved < limit && this.#count > 0; moved++) {
      const from = this.#at[this.#first] ?? 0;
      const length = this.#length[this.#first] ?? 0;
      const at = sink.reserve(length);
      if (at < 0) this.dropped++;
      else {
        sink.buffer.set(this.buffer.subarray(from, from + length), at);
        sink.commit(length);
      }
      this.#forget();
    }
    return moved;
  }

  #forget(): void {
    this.#first = (this.#first + 1) % this.#at.length;
    this.#count--;
    this.#head = this.#at[this.#first] ?? 0;
  }
}
