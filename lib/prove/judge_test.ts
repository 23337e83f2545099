import assert from "node:assert/strict";
import { countOf, type Findings, grown, judge, noFilter, notTried, seenInWords } from "./judge.ts";
import { CALL_FRAME } from "./mark.ts";

const GOOD: Findings = {
  faults: [],
  wanted: 3,
  sent: 3,
  refused: { destination: 2, port: 1 },
  answers: [],
  seen: [],
};
const REASONS = ["destination", "port"];

const CASES: readonly (readonly [string, Partial<Findings>, string, string])[] = [
  ["everything was refused", {}, "held", ""],
  ["more was refused than was sent", { refused: { destination: 9 } }, "held", ""],
  ["a frame was seen outside", { seen: ["frame 1 was seen by lender"] }, "leaked", "frame 1 was"],
  ["somebody answered", { answers: ["203.0.113.10 answered tcp"] }, "leaked", "answered tcp"],
  ["it leaked and a control failed", { seen: ["x"], faults: ["y"] }, "leaked", "x"],
  ["a control failed", { faults: ["10.0.0.1 does not answer"] }, "unproven", "does not answer"],
  ["it did not leave the guest", { sent: 2 }, "unproven", "1 of 3 did not leave the guest"],
  ["the filter has not seen it", { refused: { port: 1 } }, "unproven", "counted 1 of 3"],
  ["it was refused for another reason", { refused: { ipv6: 3 } }, "unproven", "counted 0 of 3"],
];

for (const [when, change, outcome, why] of CASES) {
  Deno.test(`judge() says ${outcome} when ${when}`, () => {
    const judged = judge({ ...GOOD, ...change }, REASONS);
    assert.equal(judged.outcome, outcome);
    assert.ok(judged.why.includes(why), judged.why);
    assert.equal(judged.why === "", outcome === "held");
  });
}

Deno.test("grown() and countOf() see what was added, of the reasons that count", () => {
  const added = grown({ port: 2, arp: 5 }, { port: 3, arp: 5, ipv6: 4 });
  assert.deepEqual(added, { port: 1, ipv6: 4 });
  assert.equal(countOf(added, ["port", "destination"]), 1);
});

Deno.test("seenInWords() puts together what was seen in the same places", () => {
  const seen = new Map([
    [3, new Set(["router", "lender"])],
    [0, new Set(["lender", "router"])],
    [CALL_FRAME, new Set(["router", "lender"])],
    [7, new Set(["neighbour"])],
  ]);
  assert.deepEqual(seenInWords(seen), [
    "frames 0, 3 and what was asked were seen by lender, router",
    "frame 7 was seen by neighbour",
  ]);
  assert.deepEqual(seenInWords(new Map([[CALL_FRAME, new Set(["borrower"])]])), [
    "what was asked was seen by borrower",
  ]);
  assert.deepEqual(seenInWords(new Map()), []);
});

Deno.test("noFilter() is never held", () => {
  const { outcome, why } = noFilter("open");
  assert.equal(outcome, "leaked");
  assert.match(why, /in mode open one does not: the VM is not sealed/);
});

Deno.test("notTried() is never held, and says why", () => {
  const { outcome, why } = notTried("boot", "no room");
  assert.deepEqual([outcome, why], ["unproven", "no room"]);
});
