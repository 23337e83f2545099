/**
 * A user with a home of their own, in a network namespace: what they type is run as a process of
 * its own, from the source.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { pathsOf } from "../../lib/core/paths.ts";
import type { RunOptions, RunResult } from "../../lib/core/process.ts";
import type { Namespace } from "../netlab/netlab.ts";
import { type OrdinaryUser, ordinaryUser } from "./ordinary_user.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..");
/** How this program is started from its source. */
const DENO_ARGS = [
  "run",
  "--quiet",
  "--no-prompt",
  "--allow-all",
  ...["--config", join(ROOT, "deno.json")],
  join(ROOT, "cli", "main.ts"),
];

/** Time for a command, in ms: more than a release of a VM may take. */
const COMMAND_MS = 60_000;

/** Where the tests' images are kept between runs; see scripts/run_tests.ts. */
export const TEST_HOME = Deno.env.get("OMERTA_TEST_HOME") ?? join(ROOT, "tests", "tmp", "home");

/** The command line that is `omerta ARGS`, from the source. */
export function omertaCommand(...args: string[]): string[] {
  return [Deno.execPath(), ...DENO_ARGS, ...args];
}

/** A user on a machine of a lab. */
export class Home implements AsyncDisposable {
  /** `$OMERTA_HOME`. */
  readonly path: string;
  readonly #machine: Namespace;
  /** What makes a command one of this user's. */
  readonly #user: readonly string[];
  /** What a command line begins with. */
  readonly #prefix: readonly string[];
  /** Copies something to a user who cannot read what is the tester's. */
  #give: OrdinaryUser["give"] | undefined;
  #daemon: Deno.ChildProcess | undefined;

  private constructor(path: string, machine: Namespace, prefix: readonly string[]) {
    this.path = path;
    this.#machine = machine;
    this.#user = prefix;
    this.#prefix = [...prefix, ...omertaCommand()];
  }

  /** A fresh home after `omerta init`. */
  static async create(machine: Namespace): Promise<Home> {
    const home = new Home(join(await Deno.makeTempDir({ prefix: "omerta-" }), "home"), machine, []);
    await home.ok("init");
    return home;
  }

  /** The same of a user without any right beyond that of their files. */
  static async createWithoutRights(machine: Namespace): Promise<Home> {
    const user = await ordinaryUser("--bounding-set=-all", "--no-new-privs");
    const home = new Home(join(user.folder, "home"), machine, user.prefix);
    home.#give = user.give;
    await home.ok("init");
    return home;
  }

  /** The folders of this home. */
  get paths(): ReturnType<typeof pathsOf> {
    return pathsOf(this.path);
  }

