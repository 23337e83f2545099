/**
 * What the manager needs from the program that runs guests: QEMU everywhere, vfkit on macOS.
 *
 * @module
 */

import { join } from "node:path";
import type { VmId } from "../lib/core/ids.ts";
import type { Accelerator, Arch } from "./accelerator.ts";
import type { BaseImage } from "./image/image.ts";
import type { VmNetwork } from "./qemu_command.ts";

/** The files of one VM; all of them go when it goes. */
export interface VmPaths {
  /** `<home>/vms/<vm id>`. */
  readonly folder: string;
  /** Who runs it: see `_vm_record.ts`. */
  readonly record: string;
  /** The VM's own disk. */
  readonly disk: string;
  /** The seed ISO; holds the VM's private keys. */
  readonly seed: string;
  /** The hypervisor's end of the cable: a unix datagram socket. */
  readonly guestSocket: string;
  /** Our end of the cable. */
  readonly cableSocket: string;
  /** Control socket: QMP, or vfkit's REST interface. */
  readonly controlSocket: string;
  /** The guest's serial port. */
  readonly consoleSocket: string;
  /** What the guest printed; bounded. */
  readonly consoleLog: string;
}

/** The paths of VM `id` below `<home>/vms`. Names are short: a socket's path has 107 bytes. */
export function vmPaths(vms: string, id: VmId): VmPaths {
  const folder = join(vms, id);
  return {
    folder,
    record: join(folder, "vm.json"),
    disk: join(folder, "disk.img"),
    seed: join(folder, "seed.iso"),
    guestSocket: join(folder, "guest.sock"),
    cableSocket: join(folder, "cable.sock"),
    controlSocket: join(folder, "ctl.sock"),
    consoleSocket: join(folder, "con.sock"),
    consoleLog: join(folder, "console.log"),
  };
}

/** What a machine is made of. */
export interface MachineSpec {
  /** Shown in the process list and in errors. */
  readonly name: string;
  /** Number of processors. */
  readonly cpus: number;
  /** Memory in MiB. */
  readonly memoryMiB: number;
  /** Size of the disk as the guest sees it, in GiB. */
  readonly diskGiB: number;
  /** What the disk starts from. */
  readonly image: BaseImage;
  /** How it is connected. */
  readonly network: VmNetwork;
}

/** What happens while a machine starts and runs. */
export interface MachineHooks {
  /** Ends the start; has no effect on a machine that runs. */
  readonly signal: AbortSignal;
  /** Called once, before anything else is done with the new process; awaited. */
  readonly onProcess: (pid: number) => Promise<void>;
  /** Called for what the guest prints; awaited, so that a slow reader slows the guest. */
  readonly onConsole: (bytes: Uint8Array) => Promise<void>;
}

/** A machine that runs. */
export interface Machine {
  /** Process id of the hypervisor. */
  readonly pid: number;
  /** Why it ended, in words; never rejects. */
  readonly exited: Promise<string>;
  /** Asks the guest to switch itself off; returns at once. */
  powerDown(): Promise<void>;
  /** Ends it now, with limits; the process is gone when this returns. */
  end(): Promise<void>;
}

/** A program that runs guests. */
export interface Hypervisor {
  /**
   * Checks that it can run guests of `arch` with this network.
   *
   * @throws {OmertaError} `qemu-missing` and the like, with how to get it.
   */
  check(arch: Arch, network: VmNetwork, signal: AbortSignal): Promise<void>;
  /** Makes the VM's own disk from its image, which is only read. */
  makeDisk(spec: MachineSpec, paths: VmPaths, signal: AbortSignal): Promise<void>;
  /**
   * Starts a machine.
   *
   * @throws {OmertaError} `qemu-failed` and the like; no process is left.
   */
  start(
    spec: MachineSpec,
    paths: VmPaths,
    accelerator: Accelerator,
    hooks: MachineHooks,
  ): Promise<Machine>;
  /** Ends a machine that answers on a control socket left behind; whether there was one. */
  endLeftover(controlSocket: string): Promise<boolean>;
}
