import assert from "node:assert/strict";
import { pathsOf } from "../lib/core/paths.ts";
import { COMMANDS } from "./program.ts";

// Not in the test: what they import keeps the C library open.
const makers = await Promise.all(Object.values(COMMANDS).map((load) => load()));

Deno.test("each command is found by the name that it has", () => {
  const context = { paths: pathsOf("/nowhere"), module: new URL(import.meta.url) };
  assert.deepEqual(makers.map((make) => make(context).name()), Object.keys(COMMANDS));
});
