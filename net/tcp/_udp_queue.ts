/**
 * What has arrived by UDP and waits for the end of the batch. Nothing is allocated for a datagram: its
 * bytes go behind those of the others, and where it belongs into arrays.
 *
 * Caps: {@link WAITING} and {@link WAITING_BYTES}; what is more is not taken.
 *
 * @module
 */

import type { IpAddress } from "./address.ts";
import type { IcmpError } from "./protocol.ts";

/** Datagrams and errors that wait for the end of a batch. */
export const WAITING = 1024;
/** Bytes of theirs. */
export const WAITING_BYTES = 1024 * 1024;

const ERROR_KINDS = ["unreachable", "too-big", "time-exceeded"] as const;

/** Datagrams and errors, in the order in which they came. */
export class UdpQueue {
  /** What the datagrams lie in. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Of the one that {@link next} found: where it lies. */
  at = 0;
  /** Its length, in bytes. */
  length = 0;
  /** What kind of error it is; undefined: it is a datagram. */
  error: IcmpError["kind"] | undefined;
  /** Where it went to. */
  local: IpAddress = 0;
  /** The port there. */
  localPort = 0;
  /** Where it came from; of an error, where what it is about went to. */
  remote: IpAddress = 0;
  /** The port there. */
  remotePort = 0;
  #used = 0;
  #count = 0;
  #told = 0;
  readonly #at = new Int32Array(WAITING);
  /** Its length; of an error -1 - the number of its kind. */
  readonly #length = new Int32Array(WAITING);
  readonly #local = new Int32Array(WAITING);
  /** 0: it is forgotten. */
  readonly #localPort = new Int32Array(WAITING);
  readonly #remote = new Int32Array(WAITING);
  readonly #remotePort = new Int32Array(WAITING);

  /** Takes a copy of `length` bytes of `buffer` at `at`; false: there is no room. */
  add(
    buffer: Uint8Array,
    at: number,
    length: number,
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
  ): boolean {
    if (this.#used + length > WAITING_BYTES || this.#count === WAITING) return false;
    if (this.bytes.length === 0) this.bytes = new Uint8Array(WAITING_BYTES);
    this.bytes.set(buffer.subarray(at, at + length), this.#used);
    this.#keep(length, local, localPort, remote, remotePort);
    this.#used += length;
    return true;
  }

  /** Takes an error; false: there is no room. */
  addError(
    kind: IcmpError["kind"],
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
  ): boolean {
    if (this.#count === WAITING) return false;
    this.#keep(-1 - ERROR_KINDS.indexOf(kind), local, localPort, remote, remotePort);
    return true;
  }

  #keep(
    length: number,
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
  ): void {
    const i = this.#count++;
    this.#at[i] = this.#used;
    this.#length[i] = length;
    this.#local[i] = local;
    this.#localPort[i] = localPort;
    this.#remote[i] = remote;
    this.#remotePort[i] = remotePort;
  }

  /** Finds the next one; false: there is none, and room for a whole batch again. */
  next(): boolean {
    while (this.#told < this.#count) {
      const i = this.#told++;
      if (this.#localPort[i] === 0) continue;
      const length = this.#length[i] ?? 0;
      this.at = this.#at[i] ?? 0;
      this.length = Math.max(0, length);
      // A negative index would be made a string.
      this.error = length < 0 ? ERROR_KINDS[-1 - length] : undefined;
      this.local = this.#local[i] ?? 0;
      this.localPort = this.#localPort[i] ?? 0;
      this.remote = this.#remote[i] ?? 0;
      this.remotePort = this.#remotePort[i] ?? 0;
      return true;
    }
    this.#told = this.#count = this.#used = 0;
    return false;
  }

  /** Forgets those that were not found yet of which `isGone` says so. */
  forget(isGone: (local: IpAddress, localPort: number) => boolean): void {
    for (let i = this.#told; i < this.#count; i++) {
      if (isGone(this.#local[i] ?? 0, this.#localPort[i] ?? 0)) this.#localPort[i] = 0;
    }
  }
}
