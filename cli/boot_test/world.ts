/**
 * A lender and a borrower for a test: two daemons of this program with homes of their own, in one
 * network namespace that has a loopback interface and nothing else. So neither their ports nor the
 * borrower's TUN interface can be in the way of a daemon that runs on this host, and no packet of
 * theirs can leave it.
 *
 * ```
 * <home>/e2e-<pid>-<start>/lender/      images are the user's
 *                          borrower/    knows the lender's link, at 127.0.0.1
 * ```
 *
 * The daemons end when the process that started them does, however that happens; the folder is then
 * removed by the next test. Folders are named after their process, pid and start time, so that one of
 * a process that runs is left alone.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ApiClient } from "../../lib/api/client.ts";
import { saveConfig, withLender } from "../../lib/core/config.ts";
import { messageOf, OmertaError } from "../../lib/core/errors.ts";
import { removeIfThere } from "../../lib/core/files.ts";
import { initHome } from "../../lib/core/init.ts";
import { type Paths, pathsOf } from "../../lib/core/paths.ts";
import { run, spawn, startTimeOf } from "../../lib/core/process.ts";
import { selfCommand } from "../../lib/core/version.ts";
import { daemonPid } from "../../lib/node/daemon_lock.ts";
import { VmManager } from "../../vm/manager.ts";
import { inNetworkOf } from "../../vm/own_network.ts";

/** Folders of tests: process id and start time of their owner. */
const FOLDER_REGEXP = /^e2e-(\d+)-(\d+)$/;
/** How long a daemon may take to answer after its start, in ms. */
const START_MS = 30_000;
/** How long a daemon may take to end itself and its VMs, in ms. */
const END_MS = 60_000;
const POLL_MS = 50;
/** What is kept of a daemon's complaints, in characters. */
const WORDS = 4096;
/** Where the borrower finds the lender. */
export const LENDER_HOST = "127.0.0.1";
/** The interface of the borrower. */
const TUN_NAME = "omerta0";
/** Has the kernel end a program when the one that started it ends. */
const WITH_US = ["setpriv", "--pdeathsig", "TERM", "--"] as const;

/** One daemon of the two. */
export class TestDaemon {
  /** Its home. */
  readonly paths: Paths;
  /** Speaks with it. */
  readonly client: ApiClient;
  readonly #child: Deno.ChildProcess;
  readonly #words: Promise<void>;
  #ended: Deno.CommandStatus | undefined;
  #ending: Promise<void> | undefined;
  #stderr = "";

