/**
 * An assembler for the instruction set of RFC 9669, as far as the filter needs it.
 *
 * ```
 * 0        1        2                 4                                 8
 * +--------+---+----+-----------------+---------------------------------+
 * | opcode |src| dst| offset          | imm                             |   little-endian
 * +--------+---+----+-----------------+---------------------------------+
 * ```
 *
 * An operand that is a register's name is a register, a number is an immediate, which the machine
 * extends by its sign. Jumps name a label; {@link Assembler.bytes} turns names into distances.
 *
 * @module
 */

/** A register; `r10` is the frame pointer and cannot be written. */
export type Reg = "r0" | "r1" | "r2" | "r3" | "r4" | "r5" | "r6" | "r7" | "r8" | "r9" | "r10";
/** Width of a load or store: 1, 2, 4 or 8 bytes. */
export type Size = "b" | "h" | "w" | "dw";

/** Section 4.1, the codes of arithmetic. */
const ALU = {
  add: 0x00,
  sub: 0x10,
  mul: 0x20,
  or: 0x40,
  and: 0x50,
  lsh: 0x60,
  rsh: 0x70,
  xor: 0xa0,
  mov: 0xb0,
} as const;
/** Section 4.3, the codes of jumps; comparisons are unsigned. */
const JMP = {
  eq: 0x10,
  gt: 0x20,
  ge: 0x30,
  set: 0x40,
  ne: 0x50,
  lt: 0xa0,
  le: 0xb0,
} as const;
/** Section 5. */
const SIZE: Readonly<Record<Size, number>> = { w: 0x00, h: 0x08, b: 0x10, dw: 0x18 };
/** Section 3, the classes. */
const CLASS = { ld: 0, ldx: 1, st: 2, stx: 3, alu: 4, jmp: 5, jmp32: 6, alu64: 7 } as const;
const MODE_MEM = 0x60;
const MODE_ATOMIC = 0xc0;
const SOURCE_REG = 0x08;
const ATOMIC_ADD = 0x00;
const ATOMIC_FETCH = 0x01;
const OP_END_TO_BE = 0xdc;
const OP_JA = 0x05;
const OP_CALL = 0x85;
const OP_EXIT = 0x95;
const OP_LD_IMM64 = 0x18;
/** Section 5.4: the first value of the map with this descriptor, plus an offset. */
const PSEUDO_MAP_VALUE = 2;
const INSN_LEN = 8;

/** Arithmetic. */
export type AluOp = keyof typeof ALU;
/** A comparison. */
export type JmpOp = keyof typeof JMP;

function numberOf(reg: Reg): number {
  return Number(reg.slice(1));
}

/** Collects instructions. */
export class Assembler {
  readonly #code: number[][] = [];
  readonly #labels = new Map<string, number>();
  readonly #jumps: { at: number; label: string }[] = [];

  /** Instructions so far. */
  get length(): number {
    return this.#code.length;
  }

