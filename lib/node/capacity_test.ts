import assert from "node:assert/strict";
import { capacityOf } from "./capacity.ts";

Deno.test("capacityOf() lends half of the memory of this host unless told otherwise", () => {
  const lend = { diskGiB: 100, vms: 8 };
  assert.ok(capacityOf(lend).memoryMiB > 0);
  assert.equal(capacityOf({ ...lend, cpus: 1, memoryMiB: 512 }).memoryMiB, 512);
});
