/**
 * TCP options: MSS (RFC 9293 section 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018).
 *
 * ```
 * kind 0  end of list            kind 3  length 3, shift            kind 5  length 2 + 8 n, n blocks
 * kind 1  no operation           kind 4  length 2, SACK permitted   kind 8  length 10, value, echo
 * kind 2  length 4, MSS (16 bits)
 * ```
 *
 * Sequence numbers and timestamps are signed 32-bit numbers here: they wrap, so only differences
 * mean anything. Options that are not known are skipped; one whose length cannot be ends the list.
 *
 * @module
 */

/** Kinds of options (IANA). */
export const TCP_OPTION = {
  /** End of the list. */
  end: 0,
  /** No operation. */
  nop: 1,
  /** Maximum segment size. */
  mss: 2,
  /** Window scale. */
  windowScale: 3,
  /** SACK permitted. */
  sackPermitted: 4,
  /** SACK blocks. */
  sack: 5,
  /** Timestamps. */
  timestamps: 8,
} as const;

/** Largest shift (RFC 7323 section 2.3); a larger one counts as this. */
const MAX_WINDOW_SCALE = 14;
/** Bytes of a timestamps option with the two NOPs before it (RFC 7323 appendix A). */
export const TIMESTAMPS_LEN = 12;
/** Two NOPs, kind and length of the timestamps option, as one word. */
const TIMESTAMPS_WORD = 0x0101080a;

/** What the options of one segment say; made once and read into again and again. */
export class TcpOptions {
  /** MSS, in bytes; 0: not there. */
  mss = 0;
  /** Shift; -1: not there. */
  windowScale = -1;
  /** Whether SACK is permitted. */
  sackPermitted = false;
  /** Whether there are timestamps. */
  timestamps = false;
  /** TSval. */
  value = 0;
  /** TSecr. */
  echo = 0;
  /** SACK blocks, 0 to 4. */
  sackCount = 0;
  /** Left and right edges of the blocks in turn. */
  readonly sackEdges: Int32Array = new Int32Array(8);

  /** Reads the options in `view[at..end)`, a range inside of the view. Never throws. */
  read(view: DataView, at: number, end: number): void {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.timestamps = false;
    this.sackCount = 0;
    if (end - at === TIMESTAMPS_LEN && view.getInt32(at) === TIMESTAMPS_WORD) {
      // What nearly every segment carries, laid out as RFC 7323 appendix A suggests.
      this.timestamps = true;
      this.value = view.getInt32(at + 4);
      this.echo = view.getInt32(at + 8);
      return;
    }
    for (let i = at; i < end;) {
      const kind = view.getUint8(i);
      if (kind === TCP_OPTION.end) return;
      if (kind === TCP_OPTION.nop) {
        i++;
        continue;
      }
      if (i + 2 > end) return;
      const length = view.getUint8(i + 1);
      if (length < 2 || i + length > end) return;
      this.#one(view, i, kind, length);
      i += length;
    }
  }

  #one(view: DataView, at: number, kind: number, length: number): void {
    if (kind === TCP_OPTION.timestamps && length === 10) {
      this.timestamps = true;
      this.value = view.getInt32(at + 2);
      this.echo = view.getInt32(at + 6);
    } else if (kind === TCP_OPTION.sack && length >= 10 && length <= 34 && length % 8 === 2) {
      this.sackCount = (length - 2) / 8;
      for (let i = 0; i < 2 * this.sackCount; i++) {
        this.sackEdges[i] = view.getInt32(at + 2 + 4 * i);
      }
    } else if (kind === TCP_OPTION.mss && length === 4) this.mss = view.getUint16(at + 2);
    else if (kind === TCP_OPTION.windowScale && length === 3) {
      this.windowScale = Math.min(MAX_WINDOW_SCALE, view.getUint8(at + 2));
    } else if (kind === TCP_OPTION.sackPermitted && length === 2) this.sackPermitted = true;
  }
}

/** Writes an MSS option; 4 bytes. */
export function writeMss(view: DataView, at: number, mss: number): number {
  view.setInt32(at, (TCP_OPTION.mss << 24) | (4 << 16) | mss);
  return 4;
}

/** Writes a window scale option behind a NOP; 4 bytes. */
export function writeWindowScale(view: DataView, at: number, shift: number): number {
  view.setInt32(at, (TCP_OPTION.nop << 24) | (TCP_OPTION.windowScale << 16) | (3 << 8) | shift);
  return 4;
}

/** Writes SACK permitted behind two NOPs; 4 bytes. */
export function writeSackPermitted(view: DataView, at: number): number {
  view.setInt32(at, 0x01010000 | (TCP_OPTION.sackPermitted << 8) | 2);
  return 4;
}

/** Writes a timestamps option behind two NOPs; {@link TIMESTAMPS_LEN} bytes. */
export function writeTimestamps(view: DataView, at: number, value: number, echo: number): number {
  view.setInt32(at, TIMESTAMPS_WORD);
  view.setInt32(at + 4, value);
  view.setInt32(at + 8, echo);
  return TIMESTAMPS_LEN;
}

/** Writes `count` SACK blocks behind two NOPs; the bytes written, 4 + 8 for each block. */
export function writeSack(view: DataView, at: number, edges: Int32Array, count: number): number {
  view.setInt32(at, 0x01010000 | (TCP_OPTION.sack << 8) | (2 + 8 * count));
  for (let i = 0; i < 2 * count; i++) view.setInt32(at + 4 + 4 * i, edges[i] ?? 0);
  return 4 + 8 * count;
}
