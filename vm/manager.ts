/**
 * The VMs of this process: made, watched, listed and ended, with nothing left of them afterwards.
 *
 * Each VM has a folder `<home>/vms/<vm id>`, which appears together with a record of who made it
 * and is removed on every way out. What a killed process left behind is ended and removed by
 * {@link VmManager.sweep} of the next one; VMs of another process that is alive are not touched.
 *
 * @module
 */

import { join } from "node:path";
import { EXIT, messageOf, OmertaError } from "../lib/core/errors.ts";
import { exists, makePrivateFolder, removeIfThere, writeFileAtomic } from "../lib/core/files.ts";
import { parseVmId, type VmId } from "../lib/core/ids.ts";
import { checkRoom, hostRoom } from "./_room.ts";
import { ManagedVm, type Vm } from "./_vm.ts";
import { makeVmFolder, recordProcess, type SweepReport, sweepVms } from "./_vm_record.ts";
import {
  type Accelerator,
  chooseAccelerator,
  hostFacts,
  rememberBrokenKvm,
} from "./accelerator.ts";
import { seedIso } from "./seed/cloud_init.ts";
import type { SeedOptions } from "./seed/seed_options.ts";
import { type Hypervisor, type Machine, type MachineSpec, vmPaths } from "./hypervisor.ts";
import { Qemu } from "./qemu.ts";
import { checkSocketPath } from "./qemu_command.ts";
import type { Stage } from "./stages.ts";

export type { StopOptions, Vm, VmState, WaitOptions } from "./_vm.ts";
export type { SweepReport } from "./_vm_record.ts";
export { MIN_MEMORY_MIB } from "./_room.ts";

/** Everything about a VM to be made. */
export interface VmSpec extends MachineSpec {
  /** Its id; chosen by the lender. */
  readonly id: VmId;
  /** What the guest is told on its first boot. */
  readonly seed: SeedOptions;
}

/** Settings of a {@link VmManager}. */
export interface VmManagerOptions {
  /** `<home>/vms`; made when it is not there. */
  readonly folder: string;
  /** What runs the guests. @default {new Qemu()} */
  readonly hypervisor?: Hypervisor;
  /** Uses this accelerator instead of the best one. */
  readonly accelerator?: Accelerator;
  /** Called with what the user should know, e.g. that there is no acceleration. */
  readonly onWarning?: (warning: string) => void;
  /** Milliseconds, rising. @default {performance.now} */
  readonly now?: () => number;
}

/** How {@link VmManager.create} makes a VM. */
export interface CreateOptions {
  /** Ends the creation and removes what is there of the VM; no effect on a VM that was returned. */
  readonly signal?: AbortSignal;
  /** Called for each stage with the time since the call in ms, also after `create` returned. */
  readonly onStage?: (stage: Stage, atMs: number) => void;
  /** Called for each clean console line. */
  readonly onLine?: (line: string) => void;
  /** Called when the VM's folder is there and before the hypervisor runs: bind `cablePath` here. */
  readonly beforeStart?: (vm: Vm) => Promise<void>;
  /**
   * Called when the hypervisor runs, each time that it was started; the machine is ended when it
   * fails. What an interface that the hypervisor made needs is done here.
   */
  readonly afterStart?: (vm: Vm) => Promise<void>;
}

/** Makes and ends VMs. */
export class VmManager implements AsyncDisposable {
  readonly #folder: string;
  readonly #hypervisor: Hypervisor;
  readonly #forced: Accelerator | undefined;
  readonly #warn: (warning: string) => void;
  readonly #now: () => number;
  readonly #vms = new Map<VmId, ManagedVm>();

  /** A manager without VMs; call {@link sweep} first. */
  constructor(options: VmManagerOptions) {
    this.#folder = options.folder;
    this.#hypervisor = options.hypervisor ?? new Qemu();
    this.#forced = options.accelerator;
    this.#warn = options.onWarning ?? (() => {});
    this.#now = options.now ?? (() => performance.now());
  }

