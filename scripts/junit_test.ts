import assert from "node:assert/strict";
import { countTests } from "./_junit.ts";

Deno.test("countTests() counts tests, not their steps, and keeps the names of the skipped", () => {
  const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="6" failures="3" errors="0" time="0.010">
    <testsuite name="./a_test.ts" tests="6" disabled="1" errors="0" failures="3">
        <testcase name="a &gt; b" classname="./a_test.ts" time="0.000" line="1" col="6">
        </testcase>
        <testcase name="steps" classname="./a_test.ts" time="0.002" line="2" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="skip &lt;x&gt; [skipped: needs root]" classname="./a_test.ts" time="0.000">
            <skipped/>
        </testcase>
        <testcase name="steps &gt; one" classname="./a_test.ts" time="0.000" line="2" col="41">
        </testcase>
        <testcase name="steps &gt; two &gt; three" classname="./a_test.ts" time="0.001">
            <failure message="Uncaught Error: bad">Error: bad</failure>
        </testcase>
    </testsuite>
</testsuites>`;
  assert.deepEqual(countTests(report), {
    passed: 1,
    failed: 1,
    skipped: ["skip <x> [skipped: needs root]"],
  });
});

Deno.test("countTests() finds nothing in an empty report", () => {
  assert.deepEqual(countTests(""), { passed: 0, failed: 0, skipped: [] });
});
