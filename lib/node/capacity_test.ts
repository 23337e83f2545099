import assert from "node:assert/strict";
import { capacityOf, checkCapacity } from "./capacity.ts";

const CAPACITY = { cpus: 4, memoryMiB: 4096, diskGiB: 40, vms: 2 };
const SMALL = { cpus: 1, memoryMiB: 1024, diskGiB: 10 };

Deno.test("checkCapacity() lets in what fits to the last unit", () => {
  checkCapacity(CAPACITY, [], { cpus: 4, memoryMiB: 4096, diskGiB: 40 });
  checkCapacity(CAPACITY, [SMALL], { cpus: 3, memoryMiB: 3072, diskGiB: 30 });
});

Deno.test("F9: checkCapacity() names the limit, what is free and what to ask for", () => {
  const refused = (used: readonly (typeof SMALL)[], wanted: typeof SMALL, text: RegExp): void =>
    assert.throws(() => checkCapacity(CAPACITY, used, wanted), text);
  refused([SMALL], { ...SMALL, cpus: 4 }, /4 of processors: 3 of 4 are free/);
  refused([], { ...SMALL, memoryMiB: 8192 }, /8192 MiB of memory: 4096 MiB of 4096 MiB are free/);
  refused([], { ...SMALL, diskGiB: 41 }, /41 GiB of disk/);
  refused([SMALL, SMALL], SMALL, /2 of 2 are lent/);
  refused([], { ...SMALL, memoryMiB: 96 }, /96 MiB of memory: 256 MiB is the least/);
});

Deno.test("capacityOf() lends half of the memory of this host unless told otherwise", () => {
  const lend = { diskGiB: 100, vms: 8 };
  assert.ok(capacityOf(lend).memoryMiB > 0);
  assert.equal(capacityOf({ ...lend, cpus: 1, memoryMiB: 512 }).memoryMiB, 512);
});
