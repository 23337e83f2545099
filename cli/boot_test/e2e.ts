/**
 * Boot test `e2e`: everything that lending and borrowing is, on this host alone. A lender and a
 * borrower of this program meet over loopback; the borrower asks, the guest boots behind its filter,
 * the tunnel comes up, a command runs over SSH through it, the VM is given back, and nothing is left.
 *
 * @module
 */

import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import type { VmView } from "../../lib/api/schemas.ts";
import { run } from "../../lib/core/process.ts";
import type { Pair } from "../../lib/pair/pair.ts";
import { sshOptions } from "../../lib/node/known_hosts.ts";
import type { Accelerator } from "../../vm/accelerator.ts";
import type { BootTestResult } from "../../vm/boot_trial.ts";
import { ConsoleReader } from "../../vm/console.ts";
import type { BaseImage } from "../../vm/image/image.ts";
import { programMissing } from "../../vm/requirements.ts";
import { checkOwnNetwork } from "../../vm/own_network.ts";
import {
  describeStages,
  failStage,
  nextStage,
  NO_STAGE,
  reachStage,
  type Stage,
  STAGES,
} from "../../vm/stages.ts";
import type { Context } from "../context.ts";
import { LENDER_HOST, TestWorld } from "./world.ts";

/** How {@link e2eTest} tests. */
export interface E2eOptions {
  /** The home that images are taken from, and in which the test has its folder. */
  readonly context: Context;
  /** What to boot. */
  readonly image: BaseImage;
  /** Time for everything, in ms. */
  readonly timeoutMs: number;
  /** Leaves both daemons and the VM running when the test has passed; the caller ends them. */
  readonly keep: boolean;
  /** Memory of the guest in MiB. */
  readonly memoryMiB: number;
  /** Called for each stage with the time since the request in ms. */
  readonly onStage: (stage: Stage, atMs: number) => void;
  /** Called for each console line. */
  readonly onLine: (line: string) => void;
  /** Ends the test. */
  readonly signal: AbortSignal;
}

/** What came out. */
export interface E2eResult extends Omit<BootTestResult, "mode" | "vm"> {
  /** What was tried. */
  readonly mode: "e2e";
  /** Both daemons and the VM, when they were kept. */
  readonly pair: Pair | undefined;
}

const VM_NAME = "boot-test-e2e";
/** Console lines in a result. */
const RESULT_LINES = 40;
/** Time between two looks at the console, in ms. */
const CONSOLE_MS = 250;
const STAGE_SET: ReadonlySet<string> = new Set(STAGES);

/** A test that runs. */
class E2eTest {
  readonly #o: E2eOptions;
  readonly #signal: AbortSignal;
  readonly #deadline: number;
  readonly #console = new ConsoleReader();
  #stages = NO_STAGE;
  #accelerator: Accelerator | undefined;

  constructor(options: E2eOptions, signal: AbortSignal) {
    this.#o = options;
    this.#signal = signal;
    this.#deadline = Date.now() + options.timeoutMs;
  }

