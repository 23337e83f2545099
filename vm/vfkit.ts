/**
 * Runs guests on macOS with Virtualization.framework, by way of the helper program vfkit.
 *
 * Its REST interface listens on a unix socket:
 *
 * ```
 * GET  /vm/state   {"state": "VirtualMachineStateRunning", "canStop": true, ...}
 * POST /vm/state   {"state": "Stop"}      presses the guest's power button
 *                  {"state": "HardStop"}  ends the guest; vfkit ends with it
 * ```
 *
 * vfkit sends its frames to our socket from one that it binds beside it, `vfkit-*.sock`, and begins
 * with a datagram `VFKT`, which is no frame and is dropped as one. A link with the fixed name of the
 * guest's end is made to it, so that the cable is the same as with QEMU.
 *
 * The framework knows only raw disks, so that the image is unpacked for each VM; it knows one
 * console, hvc0, into a file, which is cut when it was read, so that a guest cannot fill the disk.
 *
 * @see {@link https://github.com/crc-org/vfkit/blob/main/doc/usage.md | vfkit}
 * @module
 */

import { request } from "node:http";
import { join } from "node:path";
import { EXIT, messageOf, OmertaError } from "../lib/core/errors.ts";
import { exists } from "../lib/core/files.ts";
import { run, runChecked, spawn } from "../lib/core/process.ts";
import { delay, settledWithin } from "./_wait.ts";
import type { Accelerator, Arch } from "./accelerator.ts";
import { BYTES_PER_SECOND, LOG_BYTES } from "./console.ts";
import type { Hypervisor, Machine, MachineHooks, MachineSpec, VmPaths } from "./hypervisor.ts";
import type { ImageBoot } from "./image/image.ts";
import { checkSocketPath, type VmNetwork } from "./qemu_command.ts";
import { programMissing } from "./requirements.ts";
import { vfkitArguments, type VfkitDevice } from "./vfkit_command.ts";

/** Time allowed for the REST interface to answer after the start, in ms. */
const REST_MS = 10_000;
/** Time allowed for one answer, in ms. */
const ANSWER_MS = 5_000;
/** Time allowed to end after HardStop, in ms. */
const STOP_MS = 3_000;
/** Time between two looks at the console file, in ms. */
const CONSOLE_MS = 100;
/** Longest answer taken, in characters. */
const ANSWER_CHARS = 64 * 1024;
/** What is kept of vfkit's own words, in characters. */
const STDERR_CHARS = 4096;

/** Settings of a {@link Vfkit}. */
export interface VfkitOptions {
  /** The program. @default {"vfkit"} */
  readonly program?: string;
  /** Put before the arguments of vfkit. @default {[]} */
  readonly before?: readonly string[];
}

/** The hypervisor for macOS. */
export class Vfkit implements Hypervisor {
  readonly #program: string;
  readonly #before: readonly string[];

  /** Runs `vfkit` from PATH unless told otherwise. */
  constructor(options: VfkitOptions = {}) {
    this.#program = options.program ?? "vfkit";
    this.#before = options.before ?? [];
  }

