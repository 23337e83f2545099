import assert from "node:assert/strict";
import { type Config, newConfig, withLend } from "../lib/core/config.ts";
import { LEND_SETTINGS, lendSetting } from "./lend_settings.ts";

const FIRST = newConfig(0);

function set(config: Config, name: string, text?: string): Config {
  return withLend(config, name, lendSetting(name).change(config.lend, text));
}

Deno.test.each([
  ["vms", "3", "3"],
  ["cpus", "2", "2"],
  ["memory", "2G", "2048 MiB"],
  ["disk", "1T", "1024 GiB"],
  ["vm-cpus", "2", "2"],
  ["vm-memory", "2G", "2048 MiB"],
  ["vm-disk", "20", "20 GiB"],
  ["vm-ttl", "240m", "4h"],
  ["ttl-required", "yes", "yes"],
  ["borrower-vms", "1", "1"],
  ["modes", "filtered,conntrack,filtered", "filtered,conntrack"],
  ["modes", "filtered,direct", "filtered,direct"],
  ["sample-rate", "0.25", "0.25"],
  ["reserve-cpus", "1", "1"],
  ["reserve-memory", "4G", "4096 MiB"],
  ["rogue-action", "end", "end"],
  ["rogue-per-minute", "10", "10"],
  ["rogue-per-hour", "20", "20"],
  ["rogue-destinations", "64", "64"],
  ["rogue-spoofed", "1", "1"],
  ["tunnel-timeout", "300s", "5m"],
  ["tunnel-timeout", "off", "off"],
])(
  "LEND_SETTINGS: '%s' takes '%s', shows it, and is as at first afterwards",
  (name, text, shown) => {
    const { show } = lendSetting(name);
    const other = set(FIRST, name === "vms" ? "cpus" : "vms", "5");
    const changed = set(other, name, text);
    assert.equal(show(changed.lend), shown);
    assert.notEqual(show(FIRST.lend), shown);
    // What JSON leaves out is what counts: that is what the file holds.
    assert.equal(JSON.stringify(set(changed, name)), JSON.stringify(other));
  },
);

Deno.test("LEND_SETTINGS keeps the other settings of a group", () => {
  const both = set(set(FIRST, "vm-cpus", "2"), "vm-memory", "1024");
  assert.deepEqual(both.lend.perVm, { cpus: 2, memoryMiB: 1024, ttlRequired: false });
});

Deno.test("LEND_SETTINGS takes 0 for what the host keeps", () => {
  const changed = set(set(FIRST, "reserve-cpus", "1"), "reserve-cpus", "0");
  assert.deepEqual(changed.lend.reserve, FIRST.lend.reserve);
});

Deno.test("LEND_SETTINGS refuses values that the file could not hold", () => {
  for (const name of LEND_SETTINGS.keys()) {
    for (const text of ["", "many", "-1", "1e3", " 1", "default "]) {
      assert.throws(() => set(FIRST, name, text), { code: "bad-option", exit: 2 }, name);
    }
  }
  assert.throws(() => set(FIRST, "vm-memory", "100"), /Cannot set vm-memory: .*256/);
  assert.throws(() => set(FIRST, "modes", "filtered,none"), /Cannot set modes: .*filtered/);
  assert.throws(() => set(FIRST, "sample-rate", "0.0"), { code: "bad-option" });
  assert.throws(() => set(FIRST, "rogue-destinations", "65"), /Cannot set rogue-dest.*64/);
  assert.throws(() => set(FIRST, "tunnel-timeout", "29s"), /Cannot set tunnel-timeout: .*30/);
  assert.throws(() => set(FIRST, "vms", "0"), { code: "bad-option" });
  assert.throws(() => set(FIRST, "load", "1"), { message: /there is no such setting/, exit: 2 });
});
