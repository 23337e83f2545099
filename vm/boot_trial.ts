/**
 * Boots a VM of its own to see how far it comes, without a borrower.
 *
 * - `console-boot`: no network at all; the guest sets itself up and shows its host name on the console.
 * - `direct-ssh`: QEMU's own network, closed but for one port on 127.0.0.1; a command runs over SSH
 *   with a key pair made for this test and the guest's host key pinned.
 * - `reverse-ssh`: the other way round; the guest connects out to us, and the command runs back
 *   through that connection.
 * - `tap-ping`: an interface of Linux in a network namespace of its own; the guest answers ping.
 *
 * @module
 */

import { messageOf, OmertaError } from "../lib/core/errors.ts";
import { newVmId } from "../lib/core/ids.ts";
import { generateSshKey } from "../lib/core/ssh_key.ts";
import { checkPing, TAP_NAME, tryPing } from "./_boot_ping.ts";
import { ReverseWay } from "./_boot_reverse.ts";
import { sshOnce, sshProof, sshWords, type TestKeys } from "./_boot_ssh.ts";
import { delay } from "./_wait.ts";
import type { Accelerator } from "./accelerator.ts";
import type { BaseImage } from "./image/image.ts";
import type { Vm, VmManager, VmSpec } from "./manager.ts";
import { USER_MAC, type VmNetwork } from "./qemu_command.ts";
import * as Stages from "./stages.ts";
import type { Stage, StageRecord } from "./stages.ts";

/** What {@link bootTest} can try. */
export const BOOT_TEST_MODES = ["console-boot", "direct-ssh", "reverse-ssh", "tap-ping"] as const;
/** One of {@link BOOT_TEST_MODES}. */
export type BootTestMode = (typeof BOOT_TEST_MODES)[number];

/** How {@link bootTest} tests. */
export interface BootTestOptions {
  /** What to try. */
  readonly mode: BootTestMode;
  /** Makes the VM. */
  readonly manager: VmManager;
  /** What to boot. */
  readonly image: BaseImage;
  /** Time for everything, in ms. */
  readonly timeoutMs: number;
  /** Leaves the VM running when the test has passed; the caller ends it. @default {false} */
  readonly keep?: boolean;
  /** Memory of the guest in MiB. @default {1024} */
  readonly memoryMiB?: number;
  /** Called for each stage with the time since the start in ms. */
  readonly onStage?: (stage: Stage, atMs: number) => void;
  /** Called for each console line: what `--verbose` shows. */
  readonly onLine?: (line: string) => void;
  /** Ends the test and the VM. */
  readonly signal?: AbortSignal;
}

/** What came out. */
export interface BootTestResult {
  /** What was tried. */
  readonly mode: BootTestMode;
  /** What ran the guest; undefined when it did not get that far. */
  readonly accelerator: Accelerator | undefined;
  /** The stages with their times in ms, and the failure. */
  readonly stages: StageRecord;
  /** What proves it: the console line, or what the command printed. Empty when it failed. */
  readonly proof: string;
  /** Why it failed; undefined when it passed. */
  readonly error: OmertaError | undefined;
  /** The last console lines, oldest first. */
  readonly console: readonly string[];
  /** The VM, when it was kept. */
  readonly vm: Vm | undefined;
}

/** Why a stage was not reached when the time for everything is over. */
const OUT_OF_TIME = "the time for the whole test is over";
/** Time between two tries of SSH, in ms. */
const SSH_RETRY_MS = 1_000;
/** Console lines in a result. */
const RESULT_LINES = 40;
/** Console lines in an error. */
const ERROR_LINES = 8;

/** What every step needs. */
interface Run {
  readonly options: BootTestOptions;
  readonly spec: VmSpec;
  readonly keys: TestKeys;
  /** When it began, on the clock of `performance.now`. */
  readonly began: number;
  /** Console lines that hold the host name. */
  readonly named: PromiseWithResolvers<string>;
}

/**
 * Boots a VM and tries `mode`. The VM and its files are gone afterwards unless it was kept.
 *
 * @throws The reason of `signal` when aborted. Everything else is in the result.
 */
export async function bootTest(options: BootTestOptions): Promise<BootTestResult> {
  const test = prepare(options);
  using way = new ReverseWay();
  const outOfTime = new AbortController();
  const timer = setTimeout(() => outOfTime.abort(new Error(OUT_OF_TIME)), options.timeoutMs);
  const signal = AbortSignal.any([outOfTime.signal, ...(options.signal ? [options.signal] : [])]);
  let vm: Vm | undefined;
  let proof = "";
  let failed: Failed | undefined;
  try {
    if (options.mode === "tap-ping") await checkPing();
    vm = await options.manager.create(test.spec, {
      signal,
      beforeStart: ({ cablePath }) => {
        if (options.mode === "reverse-ssh") way.listen(cablePath);
        return Promise.resolve();
      },
      onStage: options.onStage ?? (() => {}),
      onLine: (line) => {
        if (line.includes(test.spec.name)) test.named.resolve(line);
        options.onLine?.(line);
      },
    });
    await vm.waitFor("cloud-init", { signal });
    proof = await prove(vm, test, way, signal);
    vm.reach("ready");
  } catch (caught) {
    options.signal?.throwIfAborted();
    failed = explain(caught, vm, test);
  } finally {
    clearTimeout(timer);
    if (vm && (failed || !options.keep || options.signal?.aborted)) await vm.stop({ graceMs: 0 });
  }
  return {
    mode: options.mode,
    accelerator: vm?.accelerator,
    stages: failed?.stages ?? vm?.stages ?? Stages.NO_STAGE,
    proof,
    error: failed?.error,
    console: vm?.consoleLines(RESULT_LINES) ?? [],
    vm: failed || !options.keep ? undefined : vm,
  };
}

