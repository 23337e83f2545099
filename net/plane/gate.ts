/**
 * How much the packet thread may hand to the main thread: a flood of control datagrams must cost
 * neither memory nor the main thread's time, and must not keep out what others send.
 *
 * ## Limits
 *
 * - {@link MAX_UNHANDLED} events that the main thread has not handled yet.
 * - {@link MAX_PER_SOURCE} control datagrams a second from one address, in bursts of up to
 *   {@link SOURCE_BURST}: whatever ports it sends from, and for IPv6 from the whole /64, which one
 *   host can fill with addresses.
 * - {@link MAX_PER_SECOND} from all, in bursts of up to {@link BURST}.
 * - {@link SOURCES} addresses are told apart. They share the places of a table by a hash that nobody
 *   outside can foresee; two in one place share what one may send.
 *
 * What is above is dropped and counted; whoever sent a control message sends it again. Somebody who
 * sends from more than ten addresses at once, true or made up, can still use up what all may send.
 *
 * @module
 */

import { readU32 } from "../wire/bytes.ts";

/** Events under way to the main thread at one time. */
export const MAX_UNHANDLED = 512;
/** Control datagrams a second. */
export const MAX_PER_SECOND = 2000;
/** Control datagrams at once. */
export const BURST = 400;
/** Control datagrams a second from one address. */
export const MAX_PER_SOURCE = 200;
/** Control datagrams at once from one address. */
export const SOURCE_BURST = 100;
/** Addresses that are told apart; a power of two. */
export const SOURCES = 1024;

/** Where the address begins in a `sockaddr_in6`, in bytes (ipv6(7)). */
const ADDRESS = 8;
/** `::ffff:0:0/96` in the third word of an address: an IPv4 address follows. */
const MAPPED = 0xffff;

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
  readonly #seed: number;
  readonly #sourceTokens = new Float64Array(SOURCES).fill(SOURCE_BURST);
  readonly #sourceRefilled = new Float64Array(SOURCES).fill(-Infinity);
  #posted = 0;
  #tokens = BURST;
  #refilled = -Infinity;

  /**
   * A gate through which nothing has gone.
   *
   * @param shared The memory of {@link SHARED}.
   * @param seed 32 random bits, for the hash of addresses.
   */
  constructor(shared: Int32Array, seed: number) {
    this.#shared = shared;
    this.#seed = seed;
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

  /**
   * Whether one more control datagram may be posted at `now`, sent by the `sockaddr_in6` at
   * `names[nameAt]`.
   */
  admitControl(now: number, names: Uint8Array, nameAt: number): boolean {
    const source = this.#placeOf(names, nameAt + ADDRESS);
    const since = Math.max(0, now - (this.#sourceRefilled[source] ?? 0));
    const own = Math.min(
      SOURCE_BURST,
      (this.#sourceTokens[source] ?? 0) + since * MAX_PER_SOURCE / 1000,
    );
    this.#sourceTokens[source] = own;
    this.#sourceRefilled[source] = now;
    // First its own limit: what is above that must not count for all.
    if (own < 1) return false;
    const passed = Math.max(0, now - this.#refilled);
    this.#tokens = Math.min(BURST, this.#tokens + passed * MAX_PER_SECOND / 1000);
    this.#refilled = now;
    if (this.#tokens < 1 || !this.admit()) return false;
    this.#tokens--;
    this.#sourceTokens[source] = own - 1;
    return true;
  }

  /** The place of an address in the table. */
  #placeOf(b: Uint8Array, at: number): number {
    const isMapped = readU32(b, at) === 0 && readU32(b, at + 4) === 0 &&
      readU32(b, at + 8) === MAPPED;
    const hash = isMapped
      ? mixed(this.#seed, readU32(b, at + 12))
      : mixed(mixed(~this.#seed, readU32(b, at)), readU32(b, at + 4));
    return hash & (SOURCES - 1);
  }
}

/** `hash` with another word mixed in; the end of MurmurHash3. */
function mixed(hash: number, word: number): number {
  let h = hash ^ word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
