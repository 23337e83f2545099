/**
 * Sinks that keep what they are given in memory. Their buffer is dirty, 0xa5 in every byte, so
 * that a field which a producer forgets to write shows; a packet is given out as a copy. What a
 * real sink would let pass and must not happen, they refuse: more committed than reserved, bytes
 * written outside of the reserved range.
 *
 * @module
 */

import type { Endpoint } from "../../net/os/endpoint.ts";
import type { DatagramSink, PacketSink } from "../../net/os/sink.ts";

const DIRT = 0xa5;

/** How a memory sink behaves. */
export interface MemorySinkOptions {
  /** Packets it holds until they are taken; then it is full. @default {1024} */
  readonly capacity?: number;
  /** Bytes in front of a packet, so that its offset is neither 0 nor aligned. @default {3} */
  readonly margin?: number;
  /** Largest packet, in bytes. @default {2048} */
  readonly slot?: number;
}

/** What both kinds of sink do; not a sink by itself, because `commit` differs. */
export class MemorySink<T> {
  /** Where the reserved packet is written. */
  readonly buffer: Uint8Array;
  /** How often it was flushed. */
  flushes = 0;
  readonly #capacity: number;
  readonly #margin: number;
  #kept: T[] = [];
  #reserved = -1;

  /** An empty sink. */
  constructor(options: MemorySinkOptions = {}) {
    this.#capacity = options.capacity ?? 1024;
    this.#margin = options.margin ?? 3;
    this.buffer = new Uint8Array(this.#margin + (options.slot ?? 2048));
  }

  /** Makes room for one packet of at most `size` bytes; -1 when the sink is full. */
  reserve(size: number): number {
    if (this.#kept.length >= this.#capacity || this.#margin + size > this.buffer.length) return -1;
    this.buffer.fill(DIRT);
    this.#reserved = size;
    return this.#margin;
  }

  /** Counts the flush. */
  flush(): void {
    this.flushes++;
  }

  /** Gives out what is held, in order, and forgets it. */
  take(): T[] {
    const kept = this.#kept;
    this.#kept = [];
    return kept;
  }

  /** A copy of the packet written. */
  protected written(length: number): Uint8Array {
    if (length > this.#reserved) {
      throw new RangeError(`Cannot commit ${length} bytes: ${this.#reserved} were reserved`);
    }
    const end = this.#margin + this.#reserved;
    const outside = this.buffer.findIndex((b, i) => b !== DIRT && (i < this.#margin || i >= end));
    if (outside >= 0) {
      throw new RangeError(`Cannot commit: byte ${outside} was written and not reserved`);
    }
    this.#reserved = -1;
    return this.buffer.slice(this.#margin, this.#margin + length);
  }

  /** Holds one packet until it is taken. */
  protected keep(packet: T): void {
    this.#kept.push(packet);
  }
}

/** A {@link PacketSink} that keeps its packets. */
export class MemoryPacketSink extends MemorySink<Uint8Array> implements PacketSink {
  /**
   * Keeps the packet.
   *
   * @throws {RangeError} when more was committed than reserved, or written outside of it.
   */
  commit(length: number): void {
    this.keep(this.written(length));
  }
}

/** One datagram that a {@link MemoryDatagramSink} holds. */
export interface KeptDatagram {
  /** A copy of its payload. */
  readonly payload: Uint8Array;
  /** Where it was to go. */
  readonly to: Endpoint;
}

/** A {@link DatagramSink} that keeps its datagrams. */
export class MemoryDatagramSink extends MemorySink<KeptDatagram> implements DatagramSink {
  /**
   * Keeps the datagram.
   *
   * @throws {RangeError} when more was committed than reserved, or written outside of it.
   */
  commit(length: number, to: Endpoint): void {
    this.keep({ payload: this.written(length), to });
  }
}