  /** Checks the program, the processor and that there is a cable. */
  async check(arch: Arch, network: VmNetwork, signal: AbortSignal): Promise<void> {
    if (arch !== Deno.build.arch) {
      throw new OmertaError(
        "wrong-arch",
        `Cannot run a VM with vfkit: the image is for ${arch}, this host is ${Deno.build.arch}`,
      );
    }
    if (network.kind !== "cable" && network.kind !== "none") {
      const what = `Cannot connect a VM with vfkit: it has no network of kind ${network.kind}`;
      throw new OmertaError("no-such-network", what, {
        exit: EXIT.usage,
        next: "Use --mode console-boot, or QEMU",
      });
    }
    try {
      await run(this.#program, [...this.#before, "--version"], { timeoutMs: 10_000, signal });
    } catch (error) {
      throw programMissing(error, "vfkit");
    }
  }

  /** A raw copy of the image, with holes where nothing is. */
  async makeDisk(spec: MachineSpec, paths: VmPaths, signal: AbortSignal): Promise<void> {
    try {
      const args = ["convert", "-q", "-f", "qcow2", "-O", "raw", spec.image.disk, paths.disk];
      await runChecked("qemu-img", args, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw programMissing(error, "qemu-img");
    }
    await Deno.truncate(paths.disk, spec.diskGiB * 2 ** 30);
  }

  /** Starts vfkit and waits until the guest runs. */
  async start(
    spec: MachineSpec,
    paths: VmPaths,
    _accelerator: Accelerator,
    hooks: MachineHooks,
  ): Promise<Machine> {
    checkSocketPath(paths.controlSocket);
    hooks.signal.throwIfAborted();
    const serial = join(paths.folder, "serial.log");
    await Deno.writeTextFile(serial, "", { mode: 0o600 });
    const devices: VfkitDevice[] = [
      { kind: "virtio-blk", path: paths.disk },
      { kind: "virtio-blk", path: paths.seed },
      { kind: "virtio-serial", logFilePath: serial },
      { kind: "virtio-rng" },
    ];
    if (spec.network.kind === "cable") {
      const { mac, natMac } = spec.network;
      devices.push({ kind: "virtio-net", unixSocketPath: paths.cableSocket, mac });
      if (natMac !== undefined) devices.push({ kind: "virtio-nat", mac: natMac });
    }
    const args = vfkitArguments({
      ...{ cpus: spec.cpus, memoryMiB: spec.memoryMiB, devices },
      ...{ boot: await unpackKernel(spec.image.boot, paths), restSocket: paths.controlSocket },
      variableStore: join(paths.folder, "efi-variables"),
    });
    const machine = new VfkitMachine(this.#program, [...this.#before, ...args], paths);
    try {
      await hooks.onProcess(machine.pid);
      await machine.begin(serial, spec.network.kind === "cable", hooks);
      return machine;
    } catch (error) {
      await machine.end();
      hooks.signal.throwIfAborted();
      throw new OmertaError("vfkit-failed", `Cannot start VM "${spec.name}": ${messageOf(error)}`, {
        cause: error,
        next: "Run 'omerta check-deps'",
      });
    }
  }

  /** HardStop on a socket that a killed owner left behind. */
  async endLeftover(controlSocket: string): Promise<boolean> {
    if (!await exists(controlSocket)) return false;
    try {
      await vfkitState(controlSocket, "HardStop");
      return true;
    } catch {
      return false;
    }
  }
}

/** The framework wants the kernel as it is in memory; gzip is how arm64 kernels come at times. */
async function unpackKernel(boot: ImageBoot, paths: VmPaths): Promise<ImageBoot> {
  if (boot.kind === "disk") return boot;
  const file = await Deno.open(boot.kernel, { read: true });
  const head = new Uint8Array(2);
  await file.read(head);
  await file.seek(0, Deno.SeekMode.Start);
  if (head[0] !== 0x1f || head[1] !== 0x8b) {
    file.close();
    return boot;
  }
  const kernel = join(paths.folder, "kernel");
  await Deno.writeFile(kernel, file.readable.pipeThrough(new DecompressionStream("gzip")));
  return { ...boot, kernel };
}

/**
 * Asks vfkit for its state, or for another one.
 *
 * @param change `Stop`, `HardStop`; none only asks.
 * @returns The state, e.g. `VirtualMachineStateRunning`; empty after a change.
 */
export function vfkitState(socketPath: string, change?: "Stop" | "HardStop"): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const method = change === undefined ? "GET" : "POST";
  const sent = request({ socketPath, path: "/vm/state", method, timeout: ANSWER_MS }, (answer) => {
    let text = "";
    answer.setEncoding("utf8");
    answer.on("data", (part: string) => {
      text = (text + part).slice(0, ANSWER_CHARS);
    });
    answer.on("error", reject);
    answer.on("end", () => {
      const code = answer.statusCode ?? 0;
      if (code >= 200 && code < 300) resolve(change === undefined ? readState(text) : "");
      else reject(new Error(`VFKit refused ${change ?? "its state"} with status ${code}`));
    });
  });
  sent.on("timeout", () => sent.destroy(new Error(`No answer in ${ANSWER_MS / 1000} s`)));
  sent.on("error", reject);
  if (change !== undefined) sent.setHeader("content-type", "application/json");
  sent.end(change === undefined ? undefined : JSON.stringify({ state: change }));
  return promise;
}

/** The state in an answer; empty when it is not there. Never throws. */
export function readState(text: string): string {
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json !== "object" || json === null || !("state" in json)) return "";
    return typeof json.state === "string" ? json.state : "";
  } catch {
    return "";
  }
}

