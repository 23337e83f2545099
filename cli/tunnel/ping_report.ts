/**
 * What pings have found out, in numbers: the daemon's own, and those of the system's ping(8) of
 * iputils.
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
  return reportOf(sent, [...times.values()]);
}

/** The report of so many questions, of which these came back after so many ms. */
export function reportOf(sent: number, times: readonly number[]): PingReport {
  const sorted = times.toSorted((a, b) => a - b);
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

/** The report in words, a line for each thing. */
export function roundTrips(report: PingReport): string[] {
  const { sent, received, loss, minMs, medianMs, maxMs } = report;
  const answers = `answers    ${received} of ${sent}, ${(loss * 100).toFixed(0)} % lost`;
  if (minMs === undefined || medianMs === undefined || maxMs === undefined) return [answers];
  const times = [minMs, medianMs, maxMs].map((ms) => ms.toFixed(2));
  return [answers, `round trip ${times.join(" / ")} ms (least, median, most)`];
}
