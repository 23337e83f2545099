/**
 * What is kept of refused frames, so that somebody can be shown what a guest tried: the last few of
 * them, and log lines that a guest cannot flood.
 *
 * ## Limits
 *
 * - {@link RING_FRAMES} frames of {@link SNAP_LEN} bytes each, 17 KiB with their times and lengths,
 *   taken at once for each guest. At the cap the oldest frame is overwritten;
 *   {@link RefusalRing.total} goes on counting.
 * - One log line for each reason in {@link LOG_INTERVAL_MS}, so at most 2.5 lines a second whatever
 *   the guest sends; the next line says how many were left out.
 *
 * Time is a parameter: milliseconds of any clock that does not run backwards.
 *
 * @module
 */

import { formatFrame } from "../wire/format.ts";
import { REASONS, type Verdict, VERDICT_COUNT } from "./verdict.ts";

/** Refused frames that are kept. */
export const RING_FRAMES = 64;
/**
 * Bytes kept of each: all that {@link formatFrame} prints of a frame lies in the headers, at most
 * 14 + 60 + 60 bytes, and the beginning of the payload tells what it wanted to be.
 */
export const SNAP_LEN = 256;
/** Between two log lines for the same reason, in milliseconds. */
export const LOG_INTERVAL_MS = 10_000;
/** Longest frame that is formatted, in bytes: the largest IPv4 packet behind an Ethernet header. */
const FORMAT_MAX = 14 + 65535;

/** One refused frame. */
export interface RefusedFrame {
  /** When it was refused, in milliseconds of the caller's clock. */
  readonly time: number;
  /** Why. */
  readonly verdict: Verdict;
  /** The word for that. */
  readonly reason: string;
  /** Length of the frame as it came, in bytes. */
  readonly length: number;
  /** Its beginning, up to {@link SNAP_LEN} bytes; a copy. */
  readonly bytes: Uint8Array;
  /** One line: `UDP 192.168.100.2:40000 > 8.8.8.8:53 len 30`. */
  readonly text: string;
}

/** The last refused frames. */
export class RefusalRing {
  readonly #bytes = new Uint8Array(RING_FRAMES * SNAP_LEN);
  readonly #times = new Float64Array(RING_FRAMES);
  readonly #lengths = new Float64Array(RING_FRAMES);
  readonly #verdicts: Verdict[] = new Array(RING_FRAMES).fill(0);
  #total = 0;

  /** How many frames were ever added. */
  get total(): number {
    return this.#total;
  }

  /** Keeps one frame; allocates nothing. */
  add(now: number, verdict: Verdict, buffer: Uint8Array, at: number, length: number): void {
    const slot = this.#total++ % RING_FRAMES;
    this.#times[slot] = now;
    this.#lengths[slot] = length;
    this.#verdicts[slot] = verdict;
    const base = slot * SNAP_LEN;
    const kept = Math.min(length, SNAP_LEN);
    for (let i = 0; i < kept; i++) this.#bytes[base + i] = buffer[at + i] ?? 0;
  }

  /** The frames held, oldest first. */
  list(): RefusedFrame[] {
    const held = Math.min(this.#total, RING_FRAMES);
    return Array.from(
      { length: held },
      (_, i) => this.#frame((this.#total - held + i) % RING_FRAMES),
    );
  }

  #frame(slot: number): RefusedFrame {
    const length = this.#lengths[slot] ?? 0;
    const base = slot * SNAP_LEN;
    const bytes = this.#bytes.slice(base, base + Math.max(0, Math.min(length, SNAP_LEN)));
    return refusedFrame(this.#times[slot] ?? 0, this.#verdicts[slot] ?? 0, length, bytes);
  }
}

/** A refused frame of which the first `bytes` are left, with its words. */
export function refusedFrame(
  time: number,
  verdict: Verdict,
  length: number,
  bytes: Uint8Array,
): RefusedFrame {
  const text = formatCut(bytes, length);
  return { time, verdict, reason: REASONS[verdict] ?? "", length, bytes, text };
}

/** Formats a frame of which only the beginning is left, with the lengths it had. */
function formatCut(bytes: Uint8Array, length: number): string {
  const whole = new Uint8Array(Math.max(bytes.length, Math.min(length, FORMAT_MAX)));
  whole.set(bytes);
  return formatFrame(whole, 0, whole.length);
}

/** Decides which refusals get a log line. */
export class RefusalLog {
  readonly #last = new Float64Array(VERDICT_COUNT).fill(-Infinity);
  readonly #left = new Float64Array(VERDICT_COUNT);

  /**
   * Whether this refusal is to be logged: the number of those for the same reason that were left
   * out since the last line, or -1 when this one is left out too.
   */
  admit(now: number, verdict: Verdict): number {
    if (now - (this.#last[verdict] ?? 0) < LOG_INTERVAL_MS) {
      this.#left[verdict] = (this.#left[verdict] ?? 0) + 1;
      return -1;
    }
    const left = this.#left[verdict] ?? 0;
    this.#last[verdict] = now;
    this.#left[verdict] = 0;
    return left;
  }
}
