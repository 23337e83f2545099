import assert from "node:assert/strict";
import { parseCpuList } from "./processors.ts";

Deno.test("parseCpuList() reads single processors and ranges", () => {
  assert.deepEqual(parseCpuList("0-1\n"), [0, 1]);
  assert.deepEqual(parseCpuList("3"), [3]);
  assert.deepEqual(parseCpuList("0,2-4,7"), [0, 2, 3, 4, 7]);
  assert.deepEqual(parseCpuList(""), []);
});
