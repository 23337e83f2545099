import assert from "node:assert/strict";
import { rowsOf } from "./filter.ts";
import type { Finding } from "./forward/generator.ts";

Deno.test("B1: rowsOf() puts what others reached beside ours, and what each message costs", () => {
  const finding = (forwarder: Finding["forwarder"], value: number): Finding => ({
    ...{ name: "64 B", forwarder, value, unit: "packets/s" },
    ...{ cost: 1e6 / value, busy: 1 },
  });
  const alone: Finding = { name: "check", forwarder: "omerta", value: 80, unit: "ns" };
  const found = [finding("omerta", 500_000), finding("passt", 250_000), alone];
  assert.deepEqual(rowsOf([...found, finding("slirp4netns", 125_000)]), [
    {
      name: "filter, 64 B",
      value: 500_000,
      unit: "packets/s",
      references: [{ name: "passt", value: 250_000 }, { name: "slirp4netns", value: 125_000 }],
      note: "busy 100 %, 100 %, 100 %",
    },
    {
      name: "filter, 64 B: cost of each",
      value: 2,
      unit: "us",
      references: [{ name: "passt", value: 4 }, { name: "slirp4netns", value: 8 }],
    },
    { name: "filter, check", value: 80, unit: "ns" },
  ]);
});
