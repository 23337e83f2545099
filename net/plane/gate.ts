/**
 * How much the packet thread may hand to the main thread: a flood of control datagrams must cost
 * neither memory nor the main thread's time.
 *
 * ## Limits
 *
 * - {@link MAX_UNHANDLED} events that the main thread has not handled yet.
 * - {@link MAX_PER_SECOND} control datagrams a second, in bursts of up to {@link BURST}.
 *
 * What is above is dropped and counted; whoever sent a control message sends it again.
 *
 * @module
 */

/** Events under way to the main thread at one time. */
export const MAX_UNHANDLED = 512;
/** Control datagrams a second. */
export const MAX_PER_SECOND = 2000;
/** Control datagrams at once. */
export const BURST = 400;

/** Slots of the memory that both threads share. */
export const SHARED = {
  /** Commands posted to the packet thread. */
  commands: 0,
  /** Events that the main thread has handled. */
  handled: 1,
} as const;

/** Bytes of that memory. */
export const SHARED_BYTES = 8;

/** Decides which events may be posted. Time is in ms of any clock that does not go back. */
export class Gate {
  readonly #shared: Int32Array;
  #posted = 0;
  #tokens = BURST;
  #refilled = -Infinity;

  /** `shared` is the memory of {@link SHARED}. */
  constructor(shared: Int32Array) {
    this.#shared = shared;
  }

  /** Whether one more event may be posted now. */
  admit(): boolean {
    const unhandled = (this.#posted - Atomics.load(this.#shared, SHARED.handled)) | 0;
    if (unhandled >= MAX_UNHANDLED) return false;
    this.#posted = (this.#posted + 1) | 0;
    return true;
  }

  /** Counts an event that is posted in any case; whoever does so bounds them in another way. */
  pass(): void {
    this.#posted = (this.#posted + 1) | 0;
  }

  /** Whether one more control datagram may be posted at `now`. */
  admitControl(now: number): boolean {
    const passed = Math.max(0, now - this.#refilled);
    this.#tokens = Math.min(BURST, this.#tokens + passed * MAX_PER_SECOND / 1000);
    this.#refilled = now;
    if (this.#tokens < 1 || !this.admit()) return false;
    this.#tokens--;
    return true;
  }
}
