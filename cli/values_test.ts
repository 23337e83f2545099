import assert from "node:assert/strict";
import {
  parseCount,
  parseDiskGiB,
  parseMemoryMiB,
  parseSeconds,
  parseVmName,
  randomVmName,
} from "./values.ts";

Deno.test("sizes and durations take their units", () => {
  assert.equal(parseMemoryMiB("--memory")("1024"), 1024);
  assert.equal(parseMemoryMiB("--memory")("2G"), 2048);
  assert.equal(parseMemoryMiB("--memory")("512MiB"), 512);
  assert.equal(parseDiskGiB("--disk")("1T"), 1024);
  assert.equal(parseSeconds("--ttl")("90"), 90);
  assert.equal(parseSeconds("--ttl")("2h"), 7200);
  assert.equal(parseCount("--cpu")("2"), 2);
});

Deno.test.each([
  ["0"],
  ["-1"],
  ["1e3"],
  ["0x10"],
  ["1.5"],
  [" 1"],
  ["many"],
  [""],
  ["1K"],
])("sizes and durations refuse '%s'", (text) => {
  for (
    const parse of [
      parseMemoryMiB("--memory"),
      parseDiskGiB("--disk"),
      parseSeconds("--ttl"),
      parseCount("--cpu"),
    ]
  ) assert.throws(() => parse(text), { code: "bad-option", exit: 2 });
});

Deno.test("parseVmName() takes host names only", () => {
  for (const name of ["a", "web-1", "0", "x".repeat(32), randomVmName()]) parseVmName(name);
  for (const name of ["", "-a", "a-", "A", "a_b", "a.b", "x".repeat(33), "../x", "a b"]) {
    assert.throws(() => parseVmName(name), { code: "bad-option" }, name);
  }
});
