/**
 * A lender and a borrower for a test of this host: two daemons, on machines that the caller makes.
 *
 * ```
 * <home>/pair-<pid>-<start>/l/      the lender; the images are the user's
 *                           b/      the borrower, who knows the lender's link
 * ```
 *
 * The daemons end when the process that started them does, however that happens; the folder is then
 * removed by the next test. Folders are named after their process, pid and start time, so that one of
 * a process that runs is left alone. The names are short because the path of a socket is.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type LendRules, saveConfig, withLender } from "../core/config.ts";
import { exists, removeIfThere } from "../core/files.ts";
import { initHome } from "../core/init.ts";
import { newVmId } from "../core/ids.ts";
import { type Paths, pathsOf } from "../core/paths.ts";
import { run, signalIfThere, startTimeOf } from "../core/process.ts";
import { daemonPid } from "../node/daemon_lock.ts";
import { vmPaths } from "../../vm/hypervisor.ts";
import { VmManager } from "../../vm/manager.ts";
import { checkSocketPath } from "../../vm/qemu_command.ts";
import { Daemon, END_MS, type Spawn } from "./daemon.ts";

/** Folders of pairs: process id and start time of their owner. */
const FOLDER_REGEXP = /^pair-(\d+)-(\d+)$/;
const POLL_MS = 50;

/** What a pair is made from. */
export interface PairOptions {
  /** The home in which the pair has its folder, and whose images are lent. */
  readonly paths: Paths;
  /** The main module of this program. */
  readonly module: URL;
  /** Address at which the borrower finds the lender. */
  readonly lenderAddress: string;
  /** What the lender's rules have that is not the default. */
  readonly lend?: Partial<LendRules>;
  /** Starts a program on the lender's machine. */
  readonly onLender: Spawn;
  /** Starts a program on the borrower's machine; process `lender` is the lender's daemon. */
  readonly onBorrower: (lender: number) => Spawn;
  /** Gives the start up. */
  readonly signal: AbortSignal;
}

/** Both daemons. */
export class Pair implements AsyncDisposable {
  /** Lends. */
  readonly lender: Daemon;
  /** Borrows. */
  readonly borrower: Daemon;
  readonly #owned: AsyncDisposableStack;

  private constructor(lender: Daemon, borrower: Daemon, owned: AsyncDisposableStack) {
    this.lender = lender;
    this.borrower = borrower;
    this.#owned = owned;
  }

  /**
   * Starts both.
   *
   * @throws {OmertaError} `daemon-failed`, with what a daemon said that could not start;
   * `path-too-long` when the home's path leaves no room for the sockets of a VM.
   */
  static async start(options: PairOptions): Promise<Pair> {
    const { paths, lenderAddress, lend, onLender, onBorrower } = options;
    await run("setpriv", ["--version"]); // says so if it is not installed
    await using undo = new AsyncDisposableStack();
    const folder = join(paths.home, `pair-${Deno.pid}-${await startTimeOf(Deno.pid)}`);
    undo.defer(() => removeIfThere(folder));
    const homes = homesIn(folder);
    checkSocketPath(vmPaths(homes.lender.vms, newVmId()).guestSocket);
    const now = Date.now();
    const { config } = await initHome(homes.lender, { force: false, now });
    await saveConfig(homes.lender, { ...config, lend: { ...config.lend, ...lend } });
    const link = { host: lenderAddress, port: config.port, key: config.localKey };
    const borrows = await initHome(homes.borrower, { force: false, now });
    await saveConfig(homes.borrower, withLender(borrows.config, link));
    await Deno.remove(homes.lender.images);
    await Deno.symlink(paths.images, homes.lender.images);
    // A host on which KVM hangs is remembered beside its VMs.
    const memory = join(paths.vms, "accelerator");
    if (await exists(memory)) await Deno.copyFile(memory, join(homes.lender.vms, "accelerator"));

    const lender = await Daemon.start({
      ...options,
      ...{ whose: "lender", paths: homes.lender, args: [], spawn: onLender },
    });
    undo.defer(() => lender.end());
    const borrower = await Daemon.start({
      ...options,
      ...{ whose: "borrower", paths: homes.borrower, args: ["--no-lend", "--port", "0"] },
      spawn: onBorrower(lender.pid),
    });
    undo.defer(() => borrower.end());
    return new Pair(lender, borrower, undo.move());
  }

  /** Ends both, which may have ended, and removes their folder. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync();
  }
}

/** Ends and removes what pairs of processes that are gone have left in `home`. @returns In words. */
export async function sweepPairs(home: string): Promise<string[]> {
  const done: string[] = [];
  for (const { name } of await Array.fromAsync(Deno.readDir(home))) {
    const owner = FOLDER_REGEXP.exec(name);
    if (!owner || await startTimeOf(Number(owner[1])) === owner[2]) continue;
    const folder = join(home, name);
    try {
      for (const paths of Object.values(homesIn(folder))) await endLeftover(paths);
      await removeIfThere(folder);
      done.push(`Removed what was left of a test of this host (${name})`);
    } catch (error) {
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
      done.push(`Cannot remove what root has left of a test of this host: ${folder}`);
    }
  }
  return done;
}

/** The homes in a pair's folder. */
function homesIn(folder: string): { readonly borrower: Paths; readonly lender: Paths } {
  return { borrower: pathsOf(join(folder, "b")), lender: pathsOf(join(folder, "l")) };
}

/** The kernel has asked the daemon to end when its test did; here it is waited for. */
async function endLeftover(paths: Paths): Promise<void> {
  const deadline = performance.now() + END_MS;
  for (let pid; (pid = await daemonPid(paths)) !== undefined;) {
    if (performance.now() > deadline) signalIfThere(pid, "SIGKILL");
    await pause(POLL_MS);
  }
  await new VmManager({ folder: paths.vms }).sweep();
}
