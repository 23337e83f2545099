/**
 * The mark that every frame of a run carries, so that it is known wherever it comes out.
 *
 * ```
 * 0          8       10      12
 * +----------+-------+-------+
 * |  nonce   |  row  | frame |
 * +----------+-------+-------+
 * ```
 *
 * The nonce is random for each run, so nothing that anybody else sends is taken for it. Numbers are
 * big-endian. 12 bytes are short enough for the padding of an ARP frame.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { readU16, writeU16 } from "../../net/wire/bytes.ts";

/** Length of a nonce, in bytes. */
export const NONCE_LEN = 8;
/** Length of a mark, in bytes. */
export const MARK_LEN = 12;

/** Number, in their mark, of what is asked by sockets rather than sent as frames. */
export const CALL_FRAME = 0xffff;

/** What a mark says. */
export interface Mark {
  /** Number of the attempt in its list. */
  readonly row: number;
  /** Number of the frame in its attempt. */
  readonly frame: number;
}

/** The bytes of a mark. */
export function markOf(nonce: Uint8Array, { row, frame }: Mark): Uint8Array {
  const out = new Uint8Array(MARK_LEN);
  out.set(nonce);
  writeU16(out, NONCE_LEN, row);
  writeU16(out, NONCE_LEN + 2, frame);
  return out;
}

/**
 * Every mark with this nonce in `bytes`, wherever it is: what a card sees of a kernel that hands it
 * many datagrams at once is one frame with all of them.
 */
export function marksIn(nonce: Uint8Array, bytes: Uint8Array): Mark[] {
  const where = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const marks: Mark[] = [];
  let at = where.indexOf(nonce);
  while (at >= 0 && at + MARK_LEN <= bytes.length) {
    marks.push({ row: readU16(bytes, at + NONCE_LEN), frame: readU16(bytes, at + NONCE_LEN + 2) });
    at = where.indexOf(nonce, at + MARK_LEN);
  }
  return marks;
}
