/**
 * Whose packets the UDP socket takes next: senders that have something wait in a queue, each gets one
 * turn, and while the kernel has no room for what is to be sent, all of them wait, and `poll` waits
 * for none of them.
 *
 * How much a turn may be is the sender's own business; shares are fair because it keeps to it
 * (guest.ts).
 *
 * @module
 */

import type { UdpSocket, Watchable } from "../os/packet_socket.ts";
import type { Reactor } from "../os/reactor.ts";

/** Longest time between two rounds (ms). */
const MAX_WAIT_MS = 1000;
/** The same while the kernel has no room for what is to be sent (ms): the least that `poll` knows. */
const FULL_WAIT_MS = 1;

/** A source whose packets leave by the UDP socket. */
export interface Sender {
  /** Whether it waits for its turn. */
  waiting: boolean;
  /** Takes one turn, or goes on with it; whether it is over. */
  drain(): boolean;
}

/** The senders of a loop. */
export class Turns {
  readonly #reactor: Reactor;
  readonly #udp: Pick<UdpSocket, "blocked">;
  readonly #beforeTurn: () => void;
  readonly #queue: Sender[] = [];
  #isPaused = false;

  /**
   * No senders.
   *
   * @param beforeTurn Called before each turn.
   */
  constructor(reactor: Reactor, udp: Pick<UdpSocket, "blocked">, beforeTurn: () => void) {
    this.#reactor = reactor;
    this.#udp = udp;
    this.#beforeTurn = beforeTurn;
  }

  /** Has `sender` wait for its turn whenever `source` is readable. */
  add(source: Watchable, sender: Sender): void {
    this.#reactor.add(source, () => {
      if (sender.waiting) return;
      sender.waiting = true;
      this.#queue.push(sender);
    }, true);
  }

  /** Forgets a sender and its source. */
  remove(source: Watchable, sender: Sender): void {
    this.#reactor.remove(source);
    if (sender.waiting) this.#queue.splice(this.#queue.indexOf(sender), 1);
  }

  /**
   * How long a round may wait, in ms, when nothing else is due for `idleMs`. Senders are not waited
   * for while the socket is blocked: `poll` would come back at once.
   */
  waitMs(idleMs: number): number {
    const { blocked } = this.#udp;
    if (blocked !== this.#isPaused) {
      this.#isPaused = blocked;
      this.#reactor.pause(blocked);
    }
    if (blocked) return FULL_WAIT_MS;
    if (this.#queue.length > 0) return 0;
    return Math.min(MAX_WAIT_MS, Math.max(0, idleMs));
  }

  /** One turn for each sender that waits, as long as there is room for what it sends. */
  serve(): void {
    const queue = this.#queue;
    let served = 0;
    while (served < queue.length && !this.#udp.blocked) {
      const sender = queue[served];
      this.#beforeTurn();
      if (sender?.drain() === false) break;
      if (sender) sender.waiting = false;
      served++;
    }
    queue.copyWithin(0, served);
    queue.length -= served;
  }
}
