/**
 * A bounded queue between a socket that pushes and a loop that pulls, for the portable
 * implementations. A promise per packet is what those cost anyway, so here packets are objects.
 *
 * @module
 */

import type { SocketCounters } from "./packet_socket.ts";

/** Most packets that wait; more stay in the kernel's queue. */
const CAPACITY = 256;
const NO_NAME = new Uint8Array(0);

/** One packet that has arrived. */
export interface Pushed {
  /** Its bytes, a copy. */
  readonly packet: Uint8Array;
  /** Its sender's `struct sockaddr_in6`; empty where there is none. */
  readonly name: Uint8Array;
}

/** Packets in order of arrival; whoever fills it waits while it is full. */
export class PushedQueue {
  /** Called on arrival. */
  onReadable: (() => void) | undefined;
  readonly #packets: Pushed[] = [];
  #room: (() => void) | undefined;

  /** Packets that wait. */
  get count(): number {
    return this.#packets.length;
  }

  /** Adds one packet; the promise is kept once there is room for the next. */
  push(packet: Uint8Array, name: Uint8Array = NO_NAME): Promise<void> | undefined {
    this.#packets.push({ packet, name });
    this.onReadable?.();
    if (this.#packets.length < CAPACITY) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#room = resolve;
    return promise;
  }

  /** Takes the oldest packet. */
  shift(): Pushed | undefined {
    const first = this.#packets.shift();
    if (this.#packets.length < CAPACITY) this.release();
    return first;
  }

  /** Lets whoever fills the queue go on, also when it will find its socket closed. */
  release(): void {
    this.#room?.();
    this.#room = undefined;
  }
}

/** Most packets that wait to be sent; what comes on top is dropped and counted. */
const MAX_UNSENT = 512;

/** Sends one packet after the other, so that they leave in order. */
export class SendQueue<To> {
  readonly #send: (packet: Uint8Array, to: To) => Promise<number>;
  readonly #failed: (error: unknown) => void;
  readonly #counters: SocketCounters;
  readonly #unsent: { packet: Uint8Array; to: To }[] = [];
  #sending = false;

  /**
   * A queue in front of a socket.
   *
   * @param send Sends one packet.
   * @param counters Counts what was sent and what was dropped here.
   * @param failed Counts a packet that could not be sent.
   */
  constructor(
    send: (packet: Uint8Array, to: To) => Promise<number>,
    counters: SocketCounters,
    failed: (error: unknown) => void,
  ) {
    this.#send = send;
    this.#counters = counters;
    this.#failed = failed;
  }

  /** Takes one packet; it becomes the queue's own. */
  push(packet: Uint8Array, to: To): void {
    if (this.#unsent.length >= MAX_UNSENT) {
      this.#counters.full++;
      return;
    }
    this.#unsent.push({ packet, to });
    if (!this.#sending) void this.#run();
  }

  async #run(): Promise<void> {
    this.#sending = true;
    for (let next = this.#unsent.shift(); next !== undefined; next = this.#unsent.shift()) {
      this.#counters.sendCalls++;
      try {
        await this.#send(next.packet, next.to);
        this.#counters.sent++;
        this.#counters.sentBytes += next.packet.length;
      } catch (error) {
        this.#failed(error);
      }
    }
    this.#sending = false;
  }
}
