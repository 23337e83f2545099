/**
 * Two interfaces wired together, under a clock of the test's own.
 *
 * @module
 */

import type { NetworkInterface } from "./network_interface.ts";
import { PacketQueue } from "./packet_queue.ts";

/** A wire. Packets go from one end to the other when it settles, a millisecond for each round. */
export class Wire {
  /** The time, in ms. */
  now = 1000;
  readonly #ends: readonly { from: NetworkInterface; queue: PacketQueue; to: NetworkInterface }[];

  /** Starts both. */
  constructor(left: NetworkInterface, right: NetworkInterface) {
    this.#ends = [
      { from: left, queue: new PacketQueue(), to: right },
      { from: right, queue: new PacketQueue(), to: left },
    ];
    for (const { from, queue } of this.#ends) from.start(queue);
  }

  /** Carries packets until none is left. @returns How many that were. */
  settle(rounds = 10_000): number {
    let total = 0;
    for (let i = 0; i < rounds; i++) {
      for (const { from } of this.#ends) {
        from.tick(this.now);
        from.drain();
      }
      this.now++;
      let moved = 0;
      for (const { queue, to } of this.#ends) {
        to.begin(this.now);
        moved += queue.drainInto(to.inbound, Infinity);
        to.inbound.flush();
      }
      if (moved === 0) break;
      total += moved;
    }
    return total;
  }
}
