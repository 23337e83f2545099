import assert from "node:assert/strict";
import { COPIED, durationRow, inTurns, rateRow, roundTripRows, STACK, TUN } from "./ways.ts";

Deno.test("B7: inTurns() takes the ways one after the other, as often as it is told", async () => {
  const order: string[] = [];
  const ways = await inTurns([TUN, STACK], 2, (way) => {
    order.push(way);
    return Promise.resolve([order.length]);
  });
  assert.deepEqual(order, [TUN, STACK, TUN, STACK]);
  assert.deepEqual(Array.from(ways), [[TUN, [1, 3]], [STACK, [2, 4]]]);
});

Deno.test("B7: rows have the stack's number, and the other ways' as references", () => {
  const ways = new Map([[STACK, [0.2, 0.4, 0.1]], [TUN, [0.1]], [COPIED, [1]]] as const);
  const duration = durationRow("start", ways);
  assert.deepEqual([duration.name, duration.value, duration.unit], ["ssh, start", 200, "ms"]);
  const references = [{ name: TUN, value: 100 }, { name: COPIED, value: 1000 }];
  assert.deepEqual(duration.references, references);
  const rate = rateRow("up", 10e6, ways);
  assert.deepEqual([rate.value, rate.references?.map(({ value }) => value)], [50, [100, 10]]);
});

Deno.test("B7: roundTripRows() says what the stack adds", () => {
  const stack = Array.from({ length: 100 }, (_, i) => (100 - i) / 1000);
  const [half, most] = roundTripRows("round trip", new Map([[STACK, stack], [TUN, [0.049]]]));
  assert.deepEqual([half?.value, half?.note], [50_000, "1000 us added"]);
  assert.deepEqual([most?.value, most?.note], [99_000, "50000 us added"]);
});
