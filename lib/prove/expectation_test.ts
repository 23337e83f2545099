import assert from "node:assert/strict";
import { VmMode } from "../node/messages.ts";
import { endsVm, isUnsealed } from "./expectation.ts";

Deno.test("endsVm() knows which modes end a VM for a frame to a stranger", () => {
  assert.deepEqual(
    VmMode.options.filter(endsVm),
    ["conntrack", "sampled"],
  );
});

Deno.test("isUnsealed() knows which modes give a VM a card that no filter sees", () => {
  assert.deepEqual(VmMode.options.filter(isUnsealed), ["direct"]);
});
