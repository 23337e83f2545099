import assert from "node:assert/strict";
import { newVmId } from "../core/ids.ts";
import { EndedVms, MAX_ENDED } from "./ended_vms.ts";

Deno.test("N13: EndedVms tells only the machine that had borrowed a VM why it was ended", () => {
  const ended = new EndedVms();
  const [a, b] = [newVmId(), newVmId()];
  ended.add({ id: a, machine: "mine" }, "its tunnel was lost");
  ended.add({ id: b, machine: "theirs" }, "its time is over");
  const ids = [newVmId(), a, b, "x"];
  assert.deepEqual(ended.of("mine", ids).map(({ reason }) => reason), ["its tunnel was lost"]);
  assert.deepEqual(ended.of("theirs", ids).map(({ reason }) => reason), ["its time is over"]);
  assert.deepEqual(ended.of("nobody", ids), []);
});

Deno.test("N13: EndedVms forgets the VM that ended first at its cap", () => {
  const ended = new EndedVms();
  const ids = Array.from({ length: MAX_ENDED + 1 }, newVmId);
  for (const id of ids) ended.add({ id, machine: "mine" }, id);
  assert.deepEqual(ended.of("mine", ids).map(({ reason }) => reason), ids.slice(1));
});
