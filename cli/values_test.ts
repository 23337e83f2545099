import assert from "node:assert/strict";
import { RequestBody } from "../lib/api/schemas.ts";
import { PingBody } from "../lib/api/tunnel_schemas.ts";
import {
  parseCount,
  parseDiskGiB,
  parseMemoryMiB,
  parseSeconds,
  parseTimeout,
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

Deno.test("parseTimeout() takes what the daemon takes and says what is the most", () => {
  assert.equal(parseTimeout("24h"), 86_400);
  const timeoutMs = parseTimeout("1d") * 1000;
  PingBody.parse({ host: "web", timeoutMs });
  RequestBody.shape.timeoutMs.parse(timeoutMs);
  for (const text of ["86401", "25h", "30d", "99999999d"]) {
    const message = `Cannot use --timeout '${text}': want at most 86400 s`;
    assert.throws(() => parseTimeout(text), { code: "bad-option", exit: 2, message });
  }
});

Deno.test("parseVmName() takes host names only", () => {
  for (const name of ["a", "web-1", "0", "x".repeat(32), randomVmName()]) parseVmName(name);
  for (const name of ["", "-a", "a-", "A", "a_b", "a.b", "x".repeat(33), "../x", "a b"]) {
    assert.throws(() => parseVmName(name), { code: "bad-option" }, name);
  }
});
