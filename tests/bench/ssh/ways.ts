/**
 * The ways to a VM that are compared, taken in turns, and the rows that come of it.
 *
 * @module
 */

import type { Row } from "../bench.ts";
import { median, percentile } from "../statistics.ts";

/** The way that the others are references for: the stack, its connection handed over. */
export const STACK = "stack";
/** By the kernel and the TUN device. */
export const TUN = "TUN";
/** By the stack, with `omerta nc` copying what passes. */
export const COPIED = "nc copies";

/** A way. */
export type Way = typeof STACK | typeof TUN | typeof COPIED;

/** What was measured on each way: {@link STACK}, {@link TUN}, and others that were taken. */
export type Ways = ReadonlyMap<Way, readonly number[]>;

/** Measures `ways` in turns, `rounds` times, so that what else goes on meets all alike. */
export async function inTurns(
  ways: readonly Way[],
  rounds: number,
  measure: (way: Way) => Promise<readonly number[]>,
): Promise<Ways> {
  const found = new Map(ways.map((way): [Way, number[]] => [way, []]));
  for (let i = 0; i < rounds; i++) {
    for (const [way, all] of found) all.push(...await measure(way));
  }
  return found;
}

/** A row: `number` of the stack's, and of the others as references. */
function row(
  name: string,
  unit: string,
  ways: Ways,
  number: (of: readonly number[]) => number,
): Row {
  const others = Array.from(ways).filter(([way]) => way !== STACK);
  return {
    name: `ssh, ${name}`,
    value: number(ways.get(STACK) ?? []),
    unit,
    references: others.map(([way, all]) => ({ name: way, value: number(all) })),
  };
}

/** The median of times, given in s, as a row in ms. */
export function durationRow(name: string, ways: Ways): Row {
  return row(name, "ms", ways, (times) => median(times) * 1000);
}

/** The rate of so many bytes in the median of times, given in s. */
export function rateRow(name: string, bytes: number, ways: Ways): Row {
  return row(name, "MB/s", ways, (times) => bytes / 1e6 / median(times));
}

/** Round trips, given in s: rows in us for the 50th and the 99th of 100, and what the stack adds. */
export function roundTripRows(name: string, ways: Ways): Row[] {
  return [0.5, 0.99].map((share): Row => {
    const found = row(
      `${name}, p${share * 100}`,
      "us",
      ways,
      (times) => percentile(times.toSorted((a, b) => a - b), share) * 1e6,
    );
    const tun = found.references?.find((reference) => reference.name === TUN)?.value ?? NaN;
    return { ...found, note: `${Math.round((found.value ?? NaN) - tun)} us added` };
  });
}
