import assert from "node:assert/strict";
import fc from "fast-check";
import { isLater, tai64n } from "./tai64n.ts";

Deno.test("tai64n() gives the label of a known time", () => {
  // The TAI64 page's own offset: 1970-01-01 00:00:00 UTC is 2^62 + 10.
  assert.equal(tai64n(0).toHex(), "400000000000000a00000000");
  assert.equal(tai64n(1_700_000_000_123).toHex(), "400000006553f10a0754d4c0");
});

Deno.test("isLater() orders timestamps as time does", () => {
  const time = fc.integer({ min: 0, max: 2 ** 43 });
  fc.assert(fc.property(time, time, (a, b) => {
    assert.equal(isLater(tai64n(a), tai64n(b)), a > b);
  }));
  assert.ok(isLater(tai64n(1), tai64n(0)));
  assert.ok(!isLater(tai64n(7), tai64n(7)));
});
