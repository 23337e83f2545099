/**
 * Waiting for many sources of packets at once.
 *
 * ```
 * const reactor = openReactor();
 * reactor.add(udp, () => udp.drain(handler, 256));
 * for (;;) {
 *   const turn = reactor.wait(timeoutMs);
 *   const woken = typeof turn === "boolean" ? turn : await turn;
 *   if (woken) ...somebody called wake()...
 * }
 * ```
 *
 * On Linux `wait` blocks its thread in `poll(2)`; nothing else runs on that thread, so another thread
 * that wants something calls `wake` with the reactor's wake-up descriptor. Elsewhere `wait` returns
 * a promise. In both, one `wait` gives each source that is ready one turn: its callback must stop
 * after a bounded amount of work, and is called again by the next `wait`.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { Fd, fixedBytes, type Libc, libc } from "./libc.ts";
import type { Watchable } from "./packet_socket.ts";

/** Waits for sources. */
export interface Reactor extends Disposable {
  /**
   * Calls `ready` in each {@link wait} in which `source` has packets.
   *
   * @param pausable Whether {@link pause} concerns it. @default {false}
   */
  add(source: Watchable, ready: () => void, pausable?: boolean): void;
  /** Passes over the pausable sources until told otherwise: their packets stay where they are. */
  pause(paused: boolean): void;
  /** Forgets a source; must happen before the source is closed. */
  remove(source: Watchable): void;
  /**
   * Waits until a source is ready, somebody wakes the reactor or `timeoutMs` (0 to 2^31 - 1) have
   * passed; then each source that is ready has had its turn. True when it was woken.
   */
  wait(timeoutMs: number): boolean | Promise<boolean>;
  /** Ends a wait that leaves its thread's event loop running; for code on the same thread. */
  wake(): void;
}

/** A descriptor through which any thread of the process wakes a reactor. */
export class Waker implements Disposable {
  readonly #fd: Fd | undefined;

  /** Opens the descriptor, where there are descriptors. */
  constructor() {
    const c = libc();
    if (c === undefined) return;
    const EFD_NONBLOCK = 0x800;
    const EFD_CLOEXEC = 0x80000;
    const fd = c.call.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) throw new OmertaError("reactor-failed", "Cannot open a wake-up descriptor");
    this.#fd = new Fd(c, fd);
  }

  /** The descriptor to hand to {@link openReactor}; -1 where a posted message wakes the thread. */
  get fd(): number {
    return this.#fd?.number ?? -1;
  }

  /** Wakes the reactor. Never blocks. */
  wake(): void {
    if (this.fd >= 0) Waker.wakeFd(this.fd);
  }

  /** Wakes the reactor that polls `fd`, from a thread that has nothing but the number. */
  static wakeFd(fd: number): void {
    libc()?.call.write(fd, ONE, EVENT_SIZE);
  }

  /** Closes the descriptor: after the reactor's thread has ended. */
  [Symbol.dispose](): void {
    this.#fd?.[Symbol.dispose]();
  }
}

/** An eventfd is read and written eight bytes at a time. */
const EVENT_SIZE = 8n;
const ONE = fixedBytes(8);
ONE[0] = 1;

/** A reactor that is woken through `wakeFd`, the descriptor of a {@link Waker}. */
export function openReactor(wakeFd: number): Reactor {
  const c = libc();
  return c === undefined ? new AsyncReactor() : new PollReactor(c, wakeFd);
}

const POLLIN = 1;
const POLL_ENTRY = 8;
/** Most sources; one more is an error. */
const MAX_SOURCES = 1024;

/** Blocks in `poll(2)`. */
export class PollReactor implements Reactor {
  readonly #c: Libc;
  readonly #sources: Watchable[] = [];
  readonly #ready: (() => void)[] = [];
  readonly #pausable: boolean[] = [];
  #paused = false;
  readonly #entries: Uint8Array<ArrayBuffer> = fixedBytes((MAX_SOURCES + 1) * POLL_ENTRY);
  readonly #view = new DataView(this.#entries.buffer);
  readonly #drained: Uint8Array<ArrayBuffer> = fixedBytes(8);
  // Entries for `poll`, counted when a source comes or goes: a bigint is an allocation.
  #size = 1n;

  /**
   * Watches nothing yet.
   *
   * @param c The C library.
   * @param wakeFd An eventfd, or -1 for none; it stays the caller's.
   */
  constructor(c: Libc, wakeFd: number) {
    this.#c = c;
    this.#set(0, wakeFd);
  }