  /** Runs `omerta ARGS` to its end. */
  run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const [program = "", ...first] = this.#prefix;
    return this.#machine.run(program, [...first, ...args], {
      timeoutMs: COMMAND_MS,
      ...options,
      env: { OMERTA_HOME: this.path, NO_COLOR: "1", ...options.env },
    });
  }

  /** What a program of this user's starts to run `omerta ARGS`. */
  commandLine(...args: readonly string[]): string[] {
    return ["env", `OMERTA_HOME=${this.path}`, ...this.#prefix, ...args];
  }

  /** Runs another program as this user. */
  runOther(program: string, args: readonly string[]): Promise<RunResult> {
    const [first = program, ...rest] = [...this.#user, program, ...args];
    return this.#machine.run(first, rest, { timeoutMs: COMMAND_MS });
  }

  /** Runs `omerta ARGS`, which must succeed, and returns what it printed. */
  async ok(...args: string[]): Promise<string> {
    const result = await this.run(args);
    assert.equal(result.code, 0, `omerta ${args.join(" ")}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  }

  /** Runs `omerta ARGS`, which must fail with `code`, and returns its words. */
  async fails(code: number, ...args: string[]): Promise<string> {
    const result = await this.run(args);
    assert.equal(result.code, code, `omerta ${args.join(" ")}: ${result.stderr}${result.stdout}`);
    return result.stderr;
  }

  /** Starts `omerta ARGS` and lets it run. */
  spawn(
    args: readonly string[],
    options: Omit<Deno.CommandOptions, "args"> = {},
  ): Deno.ChildProcess {
    const [program = "", ...first] = this.#prefix;
    return this.#machine.spawn(program, [...first, ...args], {
      ...options,
      env: { OMERTA_HOME: this.path, NO_COLOR: "1", ...options.env },
    });
  }

  /** Starts `omerta daemon ARGS` in the foreground and returns what it prints at its start. */
  startDaemon(...args: string[]): Promise<string> {
    return this.startDaemonWith({}, ...args);
  }

  /** The same with other environment variables. */
  async startDaemonWith(env: Record<string, string>, ...args: string[]): Promise<string> {
    const child = this.spawn(["daemon", ...args], { stdout: "piped", stderr: "null", env });
    this.#daemon = child;
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of child.stdout.values({ preventCancel: true })) {
      text += decoder.decode(chunk, { stream: true });
      if (text.includes("Ctrl-C ends it")) return text;
    }
    throw new Error(`The daemon ended with ${(await child.status).code}: ${text}`);
  }

  /** Ends the daemon as Ctrl-C does, and waits for its end. @returns Its exit code. */
  async stopDaemon(signal: Deno.Signal = "SIGINT"): Promise<number> {
    const child = this.#daemon;
    if (!child) return 0;
    this.#daemon = undefined;
    child.kill(signal);
    await child.stdout.cancel();
    return (await child.status).code;
  }

  /** Has this home use the images that the tests keep. */
  async shareImages(): Promise<void> {
    await Deno.remove(this.paths.images, { recursive: true });
    const images = join(TEST_HOME, "images");
    if (this.#give) await this.#give(images, this.path);
    else await Deno.symlink(images, this.paths.images);
  }

  /** Everything in the configuration and the leases that must never be shown to anybody. */
  async secrets(): Promise<string[]> {
    const config: {
      localKey: string;
      identity: { peerSeed: string; machineKey: string };
      lenders: { key: string }[];
    } = JSON.parse(await Deno.readTextFile(this.paths.config));
    const ssh = (await Deno.readTextFile(this.paths.sshKey)).split("\n").slice(1, 4);
    const hex = [
      config.localKey,
      config.identity.peerSeed,
      config.identity.machineKey,
      ...config.lenders.map(({ key }) => key),
    ];
    return [...hex, ...hex.map((key) => Uint8Array.fromHex(key).toBase64()), ...ssh];
  }

  /** Everything that is in the log files. */
  async logs(): Promise<string> {
    let text = "";
    for await (const file of Deno.readDir(this.paths.logs)) {
      text += await Deno.readTextFile(join(this.paths.logs, file.name));
    }
    return text;
  }

  /** Command lines of the processes that have this home in them, but for the daemon's. */
  async processes(): Promise<string[]> {
    const found: string[] = [];
    for await (const entry of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(entry.name)) continue;
      try {
        const line = await Deno.readTextFile(`/proc/${entry.name}/cmdline`);
        if (line.includes(this.path)) found.push(line.replaceAll("\0", " "));
      } catch {
        // It has ended meanwhile.
      }
    }
    return found;
  }

  /** What is in the folder of VMs. */
  async vmFolders(): Promise<string[]> {
    return (await Array.fromAsync(Deno.readDir(this.paths.vms)))
      .filter(({ isDirectory }) => isDirectory).map(({ name }) => name);
  }

  /** Whether the TUN device of a borrower is there. */
  async hasTun(): Promise<boolean> {
    return (await this.#machine.run("ip", ["link", "show", "omerta0"])).code === 0;
  }

  /** Ends whatever daemon runs and removes the home. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopDaemon();
    await this.run(["daemon", "stop"], { timeoutMs: 90_000 });
    await Deno.remove(join(this.path, ".."), { recursive: true });
  }
}