  /** Names the next instruction. @throws {RangeError} When the name is taken. */
  label(name: string): void {
    if (this.#labels.has(name)) throw new RangeError(`Cannot place label ${name} twice`);
    this.#labels.set(name, this.#code.length);
  }

  /** 64-bit arithmetic: `dst = dst op src`. */
  alu(op: AluOp, dst: Reg, src: Reg | number): void {
    this.#operate(CLASS.alu64 | ALU[op], dst, src, 0);
  }

  /** 32-bit arithmetic; clears the upper half of `dst`. */
  alu32(op: AluOp, dst: Reg, src: Reg | number): void {
    this.#operate(CLASS.alu | ALU[op], dst, src, 0);
  }

  /** `dst = src`. */
  mov(dst: Reg, src: Reg | number): void {
    this.alu("mov", dst, src);
  }

  /** `dst = dst + src`. */
  add(dst: Reg, src: Reg | number): void {
    this.alu("add", dst, src);
  }

  /** Turns the lower 16 or 32 bits of a register between this host's order and the network's. */
  swap(dst: Reg, bits: 16 | 32): void {
    this.#emit(OP_END_TO_BE, numberOf(dst), 0, 0, bits);
  }

  /** `dst = *(src + offset)`. */
  load(size: Size, dst: Reg, src: Reg, offset: number): void {
    this.#emit(CLASS.ldx | MODE_MEM | SIZE[size], numberOf(dst), numberOf(src), offset, 0);
  }

  /** `*(base + offset) = src`. */
  store(size: Size, base: Reg, offset: number, src: Reg | number): void {
    const op = MODE_MEM | SIZE[size];
    if (typeof src === "number") this.#emit(CLASS.st | op, numberOf(base), 0, offset, src);
    else this.#emit(CLASS.stx | op, numberOf(base), numberOf(src), offset, 0);
  }

  /** `*(base + offset) += src`, 64 bits, at once for all processors. */
  atomicAdd(base: Reg, offset: number, src: Reg): void {
    const op = CLASS.stx | MODE_ATOMIC | SIZE.dw;
    this.#emit(op, numberOf(base), numberOf(src), offset, ATOMIC_ADD);
  }

  /** The same, and `src` becomes what was there before. */
  atomicFetchAdd(base: Reg, offset: number, src: Reg): void {
    const op = CLASS.stx | MODE_ATOMIC | SIZE.dw;
    this.#emit(op, numberOf(base), numberOf(src), offset, ATOMIC_ADD | ATOMIC_FETCH);
  }

  /** Goes on at `label`. */
  jump(label: string): void {
    this.#jumps.push({ at: this.#code.length, label });
    this.#emit(OP_JA, 0, 0, 0, 0);
  }

  /** Goes on at `label` when the comparison of 64 bits holds. */
  jumpIf(op: JmpOp, dst: Reg, src: Reg | number, label: string): void {
    this.#jumps.push({ at: this.#code.length, label });
    this.#operate(CLASS.jmp | JMP[op], dst, src, 0);
  }

  /** The same with the lower 32 bits: for values whose highest bit may be set. */
  jumpIf32(op: JmpOp, dst: Reg, src: Reg | number, label: string): void {
    this.#jumps.push({ at: this.#code.length, label });
    this.#operate(CLASS.jmp32 | JMP[op], dst, src, 0);
  }

  /** Calls a helper of the kernel; `r0` is its result, `r1` to `r5` are lost. */
  call(helper: number): void {
    this.#emit(OP_CALL, 0, 0, 0, helper);
  }

  /** Ends the program with `r0`. */
  exit(): void {
    this.#emit(OP_EXIT, 0, 0, 0, 0);
  }

  /** `dst` = address of the only value of a map. */
  mapValue(dst: Reg, mapFd: number): void {
    this.#emit(OP_LD_IMM64, numberOf(dst), PSEUDO_MAP_VALUE, 0, mapFd);
    this.#emit(0, 0, 0, 0, 0);
  }

  /** The program. @throws {RangeError} When a label is missing or too far away. */
  bytes(): Uint8Array<ArrayBuffer> {
    for (const { at, label } of this.#jumps) {
      const target = this.#labels.get(label);
      if (target === undefined) throw new RangeError(`Cannot jump to ${label}: no such label`);
      const insn = this.#code[at];
      if (insn !== undefined) insn[2] = fitting(target - at - 1, 16, `distance to ${label}`);
    }
    const out = new Uint8Array(new ArrayBuffer(this.#code.length * INSN_LEN));
    const view = new DataView(out.buffer);
    this.#code.forEach(([opcode = 0, registers = 0, offset = 0, imm = 0], i) => {
      view.setUint8(i * INSN_LEN, opcode);
      view.setUint8(i * INSN_LEN + 1, registers);
      view.setInt16(i * INSN_LEN + 2, offset, true);
      view.setInt32(i * INSN_LEN + 4, imm, true);
    });
    return out;
  }

  #operate(opcode: number, dst: Reg, src: Reg | number, offset: number): void {
    if (typeof src === "number") this.#emit(opcode, numberOf(dst), 0, offset, src);
    else this.#emit(opcode | SOURCE_REG, numberOf(dst), numberOf(src), offset, 0);
  }

  #emit(opcode: number, dst: number, src: number, offset: number, imm: number): void {
    // An immediate may be given signed or as the same 32 bits unsigned.
    if (imm > 0xffffffff || imm < -0x80000000) {
      throw new RangeError(`Cannot encode immediate ${imm}: want 32 bits`);
    }
    this.#code.push([opcode, src << 4 | dst, fitting(offset, 16, "offset"), imm | 0]);
  }
}

function fitting(value: number, bits: number, what: string): number {
  const limit = 2 ** (bits - 1);
  if (value >= -limit && value < limit) return value;
  throw new RangeError(`Cannot encode ${what}: ${value} does not fit ${bits} bits`);
}
