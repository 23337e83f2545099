/**
 * Runs guests with QEMU: one process for each, spoken to over QMP and watched until its end.
 *
 * Ending one goes from polite to certain: the guest's power button (QMP `system_powerdown`), then
 * QMP `quit`, then SIGKILL to the process, which is our child and so cannot be another by then.
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../lib/core/errors.ts";
import { exists } from "../lib/core/files.ts";
import { run, runChecked, spawn } from "../lib/core/process.ts";
import { delay, settledWithin } from "./_wait.ts";
import type { Accelerator, Arch } from "./accelerator.ts";
import { followConsole } from "./console.ts";
import type { Hypervisor, Machine, MachineHooks, MachineSpec, VmPaths } from "./hypervisor.ts";
import {
  checkSocketPath,
  qemuArguments,
  qemuPrefix,
  qemuProgram,
  SANDBOX,
} from "./qemu_command.ts";
import type { VmNetwork } from "./qemu_command.ts";
import { QmpClient } from "./qmp.ts";
import { programMissing } from "./requirements.ts";

/** First QEMU with unix datagrams as a network (`-netdev dgram`). */
const CABLE_SINCE: readonly [number, number] = [7, 2];
/** Time allowed for QMP to answer after the start, in ms. */
const QMP_MS = 10_000;
/** Time allowed for QEMU to end after `quit`, in ms. */
const QUIT_MS = 3_000;
/** Time allowed for the rest of the console after QEMU's end, in ms. */
const LAST_WORDS_MS = 1_000;
/** What is kept of QEMU's own complaints, in bytes. */
const STDERR_BYTES = 4096;

/** UEFI for aarch64, where QEMU's packages put it. */
const AARCH64_FIRMWARE: readonly string[] = [
  "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
  "/usr/share/AAVMF/AAVMF_CODE.fd",
  "/opt/homebrew/share/qemu/edk2-aarch64-code.fd",
  "/usr/local/share/qemu/edk2-aarch64-code.fd",
  "/usr/share/qemu/edk2-aarch64-code.fd",
];

/** What a QEMU program can do. */
interface QemuAbilities {
  readonly version: string;
  readonly sandbox: boolean;
}

/** The hypervisor for Linux, and for macOS without vfkit. */
export class Qemu implements Hypervisor {
  readonly #abilities = new Map<string, QemuAbilities>();

  /** Checks program and version. */
  async check(arch: Arch, network: VmNetwork, signal: AbortSignal): Promise<void> {
    const { version } = await this.#look(qemuProgram(arch), signal);
    if (network.kind !== "cable" || atLeast(version, CABLE_SINCE)) return;
    throw new OmertaError(
      "qemu-too-old",
      `Cannot connect a VM with ${qemuProgram(arch)}: its version is ${version}, want at least ${
        CABLE_SINCE.join(".")
      }`,
      { exit: EXIT.missing, next: "Install a newer QEMU" },
    );
  }

