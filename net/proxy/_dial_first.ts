/**
 * Connections that come from the inside and are dialled from here: a SYN is answered once the socket
 * here is connected, so whoever is not reached from here is not reached from inside either.
 *
 * ```
 * SYN ---> route ---> connect ---> connected:             SYN, ACK, and a splice
 *            |           |-------> unreachable, timeout:  ICMP host unreachable
 *            |           `-------> any other fault:       RST
 *            `---> refused: RST, or ICMP host unreachable
 * ```
 *
 * @module
 */

import type { StreamAddress, StreamFault, StreamOwner, StreamSocket } from "../os/stream_socket.ts";
import type { PendingSyn, Refusal, TcpListener } from "../tcp/listener.ts";
import { DIAL_MS, PROXY_OPTIONS } from "./dialer.ts";
import { type Deadline, ProxyCounters, type ProxyLoop } from "./proxy_loop.ts";
import { Splice, type SpliceOwner } from "./splice.ts";

/** Sockets that wait for a SYN's answer before it is looked whether the stack still knows of it. */
const LEAST_LOOKS = 16;

/** What a {@link DialFirst} is made of. */
export interface DialFirstOptions {
  /** Begins to listen inside; it may throw. */
  readonly listen: (onSyn: (pending: PendingSyn) => void) => TcpListener;
  /** Where a SYN leads, or how it is refused. */
  readonly route: (pending: PendingSyn) => StreamAddress | Refusal;
  /** Connections of one address inside. Beyond: reset. @default {no limit but the loop's} */
  readonly perSource?: number;
}

/** Whose SYN waits for a socket to be connected. */
interface Waiting {
  readonly pending: PendingSyn;
  readonly since: number;
}

/** Dials what comes from the inside. Stopping it resets all of its connections. */
export class DialFirst implements StreamOwner, SpliceOwner, Deadline, Disposable {
  /** What went through it. */
  readonly counters: ProxyCounters = new ProxyCounters();
  readonly #loop: ProxyLoop;
  readonly #dial: DialFirstOptions;
  readonly #listener: TcpListener;
  readonly #waiting = new Map<StreamSocket, Waiting>();
  /** With the address inside that each comes from, unsigned 32 bits. */
  readonly #splices = new Map<Splice, number>();
  /** Connections of each address inside that has any. */
  readonly #bySource = new Map<number, number>();
  #looksAt = LEAST_LOOKS;

  /** Begins to listen inside. */
  constructor(loop: ProxyLoop, dial: DialFirstOptions) {
    this.#loop = loop;
    this.#dial = dial;
    this.#listener = dial.listen((pending) => this.#onSyn(pending));
    loop.addDeadline(this);
  }

  /** Connections now, those included that are being dialled. */
  get connections(): number {
    return this.#splices.size + this.#waiting.size;
  }

  #onSyn(pending: PendingSyn): void {
    const loop = this.#loop;
    this.counters.connections++;
    const to = this.#dial.route(pending);
    if (typeof to === "string") return this.#refuse(pending, to);
    this.#forgetGone();
    const source = pending.remoteAddress;
    const count = this.#bySource.get(source) ?? 0;
    if (loop.full || count >= (this.#dial.perSource ?? Infinity)) {
      return this.#refuse(pending, "reset");
    }
    const socket = loop.streams.connect(to, this);
    if (typeof socket === "string") return this.#refuse(pending, refusalFor(socket));
    loop.take();
    this.#bySource.set(source, count + 1);
    this.#waiting.set(socket, { pending, since: loop.now });
  }

  /**
   * In a flood the stack forgets SYNs for newer ones: then so are their sockets. Looked at whenever
   * there are twice as many as were left the last time.
   */
  #forgetGone(): void {
    if (this.#waiting.size < this.#looksAt) return;
    for (const [socket, { pending }] of this.#waiting) {
      if (!pending.gone) continue;
      this.#waiting.delete(socket);
      this.counters.failed++;
      this.#close(socket, pending);
    }
    this.#looksAt = LEAST_LOOKS + 2 * this.#waiting.size;
  }

  #refuse(pending: PendingSyn, how: Refusal): void {
    this.counters.failed++;
    pending.refuse(how);
  }

  /** See {@link StreamOwner.onStream}: it is connected, or that has failed. */
  onStream(socket: StreamSocket): void {
    const waiting = this.#waiting.get(socket);
    if (waiting === undefined) return;
    this.#waiting.delete(socket);
    const { pending } = waiting;
    if (socket.fault !== undefined) {
      this.#refuse(pending, refusalFor(socket.fault));
      this.#close(socket, pending);
      return;
    }
    const splice = new Splice(this.#loop, socket, this, this.counters);
    const connection = pending.accept(splice, PROXY_OPTIONS);
    if (connection === undefined) {
      this.counters.failed++;
      this.#close(socket, pending);
      return;
    }
    this.#splices.set(splice, pending.remoteAddress);
    splice.accepted(connection);
  }

  #close(socket: StreamSocket, pending: PendingSyn): void {
    socket[Symbol.dispose]();
    this.#give(pending.remoteAddress);
  }

  #give(source: number): void {
    const left = (this.#bySource.get(source) ?? 0) - 1;
    if (left > 0) this.#bySource.set(source, left);
    else this.#bySource.delete(source);
    this.#loop.give();
  }

  /** See {@link Deadline.sweep}. */
  sweep(now: number): void {
    for (const [socket, { pending, since }] of this.#waiting) {
      if (now - since < DIAL_MS && !pending.gone) continue;
      this.#waiting.delete(socket);
      this.#refuse(pending, "unreachable");
      this.#close(socket, pending);
    }
  }

  /** See {@link SpliceOwner.onFailed}. */
  onFailed(splice: Splice): void {
    splice.socket.abort();
    this.onOver(splice);
  }

  /** See {@link SpliceOwner.onOver}. */
  onOver(splice: Splice): void {
    const source = this.#splices.get(splice);
    if (source === undefined) return;
    this.#splices.delete(splice);
    this.#give(source);
  }

  /** Stops: listens no more, and resets every connection. */
  [Symbol.dispose](): void {
    this.#listener.close();
    this.#loop.removeDeadline(this);
    for (const [socket, { pending }] of this.#waiting) {
      pending.refuse("reset");
      this.#close(socket, pending);
    }
    this.#waiting.clear();
    for (const splice of Array.from(this.#splices.keys())) splice.stop();
  }
}

function refusalFor(fault: StreamFault): Refusal {
  return fault === "unreachable" || fault === "timeout" ? "unreachable" : "reset";
}
