/**
 * What all proxies of a thread share: their sockets, the time, memory to copy through, and the list
 * of what has a deadline.
 *
 * ```
 * const proxies = new ProxyLoop({ now });
 * reactor.add(proxies.streams, () => { proxies.serve(now); stack.flush(now); });
 * const due = proxies.tick(now);      // then stack.flush(now), and stack.tick(now)
 * ```
 *
 * A turn is bounded: `Streams.serve` tells each socket at most once, a {@link Splice} moves at most
 * {@link TURN_BYTES} in each direction when it is told, and a socket of UDP gives 64 datagrams.
 *
 * Before a stack calls handlers of proxies, in `flush` and `tick`, {@link ProxyLoop.now} must be
 * right: `serve` and `tick` set it, and so may the owner.
 *
 * Cap: {@link ProxyLoopOptions.connections} for all proxies together. Beyond, a listener on this
 * computer lets new connections wait in the kernel's queue until others end, and one in the stack
 * refuses them with a reset.
 *
 * @module
 */

import { openStreams } from "../os/stream.ts";
import type { Streams } from "../os/stream_socket.ts";

/** Bytes that one connection moves at most in each direction before others have their turn. */
export const TURN_BYTES = 256 * 1024;
/** Bytes that are copied at once. */
export const COPY_BYTES = 64 * 1024;
/** Time between two looks at deadlines, in ms: they are kept to within that much. */
export const SWEEP_MS = 1000;

/** Something with a deadline. */
export interface Deadline {
  /** Called every {@link SWEEP_MS} or so; removes itself from the loop when it is over. */
  sweep(now: number): void;
}

/** What a {@link ProxyLoop} is made of. */
export interface ProxyLoopOptions {
  /** The time, in ms, by the clock of the stack. */
  readonly now: number;
  /** Sockets of this computer. @default {openStreams()} */
  readonly streams?: Streams;
  /** Connections through all proxies together. @default {8192} */
  readonly connections?: number;
  /** How long a connection may be silent in both directions, in ms. @default {7200000} */
  readonly idleMs?: number;
}

/** Bytes and connections of a proxy. Numbers only grow. */
export class ProxyCounters {
  /** Connections that were begun. */
  connections = 0;
  /** Connections of which the other side was not reached, or that were refused. */
  failed = 0;
  /** Connections that ended with a reset, or by the idle limit. */
  aborted = 0;
  /** Bytes from this computer to the inside. */
  bytesIn = 0;
  /** Bytes from the inside to this computer. */
  bytesOut = 0;
}

/** The shared part of all proxies of a thread. */
export class ProxyLoop implements Disposable {
  /** Sockets of this computer. */
  readonly streams: Streams;
  /** The time of this turn, in ms. */
  now: number;
  /** How long a connection may be silent, in ms. */
  readonly idleMs: number;
  /** Bytes on their way between a socket and a connection; nothing stays in it. */
  readonly buffer: Uint8Array<ArrayBuffer> = new Uint8Array(new ArrayBuffer(COPY_BYTES));
  /** Splices that hold bytes because the stack's memory was used up. */
  holding = 0;
  readonly #limit: number;
  readonly #deadlines = new Set<Deadline>();
  readonly #waiting = new Set<() => void>();
  #connections = 0;
  #sweepAt = Infinity;

  /** Nothing is open yet. */
  constructor(options: ProxyLoopOptions) {
    this.now = options.now;
    this.streams = options.streams ?? openStreams();
    this.idleMs = options.idleMs ?? 7_200_000;
    this.#limit = options.connections ?? 8192;
  }

  /** Connections now. */
  get connections(): number {
    return this.#connections;
  }

  /** Gives sockets that are ready their turn; the stack must be flushed after it. */
  serve(now: number): void {
    this.now = now;
    this.streams.serve();
  }

  /** Looks at deadlines; when to call again, in ms. The stack must be flushed after it. */
  tick(now: number): number {
    this.now = now;
    if (now < this.#sweepAt) return this.#sweepAt;
    for (const one of this.#deadlines) one.sweep(now);
    this.#sweepAt = this.#deadlines.size === 0 ? Infinity : now + SWEEP_MS;
    return this.#sweepAt;
  }

  /** Begins to look at `one`'s deadline. */
  addDeadline(one: Deadline): void {
    this.#deadlines.add(one);
    if (this.#sweepAt === Infinity) this.#sweepAt = this.now + SWEEP_MS;
  }

  /** Stops looking at it. */
  removeDeadline(one: Deadline): void {
    this.#deadlines.delete(one);
  }

  /** Whether there may be no more connections now. */
  get full(): boolean {
    return this.#connections >= this.#limit;
  }

  /** Counts one connection more. */
  take(): void {
    this.#connections++;
  }

  /** Counts one less, and lets those go on that wait for it. */
  give(): void {
    this.#connections--;
    if (this.#waiting.size === 0) return;
    const waiting = Array.from(this.#waiting);
    this.#waiting.clear();
    for (const goOn of waiting) goOn();
  }

  /** Calls `goOn` once a connection has ended. */
  whenFree(goOn: () => void): void {
    this.#waiting.add(goOn);
  }

  /** Forgets who waits. */
  forget(goOn: () => void): void {
    this.#waiting.delete(goOn);
  }

  /** Closes what waits for sockets: after every proxy was stopped. */
  [Symbol.dispose](): void {
    this.streams[Symbol.dispose]();
  }
}
