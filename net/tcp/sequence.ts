/**
 * Sequence numbers: arithmetic modulo 2^32 (RFC 9293 section 3.4).
 *
 * They are kept as signed 32-bit numbers, which the engine stores without allocating; only their
 * differences mean anything, and those are exact as long as two numbers are less than 2^31 apart.
 * Everything compared here is inside one window, which is at most 2^30 (RFC 7323 section 2.3).
 *
 * @module
 */

/** Whether `a` comes before `b`. */
export function seqBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** Whether `a` comes before `b` or is the same. */
export function seqAtMost(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

/** `a + n`, wrapped. */
export function seqAdd(a: number, n: number): number {
  return (a + n) | 0;
}

/** Bytes from `a` to `b`; negative when `b` comes first. */
export function seqDistance(a: number, b: number): number {
  return (b - a) | 0;
}
