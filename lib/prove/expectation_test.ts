import assert from "node:assert/strict";
import { endsVm } from "./expectation.ts";

Deno.test("endsVm() knows which modes end a VM for a frame to a stranger", () => {
  assert.deepEqual(
    (["filtered", "conntrack", "sampled"] as const).map((mode) => `${mode} ${endsVm(mode)}`),
    ["filtered false", "conntrack true", "sampled true"],
  );
});
