import assert from "node:assert/strict";
import { commandMissing, testIf } from "../tests/support/requires.ts";
import { chooseHypervisor } from "./choose_hypervisor.ts";
import { Qemu } from "./qemu.ts";
import { Vfkit } from "./vfkit.ts";

Deno.test("V2: chooseHypervisor() takes QEMU where there is no vfkit", async () => {
  assert.ok(await chooseHypervisor("linux") instanceof Qemu);
});

testIf(commandMissing("vfkit"), "V2: chooseHypervisor() takes vfkit on macOS", async () => {
  assert.ok(await chooseHypervisor("darwin") instanceof Vfkit);
});
