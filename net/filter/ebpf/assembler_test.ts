import assert from "node:assert/strict";
import { BpfProgram } from "../../os/bpf_linux.ts";
import { bpfMissing } from "../../../tests/support/bpf.ts";
import { testIf } from "../../../tests/support/requires.ts";
import { type AluOp, Assembler, type JmpOp, type Reg } from "./assembler.ts";

const FRAME = new Uint8Array(64);

/** The instructions that `write` makes, as hex. */
function encoded(write: (a: Assembler) => void): string {
  const a = new Assembler();
  write(a);
  return a.bytes().toHex();
}

// Written down by hand from the tables of RFC 9669: opcode, registers, offset, immediate.
const VECTORS: readonly [string, (a: Assembler) => void, string][] = [
  ["r1 = r2", (a) => a.mov("r1", "r2"), "bf21000000000000"],
  ["r0 = -1", (a) => a.mov("r0", -1), "b7000000ffffffff"],
  ["r3 += 258", (a) => a.add("r3", 258), "0703000002010000"],
  ["r3 -= r9", (a) => a.alu("sub", "r3", "r9"), "1f93000000000000"],
  ["r4 *= 17", (a) => a.alu("mul", "r4", 17), "2704000011000000"],
  ["r5 |= r6", (a) => a.alu("or", "r5", "r6"), "4f65000000000000"],
  ["r5 &= 15", (a) => a.alu("and", "r5", 15), "570500000f000000"],
  ["r1 <<= 3", (a) => a.alu("lsh", "r1", 3), "6701000003000000"],
  ["r1 >>= 63", (a) => a.alu("rsh", "r1", 63), "770100003f000000"],
  ["w2 ^= w7", (a) => a.alu32("xor", "r2", "r7"), "ac72000000000000"],
  ["w8 += 0xffffffff", (a) => a.alu32("add", "r8", 0xffffffff), "04080000ffffffff"],
  ["r1 = be16 r1", (a) => a.swap("r1", 16), "dc01000010000000"],
  ["r1 = be32 r1", (a) => a.swap("r1", 32), "dc01000020000000"],
  ["r1 = *(u32 *)(r6 + 16)", (a) => a.load("w", "r1", "r6", 16), "6161100000000000"],
  ["r1 = *(u16 *)(r10 - 66)", (a) => a.load("h", "r1", "r10", -66), "69a1beff00000000"],
  ["r1 = *(u8 *)(r2 + 0)", (a) => a.load("b", "r1", "r2", 0), "7121000000000000"],
  ["r1 = *(u64 *)(r2 + 8)", (a) => a.load("dw", "r1", "r2", 8), "7921080000000000"],
  ["*(u64 *)(r10 - 8) = r1", (a) => a.store("dw", "r10", -8, "r1"), "7b1af8ff00000000"],
  ["*(u16 *)(r10 - 66) = 69", (a) => a.store("h", "r10", -66, 69), "6a0abeff45000000"],
  ["lock *(u64 *)(r1 + 8) += r2", (a) => a.atomicAdd("r1", 8, "r2"), "db21080000000000"],
  ["r2 = fetch_add(r1 + 8)", (a) => a.atomicFetchAdd("r1", 8, "r2"), "db21080001000000"],
  ["call 26", (a) => a.call(26), "850000001a000000"],
  ["exit", (a) => a.exit(), "9500000000000000"],
  ["r8 = map value", (a) => a.mapValue("r8", 5), "18280000050000000000000000000000"],
];

for (const [text, write, hex] of VECTORS) {
  Deno.test(`N14: Assembler encodes ${text} as RFC 9669 has it`, () => {
    assert.equal(encoded(write), hex);
  });
}

