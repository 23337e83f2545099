import assert from "node:assert/strict";
import { attachTcx, BpfProgram, BpfValue, TC_ACT } from "./bpf_linux.ts";
import { bpfMissing } from "../../tests/support/bpf.ts";
import { testIf } from "../../tests/support/requires.ts";

/** r0 = 2; exit */
const DROP = Uint8Array.fromHex("b700000002000000" + "9500000000000000");

testIf(bpfMissing, "N14: BpfValue keeps what is written, all zero at first", () => {
  using value = new BpfValue("omtest", 12);
  assert.equal(value.read().getUint32(8, true), 0);
  value.write(Uint8Array.fromHex("0102030405060708090a0b0c"));
  assert.equal(value.read().getUint32(8), 0x090a0b0c);
  assert.throws(() => value.write(new Uint8Array(13)), RangeError);
});

testIf(bpfMissing, "N14: BpfProgram runs on a packet and gives it back", () => {
  using program = new BpfProgram("omtest", DROP);
  const packet = Uint8Array.from({ length: 100 }, (_, i) => i);
  const { result, packet: after, ns } = program.trial(packet, 1000);
  assert.deepEqual([result, after], [TC_ACT.SHOT, packet]);
  assert.ok(ns >= 0);
  assert.throws(() => program.trial(new Uint8Array(13)), { code: "bpf-failed" });
});

testIf(bpfMissing, "N14: BpfProgram names what the verifier does not take", () => {
  assert.throws(() => new BpfProgram("omtest", DROP.subarray(0, 8)), {
    code: "bpf-failed",
    message: /^Cannot load the kernel program omtest: EINVAL: .*last insn is not an exit or jmp/s,
  });
  // r0 = *(u32 *)(r5 + 0): nobody has set r5
  const wild = Uint8Array.fromHex("6150000000000000" + "9500000000000000");
  assert.throws(() => new BpfProgram("omtest", wild), { message: /R5 !read_ok/ });
});

testIf(bpfMissing, "N14: attachTcx() refuses an interface that is not there", () => {
  using program = new BpfProgram("omtest", DROP);
  assert.throws(() => attachTcx(program, 0x7fffffff), { code: "bpf-failed" });
});
