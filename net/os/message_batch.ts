/**
 * The structures of `recvmmsg(2)` and `sendmmsg(2)`, laid out once and reused for every call.
 *
 * One entry is a `struct mmsghdr` (64 bytes on a 64-bit Linux), a `struct iovec`, room for an address
 * and room for one control message:
 *
 * ```
 * mmsghdr  0 name*   8 namelen   16 iov*   24 iovlen   32 control*   40 controllen   48 flags   56 received
 * iovec    0 base*   8 length
 * cmsghdr  0 length  8 level    12 type    16 data
 * ```
 *
 * @module
 */

import { addressOf, fixedBytes } from "./libc.ts";

const HEADER = 64;
const NAME_LEN = 8;
const CONTROL_LEN = 40;
const FLAGS = 48;
const RECEIVED = 56;
const IOVEC = 16;
const CONTROL = 24;

/** `MSG_TRUNC`: the datagram was longer than its slot. */
const MSG_TRUNC = 0x20;

/** A batch of messages whose structures live as long as their socket. */
export class MessageBatch {
  /** What the system calls take: `capacity` entries of `struct mmsghdr`. */
  readonly headers: Uint8Array<ArrayBuffer>;
  /** The addresses, `nameSize` bytes each. */
  readonly names: Uint8Array<ArrayBuffer>;
  /** Bytes kept for one address. */
  readonly nameSize: number;
  /** Most messages in one call. */
  readonly capacity: number;
  /** What the messages' bytes lie in. */
  readonly arena: Uint8Array<ArrayBuffer>;

  readonly #header: DataView;
  readonly #iovec: DataView;
  readonly #control: DataView;
  readonly #low: number;
  readonly #high: number;
  // The structures refer to it by address only; this keeps it alive.
  readonly #keep: readonly Uint8Array<ArrayBuffer>[];

  /**
   * Lays out the structures.
   *
   * @param capacity Most messages in one call.
   * @param arena Memory that the messages are received into or sent from.
   * @param nameSize Bytes kept for one address; 0 for none.
   */
  constructor(capacity: number, arena: Uint8Array<ArrayBuffer>, nameSize: number) {
    this.capacity = capacity;
    this.nameSize = nameSize;
    this.arena = arena;
    this.headers = fixedBytes(capacity * HEADER);
    this.names = fixedBytes(Math.max(1, capacity * nameSize));
    const iovecs = fixedBytes(capacity * IOVEC);
    const controls = fixedBytes(capacity * CONTROL);
    this.#keep = [iovecs, controls];
    this.#header = new DataView(this.headers.buffer);
    this.#iovec = new DataView(iovecs.buffer);
    this.#control = new DataView(controls.buffer);
    const base = addressOf(arena);
    this.#low = Number(base & 0xffff_ffffn);
    this.#high = Number(base >> 32n);
    const names = addressOf(this.names);
    const iov = addressOf(iovecs);
    const control = addressOf(controls);
    for (let i = 0; i < capacity; i++) {
      const at = i * HEADER;
      if (nameSize > 0) this.#header.setBigUint64(at, names + BigInt(i * nameSize), true);
      this.#header.setUint32(at + NAME_LEN, nameSize, true);
      this.#header.setBigUint64(at + 16, iov + BigInt(i * IOVEC), true);
      this.#header.setBigUint64(at + 24, 1n, true);
      this.#header.setBigUint64(at + 32, control + BigInt(i * CONTROL), true);
    }
  }

  /** Points message `i` at `length` bytes of the arena. */
  setData(i: number, at: number, length: number): void {
    // In halves: a 64-bit store would take a bigint for each packet.
    const low = this.#low + at;
    const carry = low >= 0x1_0000_0000 ? 1 : 0;
    this.#iovec.setUint32(i * IOVEC, low >>> 0, true);
    this.#iovec.setUint32(i * IOVEC + 4, this.#high + carry, true);
    this.#iovec.setUint32(i * IOVEC + 8, length, true);
  }

  /** Sets the length of the address of message `i`. */
  setNameLength(i: number, length: number): void {
    this.#header.setUint32(i * HEADER + NAME_LEN, length, true);
  }

  /** Gives message `i` a control message that carries one 16-bit number. */
  setControl(i: number, level: number, type: number, value: number): void {
    const at = i * CONTROL;
    this.#control.setUint32(at, 18, true);
    this.#control.setInt32(at + 8, level, true);
    this.#control.setInt32(at + 12, type, true);
    this.#control.setUint16(at + 16, value, true);
    this.#header.setUint32(i * HEADER + CONTROL_LEN, CONTROL, true);
  }

  /** Message `i` carries no control message. */
  clearControl(i: number): void {
    this.#header.setUint32(i * HEADER + CONTROL_LEN, 0, true);
  }

  /** Makes the first `count` messages ready to be received into. */
  prepareReceive(count: number, control: boolean): void {
    const room = control ? CONTROL : 0;
    for (let i = 0; i < count; i++) {
      this.#header.setUint32(i * HEADER + NAME_LEN, this.nameSize, true);
      this.#header.setUint32(i * HEADER + CONTROL_LEN, room, true);
    }
  }

  /** Bytes received into message `i`. */
  received(i: number): number {
    return this.#header.getUint32(i * HEADER + RECEIVED, true);
  }

  /** Whether message `i` was longer than its slot. */
  truncated(i: number): boolean {
    return (this.#header.getInt32(i * HEADER + FLAGS, true) & MSG_TRUNC) !== 0;
  }

  /** The number that a control message of this level and type brought with message `i`; 0 if none. */
  control(i: number, level: number, type: number): number {
    if (this.#header.getUint32(i * HEADER + CONTROL_LEN, true) < 20) return 0;
    const at = i * CONTROL;
    const match = this.#control.getInt32(at + 8, true) === level &&
      this.#control.getInt32(at + 12, true) === type;
    return match ? this.#control.getInt32(at + 16, true) : 0;
  }

  /** Header bytes from message `first` on, for a call that continues after a partial one. */
  headersFrom(first: number): Uint8Array<ArrayBuffer> {
    return first === 0 ? this.headers : this.headers.subarray(first * HEADER);
  }
}