Deno.test("N14: Assembler turns labels into distances, forwards and backwards", () => {
  const hex = encoded((a) => {
    a.label("again");
    a.jumpIf("eq", "r1", 5, "end");
    a.jumpIf32("ne", "r1", "r2", "again");
    a.jumpIf("gt", "r1", "r2", "end");
    a.jump("again");
    a.label("end");
    a.exit();
  });
  assert.deepEqual(hex.match(/.{16}/g), [
    "1501030005000000",
    "5e21feff00000000",
    "2d21010000000000",
    "0500fcff00000000",
    "9500000000000000",
  ]);
});

Deno.test("N14: Assembler refuses what does not fit, labels that are missing or there twice", () => {
  assert.throws(() => encoded((a) => a.jump("nowhere")), /no such label/);
  assert.throws(() => encoded((a) => a.mov("r1", 2 ** 32)), /want 32 bits/);
  assert.throws(() => encoded((a) => a.load("w", "r1", "r2", 32768)), /does not fit 16 bits/);
  const a = new Assembler();
  a.label("here");
  assert.throws(() => a.label("here"), /twice/);
  a.jump("far");
  for (let i = 0; i < 32768; i++) a.exit();
  a.label("far");
  assert.throws(() => a.bytes(), /distance to far/);
});

/** What the kernel leaves in r0 when it has run the instructions, 32 bits. */
function run(write: (a: Assembler) => void): number {
  const a = new Assembler();
  write(a);
  a.exit();
  using program = new BpfProgram("test", a.bytes());
  return program.trial(FRAME).result >>> 0;
}

testIf(bpfMissing, "N14: the kernel calculates what the assembler wrote", () => {
  const left = 0xcafe1234;
  const right = 13;
  const want: Readonly<Record<AluOp, bigint>> = {
    add: BigInt(left + right),
    sub: BigInt(left - right),
    mul: BigInt(left) * BigInt(right),
    or: BigInt(left) | BigInt(right),
    and: BigInt(left) & BigInt(right),
    xor: BigInt(left) ^ BigInt(right),
    lsh: BigInt(left) << BigInt(right),
    rsh: BigInt(left) >> BigInt(right),
    mov: BigInt(right),
  };
  for (const [name, value] of Object.entries(want)) {
    const op = name as AluOp;
    for (const operand of [right, "r2"] as const) {
      const result = (wide: boolean): number =>
        run((a) => {
          a.alu32("mov", "r0", left);
          a.mov("r2", right);
          if (wide) a.alu(op, "r0", operand);
          else a.alu32(op, "r0", operand);
        });
      assert.equal(result(false), Number(value & 0xffffffffn), `${name} ${operand}, 32 bits`);
      assert.equal(result(true), Number(value & 0xffffffffn), `${name} ${operand}, 64 bits`);
    }
  }
  assert.equal(run((a) => (a.mov("r0", 0x1234), a.swap("r0", 16))), 0x3412);
  assert.equal(run((a) => (a.mov("r0", 0x12345678), a.swap("r0", 32))), 0x78563412);
});

testIf(bpfMissing, "N14: the kernel compares and jumps as the assembler wrote", () => {
  const want: Readonly<Record<JmpOp, (a: number, b: number) => boolean>> = {
    eq: (a, b) => a === b,
    ne: (a, b) => a !== b,
    gt: (a, b) => a > b,
    ge: (a, b) => a >= b,
    lt: (a, b) => a < b,
    le: (a, b) => a <= b,
    set: (a, b) => (a & b) !== 0,
  };
  for (const [name, holds] of Object.entries(want)) {
    for (const [left, right] of [[5, 5], [5, 6], [6, 5], [8, 7], [0, 1]] as const) {
      for (const operand of [right, "r2"] as const satisfies (number | Reg)[]) {
        for (const method of ["jumpIf", "jumpIf32"] as const) {
          const jumped = run((a) => {
            a.mov("r1", left);
            a.mov("r2", right);
            a.mov("r0", 1);
            a[method](name as JmpOp, "r1", operand, "end");
            a.mov("r0", 0);
            a.label("end");
          });
          assert.equal(jumped === 1, holds(left, right), `${method} ${left} ${name} ${operand}`);
        }
      }
    }
  }
});