function prepare(options: BootTestOptions): Run {
  const id = newVmId();
  // A name of its own shows that the guest has read this seed.
  const name = `boot-test-${id.slice(0, 4)}`;
  const { mode } = options;
  const keys = { hostKey: generateSshKey(name), userKey: generateSshKey(name) };
  const network = networkOf(mode);
  const spec: VmSpec = {
    id,
    name,
    cpus: 1,
    memoryMiB: options.memoryMiB ?? 1024,
    diskGiB: Math.ceil(options.image.virtualSizeMiB / 1024),
    image: options.image,
    network,
    seed: {
      vmId: id,
      hostname: name,
      user: "omerta",
      sshAuthorizedKeys: withSsh(mode) ? [keys.userKey.publicLine] : [],
      hostKey: keys.hostKey,
      // The guest has the same static address on each of these networks.
      network: network.kind === "none" ? network : { kind: "cable", mac: USER_MAC },
      firewall: false,
      callsHost: mode === "reverse-ssh",
    },
  };
  const began = performance.now();
  return { options, spec, keys, began, named: Promise.withResolvers<string>() };
}

function networkOf(mode: BootTestMode): VmNetwork {
  switch (mode) {
    case "console-boot":
      return { kind: "none" };
    case "direct-ssh":
      return { kind: "user", sshPort: freePort() };
    case "reverse-ssh":
      return { kind: "reverse" };
    case "tap-ping":
      return { kind: "tap", mac: USER_MAC, ifname: TAP_NAME, alone: true };
  }
}

/** Whether SSH is part of a test. */
function withSsh(mode: BootTestMode): boolean {
  return mode === "direct-ssh" || mode === "reverse-ssh";
}

/** A port on 127.0.0.1 that is free now. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** What the test is about, once the guest has set itself up. */
async function prove(
  vm: Vm,
  test: Run,
  way: ReverseWay,
  signal: AbortSignal,
): Promise<string> {
  const { mode } = test.options;
  if (mode === "console-boot") return await seeHostName(vm, test, signal);
  if (mode === "direct-ssh") return await trySsh(vm, test, signal);
  const trying = mode === "tap-ping" ? tryPing(vm, signal) : way.trySsh(vm, test.keys, signal);
  const proof = await Promise.race([trying, gone(vm)]);
  if (mode === "reverse-ssh") vm.reach("ssh");
  return proof;
}

async function seeHostName(vm: Vm, test: Run, signal: AbortSignal): Promise<string> {
  const over = new AbortController();
  try {
    // The login prompt has no line end: it is looked for in the unfinished line.
    const prompt = async (): Promise<string> => {
      for (;;) {
        const line = vm.consoleLines(1).find((last) => last.includes(vm.name));
        if (line !== undefined) return line;
        await delay(200, AbortSignal.any([signal, over.signal]));
      }
    };
    return await Promise.race([test.named.promise, prompt(), gone(vm)]);
  } finally {
    over.abort();
  }
}

async function gone(vm: Vm): Promise<never> {
  const reason = await vm.exited;
  throw new Error(reason);
}

async function trySsh(vm: Vm, test: Run, signal: AbortSignal): Promise<string> {
  const { network } = test.spec;
  const port = network.kind === "user" ? network.sshPort : 0;
  let last = "nothing";
  try {
    for (;;) {
      const result = await sshOnce(vm, test.keys, port, signal);
      const proof = sshProof(vm, result);
      if (proof !== undefined) {
        vm.reach("ssh");
        return proof;
      }
      last = sshWords(result);
      await Promise.race([delay(SSH_RETRY_MS, signal), gone(vm)]);
    }
  } catch (error) {
    if (signal.aborted) throw new Error(`${OUT_OF_TIME}; ssh said: ${last}`);
    throw error;
  }
}

/** What a failed test knows. */
interface Failed {
  readonly error: OmertaError;
  readonly stages: StageRecord;
}

function explain(caught: unknown, vm: Vm | undefined, test: Run): Failed {
  const stages = vm?.stages ?? Stages.NO_STAGE;
  if (caught instanceof OmertaError) return { error: caught, stages };
  if (!vm) {
    const message = `Cannot boot a test VM: ${messageOf(caught)}`;
    return { error: new OmertaError("boot-test-failed", message, { cause: caught }), stages };
  }
  const atMs = Math.round(performance.now() - test.began);
  // The tunnel is no part of this test.
  const next = Stages.nextStage(stages) ?? "ready";
  const stage = next === "tunnel" ? (withSsh(test.options.mode) ? "ssh" : "ready") : next;
  const failure = stages.failure ?? { stage, reason: messageOf(caught), atMs };
  return {
    error: Stages.stageError(vm.name, failure, vm.consoleLines(ERROR_LINES)),
    stages: { ...stages, failure },
  };
}
