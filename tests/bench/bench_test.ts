import assert from "node:assert/strict";
import { formatRows, mergeRuns, type Row } from "./bench.ts";

Deno.test("formatRows() writes a Markdown table with a column and a ratio for each reference", () => {
  const rows: Row[] = [
    {
      name: "tunnel",
      value: 4.4,
      unit: "Gbit/s",
      references: [{ name: "one", value: 2.2 }, { name: "two", value: NaN }],
    },
    { name: "lost", value: 0, unit: "frames", references: [{ name: "two", value: 1000 }] },
    { name: "other", value: undefined, unit: "", note: "skipped: needs root" },
  ];
  assert.equal(
    formatRows(rows),
    `\
| what   |    measured |  one | ratio |   two | ratio | note                |
| ------ | ----------: | ---: | ----: | ----: | ----: | ------------------- |
| tunnel | 4.40 Gbit/s | 2.20 |  2.00 |  none |       |                     |
| lost   |    0 frames |      |       | 1,000 |  0.00 |                     |
| other  |           - |      |       |       |       | skipped: needs root |`,
  );
});

Deno.test("mergeRuns() takes medians, also of the references, and says how far values spread", () => {
  const run = (value: number, other: number): Row[] => [
    { name: "a", value, unit: "us", references: [{ name: "x", value: other }], note: "n" },
    { name: "b", value: undefined, unit: "" },
  ];
  assert.deepEqual(mergeRuns([run(3, 30), run(1, 20), run(2, 10)]), [
    {
      ...{ name: "a", value: 2, unit: "us", note: "n", spread: [1, 3] },
      references: [{ name: "x", value: 20 }],
    },
    { name: "b", value: undefined, unit: "" },
  ]);
  assert.deepEqual(mergeRuns([run(3, 30)]), run(3, 30));
  assert.deepEqual(mergeRuns([]), []);
});
