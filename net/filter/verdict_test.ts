import assert from "node:assert/strict";
import { countsByReason, isRefusal, REASONS, VERDICT, VERDICT_COUNT } from "./verdict.ts";

Deno.test("REASONS has one word for each verdict, at its number", () => {
  const numbers = Object.values(VERDICT);
  assert.deepEqual(numbers, Array.from({ length: VERDICT_COUNT }, (_, i) => i));
  assert.equal(new Set(REASONS).size, VERDICT_COUNT);
  assert.equal(REASONS[VERDICT.tooLong], "too-long");
  assert.equal(REASONS[VERDICT.ipv6], "ipv6");
  assert.equal(REASONS[VERDICT.notWireguard], "not-wireguard");
  for (const word of REASONS) assert.match(word, /^[a-z]+[0-9]?(?:-[a-z]+)*$/);
});

Deno.test("isRefusal() says no to what was forwarded, answered or announced, and to nothing else", () => {
  const fine = Object.values(VERDICT).filter((verdict) => !isRefusal(verdict));
  assert.deepEqual(fine, [VERDICT.forwarded, VERDICT.answered, VERDICT.announced]);
});

Deno.test("countsByReason() leaves zeros out", () => {
  const counts = new Float64Array(VERDICT_COUNT);
  counts[VERDICT.forwarded] = 3;
  counts[VERDICT.port] = 1;
  assert.deepEqual(countsByReason(counts), { forwarded: 3, port: 1 });
});
