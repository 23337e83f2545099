import assert from "node:assert/strict";
import fc from "fast-check";
import { hostNow, takenMemory, touchedIn } from "./host_now.ts";

/** Of a guest with 1024 MiB under QEMU without acceleration: its memory, and translated code. */
const SMAPS = `\
7fe767e00000-7fe7a7e00000 rw-p 00000000 00:00 0 
Size:            1048576 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:              147456 kB
Pss:              147456 kB
VmFlags: rd wr mr mw me dc ac sd hg 
7fe7a7fff000-7fe7e7fff000 rwxp 00000000 00:00 0 
Size:            1048576 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:               81920 kB
Pss:               81920 kB
VmFlags: rd wr ex mr mw me dc ac sd 
7fe7e8000000-7fe7e8021000 rw-p 00000000 00:00 0 
Size:                132 kB
Rss:                 100 kB
`;

Deno.test("hostNow() finds processors and memory", () => {
  const { cpus, memoryMiB } = hostNow();
  assert.ok(cpus >= 1);
  assert.ok(memoryMiB > 0 && memoryMiB <= Deno.systemMemoryInfo().total / 2 ** 20);
});

Deno.test("touchedIn() finds the guest's memory among the mappings of QEMU", () => {
  assert.equal(touchedIn(SMAPS, 1024), 144);
  assert.equal(touchedIn(SMAPS, 512), 0, "there is no mapping of that size");
  assert.equal(touchedIn(SMAPS.replaceAll("rwxp", "rw-p"), 1024), 80, "the least counts");
});

Deno.test("touchedIn() is never more than the memory, and never throws on any text", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    assert.equal(touchedIn(text, 1024), 0);
  }));
});

Deno.test("takenMemory() is 0 when there is no such process, or no memory of that size in it", () => {
  assert.equal(takenMemory(undefined, 1024), 0);
  assert.equal(takenMemory(2 ** 22 + 1, 1024), 0);
  assert.equal(takenMemory(Deno.pid, 12_345), 0);
});
