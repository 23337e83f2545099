import assert from "node:assert/strict";
import type { RogueAlarm } from "../../net/filter/rogue.ts";
import { newVmId, type PeerId } from "../core/ids.ts";
import { type AlarmedVm, Alarms, MAX_ALARMS } from "./alarms.ts";

const vm = (name: string): AlarmedVm => ({
  vm: newVmId(),
  name,
  borrower: "0123456789abcdef" as PeerId,
});
const alarm = (kind: RogueAlarm["kind"], time: number): RogueAlarm => ({
  ...{ kind, time, frames: time, destinations: 2, frame: `frame ${time} (port)` },
});

Deno.test("N12: Alarms keeps one of each kind for each VM, with its first and last time", () => {
  const alarms = new Alarms();
  const [a, b] = [vm("a"), vm("b")];
  alarms.raise(a, alarm("scan", 1), "it scans");
  alarms.raise(b, alarm("scan", 2), "it scans");
  alarms.raise(a, alarm("flood", 3), "it floods");
  alarms.raise(a, alarm("scan", 4), "it scans again");
  assert.deepEqual(alarms.list().map(({ name, kind }) => `${name} ${kind}`), [
    ...["b scan", "a flood", "a scan"],
  ]);
  assert.deepEqual(alarms.list("a")[1], {
    ...a,
    ...{ kind: "scan", words: "it scans again", first: 1, last: 4, times: 2 },
    ...{ frames: 4, destinations: 2, frame: "frame 4 (port)" },
  });
  assert.deepEqual(alarms.list(b.vm.slice(0, 10)).map(({ name }) => name), ["b"]);
  assert.deepEqual(alarms.list("none"), []);
});

Deno.test("N12: Alarms.clear() forgets what it returns and nothing else", () => {
  const alarms = new Alarms();
  const [a, b] = [vm("a"), vm("b")];
  for (const one of [a, b]) alarms.raise(one, alarm("scan", 1), "it scans");
  assert.deepEqual(alarms.clear("none"), []);
  assert.deepEqual(alarms.clear("a").map(({ name }) => name), ["a"]);
  assert.deepEqual(alarms.list().map(({ name }) => name), ["b"]);
  alarms.raise(a, alarm("scan", 9), "it scans");
  assert.deepEqual(alarms.list("a").map(({ first, times }) => [first, times]), [[9, 1]]);
  assert.equal(alarms.clear().length, 2);
  assert.deepEqual(alarms.list(), []);
});

Deno.test("N12: Alarms makes room for a new alarm by forgetting the one raised longest ago", () => {
  const alarms = new Alarms();
  const first = vm("first");
  alarms.raise(first, alarm("scan", 0), "");
  for (let i = 1; i < MAX_ALARMS; i++) alarms.raise(vm(`vm-${i}`), alarm("scan", i), "");
  alarms.raise(first, alarm("scan", MAX_ALARMS), "");
  alarms.raise(vm("last"), alarm("scan", MAX_ALARMS + 1), "");
  const names = alarms.list().map(({ name }) => name);
  assert.equal(names.length, MAX_ALARMS);
  assert.deepEqual([names[0], names.at(-2), names.at(-1)], ["vm-2", "first", "last"]);
});
