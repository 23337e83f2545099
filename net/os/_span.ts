/**
 * One range of bytes for `readv` and `sendmsg`: an `iovec`, and the `msghdr` that points at it.
 *
 * @module
 */

import { addressOf, fixedBytes } from "./libc.ts";

/** Arrays up to this length may be kept where V8 moves them, so they go through {@link Span.small}. */
const MOVABLE = 64;
/** `sizeof(struct msghdr)`. */
const HEADER = 56;
const HEADER_NAME = 0;
const HEADER_NAME_LENGTH = 8;
const HEADER_IOV = 16;
const HEADER_IOV_COUNT = 24;

/** The range of the call that is about to be made. */
export class Span {
  /** A `struct iovec`. */
  readonly iovec: Uint8Array<ArrayBuffer> = fixedBytes(16);
  /** A `struct msghdr` with that one range. */
  readonly message: Uint8Array<ArrayBuffer> = fixedBytes(HEADER);
  /** Stands in for arrays that are small enough to be moved. */
  readonly small: Uint8Array<ArrayBuffer> = fixedBytes(MOVABLE + 1);
  readonly #view = new DataView(this.iovec.buffer);
  // The array of the last call: mostly it is that of the next one too.
  #array: Uint8Array<ArrayBuffer> | undefined;
  #low = 0;
  #high = 0;
  /** The structures refer to it by address only; this keeps it alive. */
  #name: Uint8Array | undefined;

  /** Points nowhere yet. */
  constructor() {
    const header = new DataView(this.message.buffer);
    header.setBigUint64(HEADER_IOV, addressOf(this.iovec), true);
    header.setBigUint64(HEADER_IOV_COUNT, 1n, true);
  }

  /** Has `message` go to the `struct sockaddr` in `name`, whatever that is at each call. */
  setName(name: Uint8Array<ArrayBuffer>): void {
    const header = new DataView(this.message.buffer);
    header.setBigUint64(HEADER_NAME, addressOf(name), true);
    header.setUint32(HEADER_NAME_LENGTH, name.length, true);
    this.#name = name;
  }

  /** Whether `array` has to go through {@link small}. */
  isMovable(array: Uint8Array): boolean {
    return array.length <= MOVABLE;
  }

  /** Points at `length` bytes of `array[at..]`, which must be there. */
  set(array: Uint8Array<ArrayBuffer>, at: number, length: number): void {
    if (array !== this.#array) {
      const base = addressOf(array);
      this.#low = Number(base & 0xffff_ffffn);
      this.#high = Number(base >> 32n);
      this.#array = array;
    }
    // In halves: a 64-bit store would take a bigint for each call.
    const low = this.#low + at;
    this.#view.setUint32(0, low >>> 0, true);
    this.#view.setUint32(4, this.#high + (low >= 0x1_0000_0000 ? 1 : 0), true);
    this.#view.setUint32(8, length, true);
  }
}
