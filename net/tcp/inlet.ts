/**
 * A stack as the place where packets go: for producers that write into a sink, such as a TUN device
 * or a WireGuard device.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import type { Stack } from "./stack.ts";

const MAX_PACKET = 65535;

/** Hands each packet to a stack as soon as it is committed. */
export class Inlet implements PacketSink {
  /** See {@link PacketSink.buffer}. */
  readonly buffer: Uint8Array = new Uint8Array(MAX_PACKET);
  /** The time of the batch, in ms: set by whoever drains into it. */
  now = 0;
  readonly #stack: Stack;

  /** Packets go to `stack`. */
  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    return size > MAX_PACKET ? -1 : 0;
  }

  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    this.#stack.input(this.buffer, 0, length, this.now);
  }

  /** See {@link PacketSink.takeWhole}. */
  takeWhole(buffer: Uint8Array, at: number, length: number): void {
    this.#stack.input(buffer, at, length, this.now, true);
  }

  /** Ends the batch. */
  flush(): void {
    this.#stack.flush(this.now);
  }
}
