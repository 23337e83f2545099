/**
 * The bpf(2) system call: maps, programs and links of the kernel's own virtual machine (RFC 9669),
 * each owned and closed once. Layouts are those of `union bpf_attr` in linux/bpf.h; every field not
 * named here is zero.
 *
 * What the kernel still uses lives on after its descriptor is closed: a program as long as it is
 * attached, a map as long as a program refers to it. A link is the other way round: closing it,
 * also by the end of the process, detaches its program.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { addressOf, cString, ERRNO, errnoName, Fd, fixedBytes, needLibc } from "./libc.ts";

/** Number of the system call (asm/unistd.h). */
const NR_BPF = Deno.build.arch === "aarch64" ? 280n : 321n;
/** Bytes of `union bpf_attr` that are handed over; the kernel takes what it knows of them. */
const ATTR_LEN = 128;

const CMD = {
  mapCreate: 0,
  mapLookup: 1,
  mapUpdate: 2,
  progLoad: 5,
  progTestRun: 10,
  linkCreate: 28,
} as const;
const MAP_TYPE_ARRAY = 2;
const PROG_TYPE_SCHED_CLS = 3;
/** Attach type of a TC program by link, at the entrance of an interface; Linux 6.6 and later. */
const TCX_INGRESS = 46;
/** Longest name of a map or program, with its final zero (BPF_OBJ_NAME_LEN). */
const NAME_LEN = 16;
/** Room for the verifier's words, in bytes. */
const LOG_LEN = 1 << 20;
/** Lines of the verifier's words in an error. */
const LOG_LINES = 6;
/** Bytes of one instruction. */
const INSN_LEN = 8;
/** Longest packet of a trial run, in bytes. */
const TRIAL_LEN = 4096;
/** Bytes of `struct __sk_buff` up to and with `gso_size`, and where that is. */
const SKB_LEN = 180;
const SKB_GSO_SIZE = 176;

/** What a TC program returns (linux/pkt_cls.h). */
export const TC_ACT = {
  /** As if it had not been there: the next program is asked, then the stack. */
  UNSPEC: -1,
  /** The packet goes on; no other program is asked. */
  OK: 0,
  /** The packet is dropped. */
  SHOT: 2,
  /** The packet goes where a redirect helper said. */
  REDIRECT: 7,
} as const;

function call(cmd: number, attr: Uint8Array<ArrayBuffer>, what: string): number {
  const c = needLibc(what);
  const result = c.call.syscall(NR_BPF, cmd, attr, ATTR_LEN);
  if (result >= 0) return result;
  throw failed(what, c.errno(), "");
}

function failed(what: string, errno: number, log: string): OmertaError {
  const message = `Cannot ${what}: ${errnoName(errno)}${log === "" ? "" : `: ${log}`}`;
  if (errno === ERRNO.EPERM || errno === ERRNO.EACCES && log === "") {
    return new OmertaError("bpf-forbidden", message, {
      exit: EXIT.missing,
      next: "Run as root, or with the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
    });
  }
  return new OmertaError("bpf-failed", message);
}

function attributes(name = "", at = 0): { bytes: Uint8Array<ArrayBuffer>; view: DataView } {
  const bytes = fixedBytes(ATTR_LEN);
  bytes.set(new TextEncoder().encode(name).subarray(0, NAME_LEN - 1), at);
  return { bytes, view: new DataView(bytes.buffer) };
}

function owned(number: number): Fd {
  return new Fd(needLibc("own a descriptor"), number);
}

/** An array map with one value, which programs read and write in place. */
export class BpfValue implements Disposable {
  /** Bytes of the value. */
  readonly size: number;
  readonly #fd: Fd;
  readonly #key = fixedBytes(4);
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #attr = attributes();

