import assert from "node:assert/strict";
import { join } from "node:path";
import {
  chooseAccelerator,
  hasVirtualisationFlag,
  type HostFacts,
  hostFacts,
  rememberBrokenKvm,
} from "./accelerator.ts";

const GOOD: HostFacts = {
  os: "linux",
  arch: "x86_64",
  processorFlags: true,
  kvm: "opens",
  kvmBroken: false,
};

Deno.test("V1: chooseAccelerator() takes KVM when flags and device are there", () => {
  assert.deepEqual(chooseAccelerator(GOOD, "x86_64"), { accelerator: "kvm", warning: undefined });
});

Deno.test("V1: chooseAccelerator() takes HVF on macOS", () => {
  const mac: HostFacts = { ...GOOD, os: "darwin", arch: "aarch64", kvm: "not-tried" };
  assert.equal(chooseAccelerator(mac, "aarch64").accelerator, "hvf");
  assert.equal(chooseAccelerator(mac, "x86_64").accelerator, "tcg");
});

Deno.test.each<{ facts: Partial<HostFacts>; why: RegExp; name: string }>([
  {
    name: "no flags, though the device opens",
    facts: { processorFlags: false },
    why: /vmx nor svm/,
  },
  { name: "no device", facts: { kvm: "missing" }, why: /missing/ },
  { name: "no right", facts: { kvm: "denied" }, why: /group kvm/ },
  { name: "KVM failed before", facts: { kvmBroken: true }, why: /hung/ },
  { name: "another system", facts: { os: "freebsd" }, why: /freebsd/ },
  { name: "another processor", facts: { arch: "aarch64" }, why: /aarch64/ },
])("V1: chooseAccelerator() falls back to TCG with a warning: $name", ({ facts, why }) => {
  const choice = chooseAccelerator({ ...GOOD, ...facts }, "x86_64");
  assert.equal(choice.accelerator, "tcg");
  assert.match(choice.warning ?? "", why);
});

Deno.test("hasVirtualisationFlag() reads whole words of the flags line", () => {
  assert.equal(hasVirtualisationFlag("processor : 0\nflags\t\t: fpu vmx sse\n"), true);
  assert.equal(hasVirtualisationFlag("flags\t\t: fpu svm\n"), true);
  assert.equal(hasVirtualisationFlag("flags : fpu svm_lock avmx\nmodel name : vmx\n"), false);
});

Deno.test("hostFacts() remembers a host whose KVM does not work", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = join(folder, "accelerator");
    assert.equal((await hostFacts(file)).kvmBroken, false);
    await rememberBrokenKvm(file);
    assert.equal((await hostFacts(file)).kvmBroken, true);
    await Deno.writeTextFile(file, "kvm-broken 0.0.0-other\n");
    assert.equal((await hostFacts(file)).kvmBroken, false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
