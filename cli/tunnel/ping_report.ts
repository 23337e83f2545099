/**
 * What the system's ping(8) of iputils has found out, in numbers.
 *
 * ```
 * 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.812 ms
 * ```
 *
 * @module
 */

/** Round trips through a tunnel. */
export interface PingReport {
  /** Questions sent. */
  readonly sent: number;
  /** Questions answered. */
  readonly received: number;
  /** Questions without an answer, 0 to 1. */
  readonly loss: number;
  /** Shortest round trip in ms; undefined without an answer, like the others. */
  readonly minMs: number | undefined;
  /** Median of the round trips in ms. */
  readonly medianMs: number | undefined;
  /** Longest round trip in ms. */
  readonly maxMs: number | undefined;
}

/**
 * Reads what ping has printed under the locale C. An answer that came twice counts once.
 *
 * @param sent Questions that it was told to send.
 */
export function readPing(text: string, sent: number): PingReport {
  const times = new Map<string, number>();
  for (
    const [, seq, ms] of text.matchAll(/ icmp_seq=(\d{1,9}) .*\btime=(\d{1,9}(?:\.\d{1,9})?) ms/g)
  ) {
    if (seq !== undefined && ms !== undefined && !times.has(seq)) times.set(seq, Number(ms));
  }
  const sorted = [...times.values()].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1
    ? sorted[middle]
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
  return {
    sent,
    received: sorted.length,
    loss: (sent - sorted.length) / sent,
    minMs: sorted[0],
    medianMs: sorted.length === 0 ? undefined : median,
    maxMs: sorted.at(-1),
  };
}