/** One vfkit process. */
class VfkitMachine implements Machine {
  readonly pid: number;
  readonly exited: Promise<string>;
  readonly #child: Deno.ChildProcess;
  readonly #paths: VmPaths;
  readonly #stop = new AbortController();
  #console: Promise<void> = Promise.resolve();
  #stderr = "";

  constructor(program: string, args: readonly string[], paths: VmPaths) {
    this.#paths = paths;
    this.#child = spawn(program, args, {
      ...{ stdin: "null", stdout: "null", stderr: "piped", detached: true, cwd: paths.folder },
    });
    this.pid = this.#child.pid;
    this.exited = this.#watch();
  }

  /** Waits until the guest runs. */
  async begin(serial: string, cable: boolean, hooks: MachineHooks): Promise<void> {
    this.#console = this.#follow(serial, hooks.onConsole);
    const signal = AbortSignal.any([hooks.signal, this.#stop.signal]);
    const until = performance.now() + REST_MS;
    for (;;) {
      if (await this.#isRunning()) break;
      if (performance.now() > until) throw new Error(`VFKit does not run in ${REST_MS / 1000} s`);
      await delay(20, signal);
    }
    if (cable) await this.#linkGuestSocket();
  }

  async #isRunning(): Promise<boolean> {
    try {
      return await vfkitState(this.#paths.controlSocket) === "VirtualMachineStateRunning";
    } catch {
      return false;
    }
  }

  async #linkGuestSocket(): Promise<void> {
    for await (const { name } of Deno.readDir(this.#paths.folder)) {
      if (!/^vfkit-.*\.sock$/.test(name)) continue;
      await Deno.symlink(join(this.#paths.folder, name), this.#paths.guestSocket);
      return;
    }
    throw new Error("VFKit has bound no socket for the cable");
  }

  /** Reads what comes into the file, and cuts it: what was read leaves a hole, no bytes. */
  async #follow(path: string, onConsole: MachineHooks["onConsole"]): Promise<void> {
    using file = await Deno.open(path, { read: true, write: true });
    const chunk = new Uint8Array(BYTES_PER_SECOND * CONSOLE_MS / 1000);
    let kept = 0;
    for (;;) {
      const n = await file.read(chunk) ?? 0;
      kept += n;
      if (n > 0) await onConsole(chunk.subarray(0, n));
      else if (this.#stop.signal.aborted) return;
      else if (kept > LOG_BYTES) {
        await file.truncate(0);
        kept = 0;
      }
      try {
        await delay(CONSOLE_MS, this.#stop.signal);
      } catch {
        // It has ended: the rest is read without a pause.
      }
    }
  }

  async #watch(): Promise<string> {
    const [status] = await Promise.all([this.#child.status, this.#collectStderr()]);
    this.#stop.abort(new Error(`VFKit has ended: ${this.#stderr.trim()}`));
    await this.#console.catch(() => {});
    if (status.signal !== null) return `vfkit was ended by ${status.signal}`;
    if (status.code !== 0) {
      const words = this.#stderr.trim().split("\n").at(-1) ?? "";
      return `vfkit ended with code ${status.code}: ${words}`;
    }
    return "the guest switched itself off";
  }

  async #collectStderr(): Promise<void> {
    const text = new TextDecoder();
    for await (const bytes of this.#child.stderr) {
      this.#stderr = (this.#stderr + text.decode(bytes, { stream: true })).slice(-STDERR_CHARS);
    }
  }

  async powerDown(): Promise<void> {
    try {
      await vfkitState(this.#paths.controlSocket, "Stop");
    } catch {
      // It ends already, or does not answer: end() takes care of both.
    }
  }

  async end(): Promise<void> {
    if (!this.#stop.signal.aborted && await exists(this.#paths.controlSocket)) {
      vfkitState(this.#paths.controlSocket, "HardStop").catch(() => {});
      if (await settledWithin(this.exited, STOP_MS)) return;
    }
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended in between.
    }
    await this.exited;
  }
}