  async run(world: TestWorld): Promise<string> {
    const over = new AbortController();
    const reading = this.#followConsole(world, over.signal);
    try {
      const vm = await this.#request(world);
      const proof = await this.#ssh(world, vm);
      if (!this.#o.keep) await this.#release(world, vm);
      return proof;
    } finally {
      over.abort();
      await reading;
    }
  }

  async #request(world: TestWorld): Promise<VmView> {
    const { image, memoryMiB } = this.#o;
    return await world.pair.borrower.client.request({
      provider: LENDER_HOST,
      ...{ name: VM_NAME, cpus: 1, memoryMiB, image: image.id },
      diskGiB: Math.ceil(image.virtualSizeMiB / 1024),
      ...{ wait: true, dryRun: false },
      timeoutMs: Math.max(1000, this.#deadline - Date.now()),
    }, (event) => {
      if (event.kind === "accepted") this.#accelerator = event.accelerator as Accelerator;
      if (event.kind !== "stage" || !STAGE_SET.has(event.stage)) return;
      this.#stages = reachStage(this.#stages, event.stage as Stage, event.atMs);
      this.#o.onStage(event.stage as Stage, event.atMs);
    }, this.#signal);
  }

  async #ssh(world: TestWorld, vm: VmView): Promise<string> {
    const { sshKey, knownHosts } = world.pair.borrower.paths;
    const { code, stdout, stderr } = await world.run([
      ...["ssh", "-F", "none", "-o", "ConnectTimeout=20"],
      ...sshOptions(vm, sshKey, knownHosts),
      ...["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"],
      ...[`omerta@${vm.address}`, "hostname && uname -sr"],
    ], this.#signal);
    if (code === 0 && stdout.startsWith(`${VM_NAME}\n`)) {
      return `${stdout.trim().replaceAll("\n", ", ")}, through the tunnel`;
    }
    const words = (stderr.trim() || stdout.trim()).split("\n").at(-1);
    throw new OmertaError("ssh-failed", `Cannot run a command through the tunnel: ${words}`);
  }

  async #release(world: TestWorld, vm: VmView): Promise<void> {
    const { ended } = await world.pair.borrower.client.release(vm.id);
    const { borrowed } = await world.pair.borrower.client.status();
    const lent = (await world.pair.lender.client.status()).lending?.vms ?? [];
    if (ended && borrowed.length === 0 && lent.length === 0) return;
    throw new OmertaError(
      "release-failed",
      `Cannot give the VM back: ${borrowed.length} are borrowed still, ${lent.length} are lent`,
    );
  }

  /** Reads the console from the lender's folder of the VM, as it grows. Never rejects. */
  async #followConsole(world: TestWorld, signal: AbortSignal): Promise<void> {
    let file: Deno.FsFile | undefined;
    const chunk = new Uint8Array(16_384);
    try {
      for (;;) {
        file ??= await openConsole(world.pair.lender.paths.vms);
        for (let count; (count = await file?.read(chunk) ?? null) !== null;) {
          for (const line of this.#console.push(chunk.subarray(0, count))) this.#o.onLine(line);
        }
        await pause(CONSOLE_MS, undefined, { signal });
      }
    } catch {
      // The test is over.
    } finally {
      file?.close();
    }
  }

  /** Why it has failed, when its time is over: the stage that was not reached. */
  tooLate(): OmertaError {
    const { timeoutMs } = this.#o;
    const reached = describeStages(this.#stages) || "nothing reached";
    const stage = nextStage(this.#stages);
    return new OmertaError(
      "boot-test-late",
      `Cannot finish in ${timeoutMs / 1000} s: ` +
        (stage ? `stage ${stage} not reached (${reached})` : "the VM was not given back yet"),
      { exit: EXIT.unreachable, next: "Allow more time with --timeout" },
    );
  }

  /** What came out; the failure names the stage. */
  result(proof: string, caught: unknown, pair: Pair | undefined): E2eResult {
    const atMs = Math.max(0, this.#o.timeoutMs - (this.#deadline - Date.now()));
    const stages = caught === undefined
      ? this.#stages
      : failStage(this.#stages, messageOf(caught), Math.round(atMs));
    return {
      mode: "e2e",
      accelerator: this.#accelerator,
      stages,
      proof,
      error: caught === undefined ? undefined : asError(caught),
      console: this.#console.lines(RESULT_LINES),
      pair,
    };
  }
}

/**
 * Lends and borrows on this host. Unless it is kept, nothing of it is left, and that is checked.
 *
 * @throws The reason of `signal` when aborted. Everything else is in the result.
 */
export async function e2eTest(options: E2eOptions): Promise<E2eResult> {
  const { context, keep } = options;
  const outOfTime = new AbortController();
  const timer = setTimeout(() => outOfTime.abort(), options.timeoutMs);
  const signal = AbortSignal.any([outOfTime.signal, options.signal]);
  const test = new E2eTest(options, signal);
  let world: TestWorld | undefined;
  try {
    await checkOwnNetwork("boot test e2e");
    await run("ssh", ["-V"]).catch((error: unknown) => {
      throw programMissing(error, "ssh");
    });
    world = await TestWorld.start(context, signal);
    const proof = await test.run(world);
    if (keep) return test.result(proof, undefined, world.pair);
    const left = await world.end();
    if (left.length === 0) return test.result(proof, undefined, undefined);
    const message = `Cannot leave nothing behind: there still was ${left.join(", ")}`;
    return test.result("", new OmertaError("left-behind", message), undefined);
  } catch (caught) {
    const why = signal.aborted ? test.tooLate() : caught;
    await world?.pair[Symbol.asyncDispose]();
    options.signal.throwIfAborted();
    return test.result("", why, undefined);
  } finally {
    clearTimeout(timer);
  }
}

/** The console of the only VM there is; undefined before it is there. */
async function openConsole(vms: string): Promise<Deno.FsFile | undefined> {
  for await (const { name, isDirectory } of Deno.readDir(vms)) {
    if (!isDirectory || name.startsWith(".")) continue;
    return await Deno.open(join(vms, name, "console.log")).catch(() => undefined);
  }
  return undefined;
}

function asError(caught: unknown): OmertaError {
  if (caught instanceof OmertaError) return caught;
  return new OmertaError("boot-test-failed", `Cannot lend and borrow: ${messageOf(caught)}`, {
    cause: caught,
  });
}
