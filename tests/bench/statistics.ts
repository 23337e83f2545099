/**
 * Numbers about numbers.
 *
 * @module
 */

/**
 * The smallest of `sorted` that at least the given share of them do not exceed (nearest rank).
 *
 * @param sorted Ascending; NaN comes back when it is empty.
 * @param share 0 to 1.
 */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.ceil(share * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1] ?? NaN;
}

/** The middle one; the mean of the two in the middle of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  const [low = NaN, high = low] = Number.isInteger(half)
    ? [sorted[half - 1], sorted[half]]
    : [sorted[Math.floor(half)]];
  return (low + high) / 2;
}

/** Slope of the straight line that fits the points best (least squares). */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  let over = 0;
  let under = 0;
  for (const [x, y] of points) {
    over += (x - meanX) * (y - meanY);
    under += (x - meanX) ** 2;
  }
  return over / under;
}
