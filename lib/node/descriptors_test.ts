import assert from "node:assert/strict";
import { OmertaError } from "../core/errors.ts";
import { plainly } from "./descriptors.ts";

const RUNTIME = new Error("Too many open files (os error 24)");

Deno.test.each([
  { what: "the runtime's", error: RUNTIME },
  { what: "QEMU's", error: new Error("Cannot open 'disk': Too many open files") },
  { what: "ours", error: new OmertaError("cable-failed", "Cannot open the socket /x: EMFILE") },
  {
    what: "one underneath",
    error: new OmertaError("no-rules", "Cannot lend now", {
      cause: new Error("Cannot read it", { cause: RUNTIME }),
    }),
  },
])("N16: plainly() says of $what error that there are no descriptors", ({ error }) => {
  const said = plainly(error);
  assert.ok(said instanceof OmertaError);
  assert.deepEqual([said.code, said.exit, said.cause], ["no-descriptors", 5, error]);
  assert.match(said.next ?? "", /ulimit -n/);
});

Deno.test("plainly() leaves every other error as it is", () => {
  const loop = new Error("Permission denied (os error 13)");
  loop.cause = loop;
  for (const error of [loop, new Error("EMFILES"), "EMFILE", undefined]) {
    assert.equal(plainly(error), error);
  }
});