  /**
   * Makes the map, its value all zero.
   *
   * @param name For people who list the maps of the kernel; at most 15 bytes are kept.
   * @throws {OmertaError} `bpf-forbidden`, `bpf-failed`.
   */
  constructor(name: string, size: number) {
    const { bytes, view } = attributes(name, 28);
    view.setUint32(0, MAP_TYPE_ARRAY, true);
    view.setUint32(4, 4, true);
    view.setUint32(8, size, true);
    view.setUint32(12, 1, true);
    this.#fd = owned(call(CMD.mapCreate, bytes, `make the kernel map ${name}`));
    this.size = size;
    this.#buffer = fixedBytes(size);
    this.#attr.view.setUint32(0, this.#fd.number, true);
    this.#attr.view.setBigUint64(8, addressOf(this.#key), true);
    this.#attr.view.setBigUint64(16, addressOf(this.#buffer), true);
  }

  /** Its descriptor, for programs that refer to it. */
  get fd(): number {
    return this.#fd.number;
  }

  /** The value now: a view that the next call overwrites. */
  read(): DataView<ArrayBuffer> {
    call(CMD.mapLookup, this.#attr.bytes, "read a kernel map");
    return new DataView(this.#buffer.buffer);
  }

  /** Replaces the value; a program that runs meanwhile may see some of it replaced and some not. */
  write(value: Uint8Array): void {
    this.#buffer.set(value);
    call(CMD.mapUpdate, this.#attr.bytes, "write a kernel map");
  }

  /** Closes the descriptor; the map goes when no program refers to it. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

/** What a trial run gives. */
export interface TrialResult {
  /** What the program returned, signed. */
  readonly result: number;
  /** The packet as the program left it. */
  readonly packet: Uint8Array;
  /** Time of one run, in ns; the mean of all. */
  readonly ns: number;
}

/**
 * Runs a program on packets, as BPF_PROG_TEST_RUN does: helpers change the packet and the maps, but
 * nothing is sent.
 */
export class BpfTrial {
  /** Where the packet is written; at most {@link TRIAL_LEN} bytes. */
  readonly packet: Uint8Array<ArrayBuffer> = fixedBytes(TRIAL_LEN);
  /** The packet as the program left it. */
  readonly after: Uint8Array<ArrayBuffer> = fixedBytes(TRIAL_LEN);
  readonly #context = fixedBytes(SKB_LEN);
  readonly #attr = attributes();
  readonly #syscall = needLibc("try a program").call.syscall;

  /**
   * Prepares trials.
   *
   * @param fd Descriptor of the program, which somebody else owns.
   */
  constructor(fd: number) {
    const { view } = this.#attr;
    view.setUint32(0, fd, true);
    view.setBigUint64(16, addressOf(this.packet), true);
    view.setBigUint64(24, addressOf(this.after), true);
    view.setUint32(40, SKB_LEN, true);
    view.setBigUint64(48, addressOf(this.#context), true);
  }

  /** Runs it on the first `length` bytes; whether the kernel did. Allocates nothing. */
  run(length: number, repeat = 1, gsoSize = 0): boolean {
    const { bytes, view } = this.#attr;
    view.setUint32(8, length, true);
    view.setUint32(12, TRIAL_LEN, true);
    view.setUint32(32, repeat, true);
    this.#context.fill(0);
    this.#context[SKB_GSO_SIZE] = gsoSize;
    this.#context[SKB_GSO_SIZE + 1] = gsoSize >>> 8;
    return this.#syscall(NR_BPF, CMD.progTestRun, bytes, ATTR_LEN) >= 0;
  }

  /** What the program returned at its last run, signed. */
  get result(): number {
    return this.#attr.view.getInt32(4, true);
  }

  /** Length of the packet as the last run left it. */
  get length(): number {
    return this.#attr.view.getUint32(12, true);
  }

  /** Time of one run, in ns; the mean of all. */
  get ns(): number {
    return this.#attr.view.getUint32(36, true);
  }
}

/** A TC program that the kernel has checked and accepted. */
export class BpfProgram implements Disposable {
  readonly #fd: Fd;
  #trial: BpfTrial | undefined;

  /**
   * Loads a program.
   *
   * @param name For people who list the programs of the kernel; at most 15 bytes are kept.
   * @param code Instructions of 8 bytes.
   * @throws {OmertaError} `bpf-forbidden`; `bpf-failed` with the verifier's last lines.
   */
  constructor(name: string, code: Uint8Array) {
    const what = `load the kernel program ${name}`;
    const insns = fixedBytes(code.length);
    insns.set(code);
    // Some helpers are there for programs under a licence that goes with the kernel's only.
    const license = cString("Dual MIT/GPL");
    const { bytes, view } = attributes(name, 48);
    view.setUint32(0, PROG_TYPE_SCHED_CLS, true);
    view.setUint32(4, code.length / INSN_LEN, true);
    view.setBigUint64(8, addressOf(insns), true);
    view.setBigUint64(16, addressOf(license), true);
    const c = needLibc(what);
    const number = c.call.syscall(NR_BPF, CMD.progLoad, bytes, ATTR_LEN);
    if (number < 0) throw failed(what, c.errno(), verifierLog(c.call.syscall, bytes));
    this.#fd = owned(number);
  }

  /** Its descriptor. */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * Runs the program on a packet; see {@link BpfTrial}.
   *
   * @param packet Ethernet frame of 14 bytes and more.
   * @param repeat Runs.
   * @param gsoSize Bytes of each datagram's payload, of several that came as one; 0 for one.
   * @throws {OmertaError} `bpf-failed`.
   */
  trial(packet: Uint8Array, repeat = 1, gsoSize = 0): TrialResult {
    const trial = this.#trial ??= new BpfTrial(this.fd);
    trial.packet.set(packet);
    if (!trial.run(packet.length, repeat, gsoSize)) {
      const { errno } = needLibc("try a program");
      throw failed(`try a program on ${packet.length} bytes`, errno(), "");
    }
    const { result, ns } = trial;
    return { result, packet: trial.after.slice(0, trial.length), ns };
  }

  /** Closes the descriptor; the program goes when it is attached nowhere. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

/** Why the kernel's verifier does not take a program: its last lines. */
function verifierLog(
  syscall: (nr: bigint, cmd: number, attr: Uint8Array<ArrayBuffer>, size: number) => number,
  attr: Uint8Array<ArrayBuffer>,
): string {
  const log = fixedBytes(LOG_LEN);
  const view = new DataView(attr.buffer);
  view.setUint32(24, 1, true);
  view.setUint32(28, LOG_LEN, true);
  view.setBigUint64(32, addressOf(log), true);
  const again = syscall(NR_BPF, CMD.progLoad, attr, ATTR_LEN);
  if (again >= 0) owned(again)[Symbol.dispose]();
  const end = log.indexOf(0);
  const text = new TextDecoder().decode(log.subarray(0, end < 0 ? LOG_LEN : end));
  return text.trim().split("\n").slice(-LOG_LINES).join("; ");
}

/**
 * Attaches a program at the entrance of an interface, behind those that are there. Disposing of the
 * link detaches it.
 *
 * @throws {OmertaError} `tcx-missing` where the kernel is older than 6.6; `bpf-failed`.
 */
export function attachTcx(program: BpfProgram, ifindex: number): Disposable {
  const what = `attach a program to interface ${ifindex}`;
  const { bytes, view } = attributes();
  view.setUint32(0, program.fd, true);
  view.setUint32(4, ifindex, true);
  view.setUint32(8, TCX_INGRESS, true);
  const c = needLibc(what);
  const number = c.call.syscall(NR_BPF, CMD.linkCreate, bytes, ATTR_LEN);
  if (number >= 0) return owned(number);
  const errno = c.errno();
  if (errno !== ERRNO.EINVAL) throw failed(what, errno, "");
  throw new OmertaError("tcx-missing", `Cannot ${what} by a link: the kernel is older than 6.6`, {
    exit: EXIT.missing,
  });
}
