import assert from "node:assert/strict";
import fc from "fast-check";
import { SlidingCount } from "./_sliding_count.ts";

Deno.test("N12: SlidingCount.add() forgets what is older than the window", () => {
  const count = new SlidingCount(60_000, 6);
  assert.equal(count.add(1_700_000_000_000), 1);
  assert.equal(count.add(1_700_000_000_000), 2);
  assert.equal(count.add(1_700_000_049_999), 3);
  assert.equal(count.add(1_700_000_060_000), 2);
  assert.equal(count.add(1_700_000_059_000), 3, "a clock that goes back stands still");
  assert.equal(count.add(1_800_000_000_000), 1);
});

Deno.test("N12: SlidingCount.add() never counts less than a window less a slot, or more than a window", () => {
  const steps = fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 200 });
  fc.assert(fc.property(fc.nat(1e9), steps, (start, waits) => {
    const count = new SlidingCount(60_000, 6);
    const times: number[] = [];
    let now = start;
    for (const wait of waits) {
      now += wait;
      times.push(now);
      const got = count.add(now);
      const within = (ms: number): number => times.filter((time) => time > now - ms).length;
      assert.ok(got >= within(50_000), `${got} of ${within(50_000)}`);
      assert.ok(got <= within(60_000), `${got} of ${within(60_000)}`);
    }
  }));
});