  /** One short run without a guest: version, and whether seccomp is built in. */
  async #look(program: string, signal: AbortSignal): Promise<QemuAbilities> {
    const known = this.#abilities.get(program);
    if (known) return known;
    const args = ["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none"];
    args.push("-monitor", "stdio");
    const options = { input: "quit\n", timeoutMs: 20_000, signal };
    try {
      const locked = await run(program, [...args, "-sandbox", SANDBOX], options);
      const sandbox = locked.code === 0;
      const result = sandbox ? locked : await runChecked(program, args, options);
      const version = /QEMU (\d+\.\d+\.\d+)/.exec(result.stdout)?.[1] ?? "0.0.0";
      const abilities = { version, sandbox };
      this.#abilities.set(program, abilities);
      return abilities;
    } catch (error) {
      throw programMissing(error, "qemu");
    }
  }

  /** A qcow2 overlay: only what the guest changes is written, the image never. */
  async makeDisk(spec: MachineSpec, paths: VmPaths, signal: AbortSignal): Promise<void> {
    const args = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", spec.image.disk];
    try {
      await runChecked("qemu-img", [...args, paths.disk, `${spec.diskGiB}G`], { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw programMissing(error, "qemu-img");
    }
  }

  /** Starts QEMU and waits until its console and QMP are connected. */
  async start(
    spec: MachineSpec,
    paths: VmPaths,
    accelerator: Accelerator,
    hooks: MachineHooks,
  ): Promise<Machine> {
    const { image } = spec;
    const { sandbox } = await this.#look(qemuProgram(image.arch), hooks.signal);
    const firmware = image.arch === "aarch64" && image.boot.kind === "disk"
      ? await findFirmware()
      : undefined;
    const args = qemuArguments({
      ...{ name: spec.name, arch: image.arch, accelerator, sandbox, boot: image.boot },
      ...{ cpus: spec.cpus, memoryMiB: spec.memoryMiB, network: spec.network },
      ...{ disk: paths.disk, seed: paths.seed, guestSocket: paths.guestSocket },
      ...{ consoleSocket: paths.consoleSocket, qmpSocket: paths.controlSocket },
      ...{ cableSocket: paths.cableSocket },
      ...(firmware === undefined ? {} : { firmware }),
    });
    const [program = "", ...words] = [
      ...qemuPrefix(spec.network),
      qemuProgram(image.arch),
      ...args,
    ];
    return await QemuMachine.start(program, words, spec.name, paths, hooks);
  }

  /** QMP `quit` on a socket that a killed owner left behind. */
  async endLeftover(controlSocket: string): Promise<boolean> {
    if (!await exists(controlSocket)) return false;
    try {
      await using qmp = await QmpClient.connect(controlSocket, { timeoutMs: 2000 });
      // QEMU may end before it answers.
      await qmp.execute("quit", undefined, 2000).catch(() => {});
      return await settledWithin(qmp.closed, QUIT_MS);
    } catch {
      return false;
    }
  }
}

async function findFirmware(): Promise<string> {
  for (const path of AARCH64_FIRMWARE) if (await exists(path)) return path;
  throw new OmertaError(
    "firmware-missing",
    `Cannot boot an aarch64 disk image: no UEFI firmware at ${AARCH64_FIRMWARE[0]}`,
    { exit: EXIT.missing, next: "Install it: apt install qemu-efi-aarch64, or brew install qemu" },
  );
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = version.split(".").map(Number);
  return a > major || (a === major && b >= minor);
}

/** One QEMU process. */
class QemuMachine implements Machine {
  readonly pid: number;
  readonly exited: Promise<string>;
  readonly #child: Deno.ChildProcess;
  readonly #stack = new AsyncDisposableStack();
  readonly #stop = new AbortController();
  #qmp: QmpClient | undefined;
  #switchedOff = false;
  #stderr = "";

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.pid = child.pid;
    this.exited = this.#watch();
  }

  static async start(
    program: string,
    args: readonly string[],
    name: string,
    paths: VmPaths,
    hooks: MachineHooks,
  ): Promise<Machine> {
    checkSocketPath(paths.consoleSocket);
    const { signal } = hooks;
    signal.throwIfAborted();
    using listener = Deno.listen({ transport: "unix", path: paths.consoleSocket });
    // Detached: Ctrl-C in our terminal is for us, and we end our machines in order.
    const child = spawn(program, args, {
      ...{ stdin: "null", stdout: "null", stderr: "piped", detached: true, cwd: paths.folder },
    });
    const machine = new QemuMachine(child);
    try {
      await hooks.onProcess(child.pid);
      await machine.#connect(listener, paths.controlSocket, hooks);
      return machine;
    } catch (error) {
      await machine.end();
      signal.throwIfAborted();
      throw startFailed(name, machine.#stderr, error);
    }
  }

  async #connect(
    listener: Deno.UnixListener,
    qmpSocket: string,
    hooks: MachineHooks,
  ): Promise<void> {
    const early = this.exited.then((reason): never => {
      throw new Error(reason);
    });
    early.catch(() => {});
    const giveUp = AbortSignal.any([hooks.signal, this.#stop.signal]);
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => {});
    const abort = (): void => aborted.reject(giveUp.reason);
    giveUp.addEventListener("abort", abort);
    try {
      const accepted = listener.accept();
      accepted.catch(() => {});
      const conn = await Promise.race([accepted, early, aborted.promise]);
      const console = followConsole(conn, hooks.onConsole, this.#stop.signal);
      this.#own(async () => {
        // QEMU is gone: what it has printed last is still on its way.
        await settledWithin(console, LAST_WORDS_MS);
        conn.close();
        await console;
      });
      const qmp = await Promise.race([this.#openQmp(qmpSocket, giveUp), early]);
      this.#own(() => qmp.close());
      this.#qmp = qmp;
    } finally {
      giveUp.removeEventListener("abort", abort);
    }
  }

  /** Runs `release` when QEMU has ended, at once when that was before. */
  #own(release: () => Promise<void>): void {
    if (this.#stack.disposed) void release();
    else this.#stack.defer(release);
  }

  /** QEMU makes its sockets in the order of its arguments: the console is up, QMP is near. */
  async #openQmp(path: string, signal: AbortSignal): Promise<QmpClient> {
    const until = performance.now() + QMP_MS;
    for (;;) {
      if (await exists(path)) break;
      if (performance.now() > until) throw new Error(`No QMP socket in ${QMP_MS / 1000} s`);
      await delay(10, signal);
    }
    return await QmpClient.connect(path, {
      signal,
      timeoutMs: QMP_MS,
      onEvent: ({ event, data }) => {
        if (event === "SHUTDOWN" && data.guest === true) this.#switchedOff = true;
      },
    });
  }

  async #watch(): Promise<string> {
    const [status] = await Promise.all([this.#child.status, this.#collectStderr()]);
    this.#stop.abort(new Error("QEMU has ended"));
    await this.#stack.disposeAsync();
    if (status.signal !== null) return `QEMU was ended by ${status.signal}`;
    if (status.code !== 0) return `QEMU ended with code ${status.code}: ${lastWords(this.#stderr)}`;
    return this.#switchedOff ? "the guest switched itself off" : "QEMU was asked to end";
  }

  async #collectStderr(): Promise<void> {
    const text = new TextDecoder();
    for await (const bytes of this.#child.stderr) {
      this.#stderr = (this.#stderr + text.decode(bytes, { stream: true })).slice(-STDERR_BYTES);
    }
  }

  async powerDown(): Promise<void> {
    try {
      await this.#qmp?.execute("system_powerdown");
    } catch {
      // It ends already, or does not answer: end() takes care of both.
    }
  }

  async end(): Promise<void> {
    const quit = this.#qmp?.execute("quit", undefined, QUIT_MS);
    if (quit) {
      quit.catch(() => {});
      if (await settledWithin(this.exited, QUIT_MS)) return;
    }
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended in between.
    }
    await this.exited;
  }
}

function startFailed(name: string, stderr: string, cause: unknown): OmertaError {
  if (cause instanceof OmertaError && cause.code !== "qmp-failed") return cause;
  const words = stderr.trim() === "" ? messageOf(cause) : lastWords(stderr);
  if (/Could not set up host forwarding rule/.test(stderr)) {
    return new OmertaError("port-in-use", `Cannot start VM "${name}": ${words}`, {
      cause,
      next: "Try again: another port is chosen each time",
    });
  }
  return new OmertaError("qemu-failed", `Cannot start VM "${name}": ${words}`, {
    cause,
    next: "Run 'omerta check-deps', then 'omerta vm boot-test'",
  });
}

/** The last lines of QEMU's complaints, without its own name in front. */
function lastWords(stderr: string): string {
  return stderr.trim().split("\n").slice(-2).map((line) => line.replace(/^qemu-[\w-]+: /, ""))
    .join("; ");
}