  /** Ends and removes what processes that were killed left behind. */
  async sweep(): Promise<SweepReport> {
    return await sweepVms(this.#folder, this.#hypervisor);
  }

  /**
   * Makes a VM and starts it; returns when its hypervisor runs (stage `qemu`).
   *
   * @throws {OmertaError} When it cannot be made; nothing is left of it then. The reason of
   * `signal` when aborted.
   */
  async create(spec: VmSpec, options: CreateOptions = {}): Promise<Vm> {
    const signal = options.signal ?? new AbortController().signal;
    signal.throwIfAborted();
    const paths = vmPaths(this.#folder, checkedId(spec));
    const vm = new ManagedVm(spec.id, spec.name, paths, this.#forced ?? "tcg", {
      now: this.#now,
      tunnel: spec.seed.wireguard !== undefined,
      onStage: options.onStage ?? (() => {}),
      onLine: options.onLine ?? (() => {}),
      startMachine: (vm, signal) => this.#startMachine(spec, vm, signal, options.afterStart),
      onKvmBroken: () => this.#kvmBroken(),
      remove: async () => {
        await removeIfThere(paths.folder);
        this.#vms.delete(spec.id);
      },
    });
    await this.#check(spec, signal);
    vm.accelerator = await this.#choose(spec);
    await makeVmFolder(this.#folder, paths, spec.name);
    this.#vms.set(spec.id, vm);
    try {
      await vm.hold(
        this.#build(spec, vm, AbortSignal.any([signal, vm.signal]), options.beforeStart),
      );
      return vm;
    } catch (error) {
      // A fault on the console may have ended it while it was being started.
      const ended = vm.signal.aborted && !signal.aborted;
      vm.fail(signal.aborted ? "it was cancelled" : messageOf(error));
      await vm.exited;
      throw ended ? vm.endError() : error;
    }
  }

  async #build(
    spec: VmSpec,
    vm: ManagedVm,
    signal: AbortSignal,
    beforeStart: CreateOptions["beforeStart"],
  ): Promise<void> {
    vm.reach("accepted");
    await this.#hypervisor.makeDisk(spec, vm.paths, signal);
    await writeFileAtomic(vm.paths.seed, seedIso(spec.seed, new Date()));
    vm.reach("disk");
    await beforeStart?.(vm);
    signal.throwIfAborted();
    await vm.start(signal);
    signal.throwIfAborted();
  }

  /** Everything that can be refused before something is made. */
  async #check(spec: VmSpec, signal: AbortSignal): Promise<void> {
    await makePrivateFolder(this.#folder);
    const paths = vmPaths(this.#folder, spec.id);
    for (const path of [paths.guestSocket, paths.controlSocket]) checkSocketPath(path);
    await this.#hypervisor.check(spec.image.arch, spec.network, signal);
    if (!await exists(spec.image.disk)) throw imageMissing(spec);
    checkRoom(spec, await hostRoom(this.#folder));
  }

  async #choose(spec: VmSpec): Promise<Accelerator> {
    if (this.#forced) return this.#forced;
    const choice = chooseAccelerator(await hostFacts(this.#memoryFile), spec.image.arch);
    if (choice.warning !== undefined) this.#warn(choice.warning);
    return choice.accelerator;
  }

  /** Where a host whose KVM does not work is remembered. */
  get #memoryFile(): string {
    return join(this.#folder, "accelerator");
  }

  async #kvmBroken(): Promise<void> {
    this.#warn(
      "KVM did not run the VM, which was started again without it; this host is remembered",
    );
    await rememberBrokenKvm(this.#memoryFile);
  }

  async #startMachine(
    spec: VmSpec,
    vm: ManagedVm,
    signal: AbortSignal,
    afterStart: CreateOptions["afterStart"],
  ): Promise<Machine> {
    // A machine that failed may have left them.
    for (const path of [vm.paths.consoleSocket, vm.paths.controlSocket, vm.paths.guestSocket]) {
      await removeIfThere(path);
    }
    const machine = await this.#hypervisor.start(spec, vm.paths, vm.accelerator, {
      signal,
      onProcess: (pid) => recordProcess(vm.paths, spec.name, pid),
      onConsole: (bytes) => vm.takeConsole(bytes),
    });
    try {
      await afterStart?.(vm);
      return machine;
    } catch (error) {
      await machine.end();
      throw error;
    }
  }

  /** A VM of this manager that has not ended. */
  get(id: VmId): Vm | undefined {
    return this.#vms.get(id);
  }

  /** The VMs of this manager that have not ended. */
  list(): Vm[] {
    return [...this.#vms.values()];
  }

  /** Ends all of them, at once. */
  async stopAll(options: { readonly graceMs?: number } = {}): Promise<void> {
    await Promise.allSettled(this.list().map((vm) => vm.stop(options)));
  }

  /** The same as {@link stopAll}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAll();
  }
}

/** The id becomes a folder name: it is checked again here, whatever its type says. */
function checkedId(spec: VmSpec): VmId {
  const id = parseVmId(spec.id);
  if (id !== undefined) return id;
  throw new OmertaError(
    "bad-vm-id",
    `Cannot create VM "${spec.name}": its id is ${JSON.stringify(spec.id)}, want 16 hex characters`,
  );
}

function imageMissing(spec: VmSpec): OmertaError {
  return new OmertaError(
    "image-missing",
    `Cannot create VM "${spec.name}": its image is not at ${spec.image.disk}`,
    { exit: EXIT.missing, next: "Run 'omerta image build' or 'omerta image pull'" },
  );
}
