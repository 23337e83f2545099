/**
 * TAI64N: the time in an initiation, 8 bytes of seconds and 4 of nanoseconds, big-endian, so that
 * later is greater byte by byte. {@link https://cr.yp.to/libtai/tai64.html}
 *
 * @module
 */

/** Bytes of a timestamp. */
export const TAI64N_LEN = 12;
/** High half of 2^62 + 10: TAI was ten seconds ahead when 1970 began. */
const HIGH = 0x4000_0000;
const OFFSET_SECONDS = 10;

/** The timestamp of `now`, in ms since 1970. */
export function tai64n(now: number): Uint8Array {
  const bytes = new Uint8Array(TAI64N_LEN);
  const view = new DataView(bytes.buffer);
  const seconds = Math.floor(now / 1000) + OFFSET_SECONDS;
  view.setUint32(0, HIGH + Math.floor(seconds / 0x1_0000_0000));
  view.setUint32(4, seconds >>> 0);
  view.setUint32(8, Math.floor(now % 1000) * 1_000_000);
  return bytes;
}

/** Whether `a` is later than `b`. */
export function isLater(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < TAI64N_LEN; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}
