import assert from "node:assert/strict";
import { findingsIn, isDocumented } from "./check_docs.ts";

const OUTPUT = `error[missing-explicit-type]: exported symbol is missing an explicit type annotation
  --> /root/lib/core/errors.ts:13:14
   |
13 | export const EXIT = {
   |              ^


error[missing-jsdoc]: exported symbol is missing JSDoc documentation
  --> /root/net/wireguard/timers.ts:50:3
   | 
50 |   constructor(timing: Timing) {
   |   ^


error: Found 2 documentation lint errors.
`;

Deno.test("findingsIn() keeps what is not explained, with its place and line", () => {
  assert.deepEqual(findingsIn(OUTPUT, "/root"), [
    "net/wireguard/timers.ts:50: exported symbol is missing JSDoc documentation: " +
    "constructor(timing: Timing) {",
  ]);
});

Deno.test("isDocumented() leaves out tests, commands, scripts and private files", () => {
  const paths = [
    "mod.ts",
    "vm/qemu.ts",
    "vm/qemu_test.ts",
    "vm/_wait.ts",
    "cli/main.ts",
    "scripts/a.ts",
  ];
  assert.deepEqual(paths.filter(isDocumented), ["mod.ts", "vm/qemu.ts"]);
});