  #set(i: number, fd: number): void {
    this.#view.setInt32(i * POLL_ENTRY, fd, true);
    this.#view.setInt32(i * POLL_ENTRY + 4, POLLIN, true);
  }

  /** See {@link Reactor.add}. */
  add(source: Watchable, ready: () => void, pausable = false): void {
    if (this.#sources.length >= MAX_SOURCES) {
      throw new OmertaError(
        "too-many-sources",
        `Cannot watch another socket: ${MAX_SOURCES} is the limit`,
      );
    }
    this.#sources.push(source);
    this.#ready.push(ready);
    this.#pausable.push(pausable);
    this.#watch(this.#sources.length - 1);
    this.#size = BigInt(this.#sources.length + 1);
  }

  /** See {@link Reactor.remove}. */
  remove(source: Watchable): void {
    const at = this.#sources.indexOf(source);
    if (at < 0) return;
    this.#sources.splice(at, 1);
    this.#ready.splice(at, 1);
    this.#pausable.splice(at, 1);
    for (let i = 0; i < this.#sources.length; i++) this.#watch(i);
    this.#size = BigInt(this.#sources.length + 1);
  }

  /** See {@link Reactor.pause}. */
  pause(paused: boolean): void {
    this.#paused = paused;
    for (let i = 0; i < this.#sources.length; i++) if (this.#pausable[i]) this.#watch(i);
  }

  /** Source `i`, as `poll` is to see it: it passes over negative descriptors. */
  #watch(i: number): void {
    const passedOver = this.#paused && this.#pausable[i];
    this.#set(i + 1, passedOver ? -1 : this.#sources[i]?.fd ?? -1);
  }

  /** See {@link Reactor.wait}. */
  wait(timeoutMs: number): boolean {
    const count = this.#sources.length;
    const ready = this.#c.call.poll(this.#entries, this.#size, Math.max(0, Math.ceil(timeoutMs)));
    if (ready <= 0) return false;
    const woken = this.#events(0) !== 0;
    if (woken) this.#c.call.read(this.#view.getInt32(0, true), this.#drained, EVENT_SIZE);
    // From the last: a callback may remove its own source.
    for (let i = count; i >= 1; i--) if (this.#events(i) !== 0) this.#ready[i - 1]?.();
    return woken;
  }

  /** See {@link Reactor.wake}: whoever can call this is on the thread that would be blocked. */
  wake(): void {}

  #events(i: number): number {
    return this.#view.getInt16(i * POLL_ENTRY + 6, true);
  }

  /** Forgets every source; they stay open. */
  [Symbol.dispose](): void {
    this.#sources.length = 0;
    this.#ready.length = 0;
    this.#pausable.length = 0;
  }
}

/** Waits on the thread's own event loop. */
export class AsyncReactor implements Reactor {
  readonly #sources = new Map<Watchable, () => void>();
  readonly #pausable = new Set<Watchable>();
  #paused = false;
  #arrived: (() => void) | undefined;
  #woken = false;
  readonly #notify = (): void => this.#arrived?.();

  /** See {@link Reactor.add}. */
  add(source: Watchable, ready: () => void, pausable = false): void {
    this.#sources.set(source, ready);
    if (pausable) this.#pausable.add(source);
    source.onReadable = this.#notify;
  }

  /** See {@link Reactor.pause}. */
  pause(paused: boolean): void {
    this.#paused = paused;
  }

  #isReady(source: Watchable): boolean {
    return source.waiting > 0 && !(this.#paused && this.#pausable.has(source));
  }

  /** See {@link Reactor.remove}. */
  remove(source: Watchable): void {
    if (this.#sources.delete(source)) source.onReadable = undefined;
    this.#pausable.delete(source);
  }

  /** See {@link Reactor.wake}. */
  wake(): void {
    this.#woken = true;
    this.#arrived?.();
  }

  /** See {@link Reactor.wait}. */
  async wait(timeoutMs: number): Promise<boolean> {
    if (this.#idle()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#arrived = resolve;
      const timer = setTimeout(resolve, timeoutMs);
      await promise;
      clearTimeout(timer);
      this.#arrived = undefined;
    } else {
      // Packets wait already: timers and sockets get their turn between two rounds.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    for (const [source, ready] of this.#sources) if (this.#isReady(source)) ready();
    const woken = this.#woken;
    this.#woken = false;
    return woken;
  }

  #idle(): boolean {
    if (this.#woken) return false;
    for (const source of this.#sources.keys()) if (this.#isReady(source)) return false;
    return true;
  }

  /** Forgets every source; they stay open. */
  [Symbol.dispose](): void {
    for (const source of this.#sources.keys()) source.onReadable = undefined;
    this.#sources.clear();
    this.#pausable.clear();
  }
}