  /** Starts it; `before` is what its command line begins with. */
  constructor(module: URL, paths: Paths, before: readonly string[], args: readonly string[]) {
    this.paths = paths;
    this.client = new ApiClient(paths.socket);
    const self = selfCommand(module.href);
    const command = [...before, self.program, ...self.args, "daemon", ...args];
    const [program = "", ...words] = command;
    this.#child = spawn(program, words, {
      // Detached: Ctrl-C in our terminal is for us, and we end our daemons in order.
      ...{ stdin: "null", stdout: "null", stderr: "piped", detached: true },
      env: { OMERTA_HOME: paths.home, NO_COLOR: "1" },
    });
    void this.#child.status.then((status) => this.#ended = status);
    this.#words = this.#listen();
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves, with words, when it has ended. */
  get ended(): Promise<string> {
    return this.#child.status.then(({ code }) => `a daemon ended with code ${code}`);
  }

  async #listen(): Promise<void> {
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.#stderr = (this.#stderr + text).slice(-WORDS);
    }
  }

  /** Waits until it answers. */
  async untilUp(signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + START_MS;
    while (!await this.client.isUp()) {
      if (this.#ended || Date.now() > deadline) throw await this.#startFailed();
      await pause(POLL_MS, undefined, { signal });
    }
  }

  async #startFailed(): Promise<OmertaError> {
    await this.end();
    const words = /^Error: (.*)$/m.exec(this.#stderr)?.[1] ??
      this.#stderr.trim().split("\n").at(-1);
    return new OmertaError(
      "daemon-failed",
      `Cannot start a daemon for the test: ${words || "it does not answer"}`,
    );
  }

  /** Ends it, politely and then hard; may be called again. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    this.client[Symbol.dispose]();
    if (!this.#ended) this.#child.kill("SIGTERM");
    const deadline = Date.now() + END_MS;
    while (!this.#ended && Date.now() < deadline) await pause(POLL_MS);
    if (!this.#ended) this.#child.kill("SIGKILL");
    await Promise.all([this.#child.status, this.#words]);
  }
}

/** Both daemons. */
export class TestWorld implements AsyncDisposable {
  /** Where their homes are. */
  readonly folder: string;
  /** Lends. */
  readonly lender: TestDaemon;
  /** Borrows. */
  readonly borrower: TestDaemon;
  /** UDP port of the lender. */
  readonly port: number;
  #disposed: Promise<string[]> | undefined;

  private constructor(folder: string, lender: TestDaemon, borrower: TestDaemon, port: number) {
    this.folder = folder;
    this.lender = lender;
    this.borrower = borrower;
    this.port = port;
  }

  /**
   * Starts both.
   *
   * @param home Where their folder is made.
   * @param images The folder of images that the lender uses.
   */
  static async start(
    module: URL,
    home: string,
    images: string,
    signal: AbortSignal,
  ): Promise<TestWorld> {
    const folder = join(home, `e2e-${Deno.pid}-${await startTimeOf(Deno.pid)}`);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => removeIfThere(folder));
    const lenderPaths = pathsOf(join(folder, "lender"));
    const borrowerPaths = pathsOf(join(folder, "borrower"));
    const lends = await initHome(lenderPaths, { force: false, now: Date.now() });
    const borrows = await initHome(borrowerPaths, { force: false, now: Date.now() });
    await Deno.remove(lenderPaths.images);
    await Deno.symlink(images, lenderPaths.images);
    const { port, localKey } = lends.config;
    await saveConfig(
      borrowerPaths,
      withLender(borrows.config, { host: LENDER_HOST, port, key: localKey }),
    );
    const alone = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];
    const lender = new TestDaemon(module, lenderPaths, [...WITH_US, ...alone], []);
    undo.defer(() => lender.end());
    await lender.untilUp(signal);
    const beside = [...WITH_US, ...inNetworkOf(lender.pid, [])];
    const args = ["--no-lend", "--port", "0"];
    const borrower = new TestDaemon(module, borrowerPaths, beside, args);
    undo.defer(() => borrower.end());
    await borrower.untilUp(signal);
    undo.move();
    return new TestWorld(folder, lender, borrower, port);
  }

  /** Runs a program where the daemons are. */
  run(command: readonly string[], signal: AbortSignal): ReturnType<typeof run> {
    const [program, ...args] = inNetworkOf(this.lender.pid, command);
    return run(program, args, { signal });
  }

  /** Ends both and removes their folder. @returns What they left behind, in words. */
  end(): Promise<string[]> {
    this.#disposed ??= this.#end();
    return this.#disposed;
  }

  async #end(): Promise<string[]> {
    const left: string[] = [];
    await this.borrower.end();
    try {
      const show = inNetworkOf(this.lender.pid, ["ip", "-brief", "link", "show"]);
      const { stdout } = await run(show[0], show.slice(1));
      if (stdout.includes(TUN_NAME)) left.push(`the interface ${TUN_NAME}`);
    } catch (error) {
      left.push(`perhaps an interface: ${messageOf(error)}`);
    }
    await this.lender.end();
    for await (const { name, isDirectory } of Deno.readDir(this.lender.paths.vms)) {
      if (isDirectory) left.push(`the folder of VM ${name}`);
    }
    await removeIfThere(this.folder);
    return left;
  }

  /** The same as {@link end}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** Ends and removes what tests of processes that are gone have left in `home`. @returns In words. */
export async function sweepTests(home: string): Promise<string[]> {
  const done: string[] = [];
  for (const { name } of await Array.fromAsync(Deno.readDir(home))) {
    const owner = FOLDER_REGEXP.exec(name);
    if (!owner || await startTimeOf(Number(owner[1])) === owner[2]) continue;
    const folder = join(home, name);
    for (const role of ["borrower", "lender"]) await endLeftover(pathsOf(join(folder, role)));
    await removeIfThere(folder);
    done.push(`Removed what was left of a boot test (${name})`);
  }
  return done;
}

/** The kernel has asked the daemon to end when its test did; here it is waited for. */
async function endLeftover(paths: Paths): Promise<void> {
  const deadline = Date.now() + END_MS;
  for (let pid; (pid = await daemonPid(paths)) !== undefined;) {
    if (Date.now() > deadline) Deno.kill(pid, "SIGKILL");
    await pause(POLL_MS);
  }
  await new VmManager({ folder: paths.vms }).sweep();
}
