import assert from "node:assert/strict";
import fc from "fast-check";
import { median, percentile, slope } from "./statistics.ts";

Deno.test("B2: percentile() takes the nearest rank", () => {
  const sorted = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual([0, 0.5, 0.9, 0.99, 0.999, 1].map((share) => percentile(sorted, share)), [
    ...[1, 50, 90, 99, 100, 100],
  ]);
  assert.equal(percentile([7], 0.999), 7);
  assert.equal(percentile([], 0.5), NaN);
});

Deno.test("B2: percentile() is one of the values, and as many do not exceed it as it says", () => {
  const values = fc.array(fc.integer(), { minLength: 1 });
  fc.assert(fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (some, share) => {
    const sorted = some.toSorted((a, b) => a - b);
    const found = percentile(sorted, share);
    assert.ok(sorted.includes(found));
    assert.ok(sorted.filter((value) => value <= found).length >= share * sorted.length);
  }));
});

Deno.test("median() is the middle one, or between the two in the middle", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([5]), 5);
  assert.equal(median([]), NaN);
});

Deno.test("B5: slope() finds the line through points, and 0 where nothing grows", () => {
  assert.equal(slope([[0, 1], [1, 3], [2, 5]]), 2);
  assert.equal(slope([[1, 7], [5, 7], [9, 7]]), 0);
  // One point off the line, in the middle, does not tilt it.
  assert.equal(slope([[0, 0], [1, 9], [2, 2]]), 1);
});
