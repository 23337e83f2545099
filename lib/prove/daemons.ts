/**
 * A lender and a borrower for a proof: real daemons of this same executable, each in its namespace
 * and with a home of its own that is removed with them.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ApiClient } from "../api/client.ts";
import { loadConfig, saveConfig, withLender } from "../core/config.ts";
import { EXIT, OmertaError } from "../core/errors.ts";
import { exists, removeIfThere } from "../core/files.ts";
import { initHome } from "../core/init.ts";
import { type Paths, pathsOf } from "../core/paths.ts";
import { selfCommand } from "../core/version.ts";
import { DEFAULT_PORT } from "../core/link.ts";
import { VmMode } from "../node/messages.ts";
import { endChild, signalChild } from "./_end_child.ts";
import { ADDRESS, type Machine, type World } from "./world.ts";

/** How long a daemon may take to answer, and to end, in ms. */
const START_MS = 30_000;
const STOP_MS = 20_000;
const POLL_MS = 50;
/** What the lender lends: processors and memory, in MiB, in any mode. */
const LEND = { cpus: 64, memoryMiB: 65_536, modes: [...VmMode.options] };
/** Characters of a daemon's last words that are kept. */
const WORDS_MAX = 2000;

/** The two daemons. */
export interface Daemons extends AsyncDisposable {
  /** The lender's. */
  readonly lender: Daemon;
  /** The borrower's. */
  readonly borrower: Daemon;
}

/** One daemon. */
export interface Daemon {
  /** Its folders. */
  readonly paths: Paths;
  /** Asks it. */
  readonly client: ApiClient;
}

/** What the daemons are made from. */
export interface DaemonOptions {
  /** Where they live. */
  readonly world: World;
  /** The main module of this program. */
  readonly module: URL;
  /** The home whose images are lent. */
  readonly paths: Paths;
  /** Gives the start up. */
  readonly signal: AbortSignal;
}

/**
 * Starts both; the borrower knows the lender's link.
 *
 * @throws {OmertaError} What a daemon said that could not start.
 */
export async function startDaemons(options: DaemonOptions): Promise<Daemons> {
  await using undo = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "omerta-prove-" });
  undo.defer(() => removeIfThere(folder));
  const homes = { lender: pathsOf(join(folder, "l")), borrower: pathsOf(join(folder, "b")) };
  const { config } = await initHome(homes.lender, { force: false, now: Date.now() });
  // What is proven is not how much is lent: a small host runs two VMs here all the same.
  await saveConfig(homes.lender, { ...config, lend: { ...config.lend, ...LEND } });
  await initHome(homes.borrower, { force: false, now: Date.now() });
  const link = { host: ADDRESS.lender, port: DEFAULT_PORT, key: config.localKey };
  await saveConfig(homes.borrower, withLender(await loadConfig(homes.borrower), link));
  await Deno.remove(homes.lender.images);
  await Deno.symlink(options.paths.images, homes.lender.images);
  // A host on which KVM hangs is remembered beside its VMs.
  const memory = join(options.paths.vms, "accelerator");
  if (await exists(memory)) await Deno.copyFile(memory, join(homes.lender.vms, "accelerator"));

  const [lender, borrower] = await Promise.all([
    startDaemon(options, "lender", homes.lender, []).then((one) => undo.use(one)),
    startDaemon(options, "borrower", homes.borrower, ["--no-lend"]).then((one) => undo.use(one)),
  ]);
  const owned = undo.move();
  return { lender, borrower, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function startDaemon(
  { world, module, signal }: DaemonOptions,
  machine: Machine,
  paths: Paths,
  args: readonly string[],
): Promise<Daemon & AsyncDisposable> {
  const self = selfCommand(module.href);
  const child = world.machine(machine).spawn(self.program, [
    ...self.args,
    ...["daemon", "--background", ...args],
  ], {
    env: { OMERTA_HOME: paths.home, NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  });
  let words = "";
  const reading = (async (): Promise<void> => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      words = (words + text).slice(-WORDS_MAX);
    }
  })();
  let isEnded = false;
  void child.status.then(() => isEnded = true);
  const client = new ApiClient(paths.socket);
  const stop = async (): Promise<void> => {
    client[Symbol.dispose]();
    signalChild(child, "SIGTERM");
    await endChild(child, STOP_MS);
    await reading;
  };
  try {
    const deadline = performance.now() + START_MS;
    while (!await client.isUp()) {
      signal.throwIfAborted();
      if (isEnded || performance.now() > deadline) {
        const why = words.trim().split("\n")[0] || "it does not answer";
        throw new OmertaError("daemon-failed", `Cannot start the ${machine}'s daemon: ${why}`, {
          exit: EXIT.failed,
        });
      }
      await pause(POLL_MS);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { paths, client, [Symbol.asyncDispose]: stop };
}
