/**
 * One VM from its start to its end: what its console says moves it through the stages, time that
 * runs out or a fault ends it, and however it ends its files go.
 *
 * ```
 *            start            cloud-init              stop, or it switches itself off
 * starting ----------------> (running) ----------------------------------------------> stopped
 *     |                          |
 *     +--- fault, time, exit ----+-----------------------------------------------------> failed
 * ```
 *
 * A VM counts as running once its hypervisor does. Until `ready` a fault on the console ends it;
 * afterwards the guest belongs to its borrower, who may print what he likes.
 *
 * @module
 */

import { EXIT, messageOf, OmertaError } from "../lib/core/errors.ts";
import type { VmId } from "../lib/core/ids.ts";
import { settledWithin } from "./_wait.ts";
import type { Accelerator } from "./accelerator.ts";
import { BoundedLog, type ConsoleEvent, ConsoleReader, readConsoleLine } from "./console.ts";
import type { Machine, VmPaths } from "./hypervisor.ts";
import * as Stages from "./stages.ts";
import type { Stage, StageRecord } from "./stages.ts";

/** Time that a guest gets to switch itself off, in ms. */
export const GRACE_MS = 8_000;
/** Console lines in an error. */
const ERROR_LINES = 8;

/** Whether a VM is there. */
export type VmState = "starting" | "running" | "stopped" | "failed";

/** A VM on this host. */
export interface Vm {
  /** Its id. */
  readonly id: VmId;
  /** Its name, as given. */
  readonly name: string;
  /** Its folder; gone when it has ended. */
  readonly folder: string;
  /** Unix datagram socket of the hypervisor: where frames for the guest go. */
  readonly guestPath: string;
  /** Unix datagram socket of ours: where frames from the guest come from. */
  readonly cablePath: string;
  /** How far it has come. */
  readonly stages: StageRecord;
  /** Whether it is there. */
  readonly state: VmState;
  /** Process id of its hypervisor; undefined before it is started. */
  readonly pid: number | undefined;
  /** What runs its instructions. */
  readonly accelerator: Accelerator;
  /** Why it ended, in words; resolves when nothing is left of it, and never rejects. */
  readonly exited: Promise<string>;
  /**
   * Waits for a stage.
   *
   * @throws {OmertaError} `vm-failed` with stage, reason and console when it will not be reached,
   * `vm-timeout` when `timeoutMs` are over (the VM goes on), `vm-stopped`.
   */
  waitFor(stage: Stage, options?: WaitOptions): Promise<void>;
  /** Says that a stage was reached that only others can see: `tunnel`, `ssh`, `ready`. */
  reach(stage: Stage): void;
  /** The last console lines, oldest first; also after its end. */
  consoleLines(count: number): string[];
  /** Ends it, first politely, then hard, and removes everything of it. May be called again. */
  stop(options?: StopOptions): Promise<void>;
}

/** How {@link Vm.waitFor} waits. */
export interface WaitOptions {
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
  /** Gives up after so many ms. The VM's own limits hold in any case. */
  readonly timeoutMs?: number;
}

/** How {@link Vm.stop} ends a VM. */
export interface StopOptions {
  /** Time for the guest to switch itself off, in ms; 0 for none. @default {8000} */
  readonly graceMs?: number;
}

/** What a VM needs from its manager. */
export interface VmHost {
  /** Milliseconds, rising. */
  readonly now: () => number;
  /** Whether the guest has a tunnel, which must come up. */
  readonly tunnel: boolean;
  /** Called for each stage with the time since the request in ms. */
  readonly onStage: (stage: Stage, atMs: number) => void;
  /** Called for each console line. */
  readonly onLine: (line: string) => void;
  /** Starts the machine; used again when the first one hangs or fails under KVM. */
  readonly startMachine: (vm: ManagedVm, signal: AbortSignal) => Promise<Machine>;
  /** Called once when a guest that hung or failed under KVM has come up under TCG. */
  readonly onKvmBroken: () => Promise<void>;
  /** Removes the VM's files and forgets it. */
  readonly remove: () => Promise<void>;
}

interface Waiter {
  readonly stage: Stage;
  readonly done: PromiseWithResolvers<void>;
}

/** The manager's own view of a {@link Vm}. */
export class ManagedVm implements Vm {
  readonly id: VmId;
  readonly name: string;
  /** Its files. */
  readonly paths: VmPaths;
  accelerator: Accelerator;
  readonly #host: VmHost;
  readonly #began: number;
  readonly #reader = new ConsoleReader();
  readonly #waiters = new Set<Waiter>();
  readonly #exited = Promise.withResolvers<string>();
  readonly #abort = new AbortController();
  #log: BoundedLog | undefined;
  #machine: Machine | undefined;
  /** What is being done to its files and its machine; its end waits for that. */
  #work: Promise<unknown> = Promise.resolve();
  #stages = Stages.NO_STAGE;
  #ending: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the machine was started under TCG because KVM did not work; ms since the request. */
  #secondStart: number | undefined;

  /** A VM that nothing has happened to; its time begins now. */
  constructor(id: VmId, name: string, paths: VmPaths, accelerator: Accelerator, host: VmHost) {
    this.id = id;
    this.name = name;
    this.paths = paths;
    this.accelerator = accelerator;
    this.#host = host;
    this.#began = host.now();
  }

  get folder(): string {
    return this.paths.folder;
  }

  get guestPath(): string {
    return this.paths.guestSocket;
  }

  get cablePath(): string {
    return this.paths.cableSocket;
  }

  get stages(): StageRecord {
    return this.#stages;
  }

  get pid(): number | undefined {
    return this.#machine?.pid;
  }

  get exited(): Promise<string> {
    return this.#exited.promise;
  }

  get state(): VmState {
    if (this.#stages.failure) return "failed";
    if (this.#ending) return "stopped";
    return this.#machine ? "running" : "starting";
  }

  /** Aborted when the VM ends. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Has the VM's end wait for `work`, which must stop by itself when {@link signal} is aborted. */
  hold(work: Promise<void>): Promise<void> {
    this.#work = Promise.allSettled([this.#work, work]);
    return work;
  }

  /** Starts the machine and begins to watch it. */
  async start(signal: AbortSignal): Promise<void> {
    this.#log = await BoundedLog.create(this.paths.consoleLog);
    try {
      await this.#startMachine(signal);
    } catch (error) {
      if (signal.aborted || !this.#mayStartAgain()) throw error;
      await this.#startAgain(signal);
    }
    this.reach("qemu");
  }

  /** KVM may be there and not work; whether that is so shows when the same VM runs without it. */
  #mayStartAgain(): boolean {
    return this.accelerator === "kvm" && this.#secondStart === undefined &&
      !Stages.hasReached(this.#stages, "kernel");
  }

  async #startMachine(signal: AbortSignal): Promise<void> {
    const machine = await this.#host.startMachine(this, signal);
    this.#machine = machine;
    void machine.exited.then((reason) => this.#machineExited(machine, reason));
  }

  /** Takes what the guest prints. */
  async takeConsole(bytes: Uint8Array): Promise<void> {
    for (const line of this.#reader.push(bytes)) {
      this.#host.onLine(line);
      const event = readConsoleLine(line);
      if (event) this.#take(event);
    }
    await this.#log?.write(bytes);
  }

  #take(event: ConsoleEvent): void {
    if (event.kind === "kernel") this.reach("kernel");
    else if (event.kind === "fault") {
      if (!Stages.hasReached(this.#stages, "ready")) this.fail(event.reason);
    } else if (event.name === "cloud-init") this.reach("cloud-init");
  }

  reach(stage: Stage): void {
    const atMs = this.#sinceRequest();
    const next = Stages.reachStage(this.#stages, stage, atMs);
    if (next === this.#stages || this.#ending) return;
    this.#stages = next;
    this.#setTimer();
    if (stage === "kernel" && this.#secondStart !== undefined) {
      // Only now is it sure that KVM was at fault and not the image.
      void this.hold(this.#host.onKvmBroken()).catch(() => {});
    }
    this.#host.onStage(stage, atMs);
    for (const waiter of this.#waiters) {
      if (Stages.hasReached(next, waiter.stage)) waiter.done.resolve();
    }
  }

  #sinceRequest(): number {
    return Math.round(this.#host.now() - this.#began);
  }

  /** Watches the stages that can be seen from here; the later ones are the borrower's to wait for. */
  #setTimer(): void {
    clearTimeout(this.#timer);
    const next = Stages.nextStage(this.#stages);
    if (this.#ending || this.#stages.failure || next === undefined) return;
    if (next !== "kernel" && next !== "cloud-init" && !(next === "tunnel" && this.#host.tunnel)) {
      return;
    }
    const until = next === "kernel" && this.#secondStart !== undefined
      ? this.#secondStart + Stages.allowedMs(next, this.accelerator)
      : Stages.deadlineOf(this.#stages, this.accelerator) ?? 0;
    this.#timer = setTimeout(() => this.#timeIsUp(next), Math.max(0, until - this.#sinceRequest()));
  }

  #timeIsUp(stage: "kernel" | "cloud-init" | "tunnel"): void {
    const seconds = Stages.allowedMs(stage, this.accelerator) / 1000;
    if (this.#mayStartAgain()) return this.#startAgainLater();
    const missing = {
      kernel: "its kernel printed nothing",
      "cloud-init": "it did not set itself up",
      tunnel: "no packet came through its tunnel",
    };
    this.fail(`${missing[stage]} in ${seconds} s`);
  }

  #startAgainLater(): void {
    void this.hold(this.#startAgain(this.#abort.signal)).catch((error) =>
      this.fail(messageOf(error))
    );
  }

  async #startAgain(signal: AbortSignal): Promise<void> {
    const hung = this.#machine;
    this.#machine = undefined;
    this.accelerator = "tcg";
    this.#secondStart = this.#sinceRequest();
    await hung?.end();
    await this.#startMachine(signal);
    this.#setTimer();
  }

  #machineExited(machine: Machine, reason: string): void {
    if (this.#machine !== machine || this.#ending) return;
    if (this.#mayStartAgain()) this.#startAgainLater();
    else if (Stages.hasReached(this.#stages, "cloud-init")) void this.#end(reason, 0);
    else this.fail(reason);
  }

  /** Ends it as failed; the first reason counts. Returns at once. */
  fail(reason: string): void {
    if (this.#ending) return;
    this.#stages = Stages.failStage(this.#stages, reason, this.#sinceRequest());
    void this.#end(reason, 0);
  }

  waitFor(stage: Stage, options: WaitOptions = {}): Promise<void> {
    if (Stages.hasReached(this.#stages, stage)) return Promise.resolve();
    if (this.#ending) return Promise.reject(this.endError());
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    return this.#wait({ stage, done: Promise.withResolvers<void>() }, options);
  }

  async #wait(waiter: Waiter, { signal, timeoutMs }: WaitOptions): Promise<void> {
    const abort = (): void => waiter.done.reject(signal?.reason);
    const timer = timeoutMs === undefined
      ? undefined
      : setTimeout(() => waiter.done.reject(this.#tooLate(waiter.stage, timeoutMs)), timeoutMs);
    signal?.addEventListener("abort", abort);
    this.#waiters.add(waiter);
    try {
      await waiter.done.promise;
    } finally {
      this.#waiters.delete(waiter);
      signal?.removeEventListener("abort", abort);
      clearTimeout(timer);
    }
  }

  #tooLate(stage: Stage, timeoutMs: number): OmertaError {
    const missing = Stages.nextStage(this.#stages) ?? stage;
    const failure = { stage: missing, reason: "no time is left", atMs: this.#sinceRequest() };
    const { message, next } = Stages.stageError(this.name, failure, this.consoleLines(ERROR_LINES));
    return new OmertaError("vm-timeout", message, {
      exit: EXIT.unreachable,
      next: next ?? `Allow more than ${timeoutMs / 1000} s with --timeout`,
    });
  }

  /** Why nothing more is reached; for a VM that has ended. */
  endError(): OmertaError {
    const { failure } = this.#stages;
    if (failure) return Stages.stageError(this.name, failure, this.consoleLines(ERROR_LINES));
    return new OmertaError("vm-stopped", `Cannot use VM "${this.name}": it was stopped`);
  }

  consoleLines(count: number): string[] {
    return this.#reader.lines(count);
  }

  async stop(options: StopOptions = {}): Promise<void> {
    await this.#end("it was stopped", options.graceMs ?? GRACE_MS);
  }

  #end(reason: string, graceMs: number): Promise<void> {
    this.#ending ??= this.#endNow(reason, graceMs);
    return this.#ending;
  }

  async #endNow(reason: string, graceMs: number): Promise<void> {
    clearTimeout(this.#timer);
    this.#abort.abort(new OmertaError("vm-stopped", `Cannot start VM "${this.name}": ${reason}`));
    await this.#work;
    const machine = this.#machine;
    if (machine && graceMs > 0 && Stages.hasReached(this.#stages, "cloud-init")) {
      // Before that the guest does not listen to its power button.
      await machine.powerDown();
      await settledWithin(machine.exited, graceMs);
    }
    await machine?.end();
    await this.#log?.[Symbol.asyncDispose]();
    let left = "";
    try {
      await this.#host.remove();
    } catch (error) {
      left = `; its folder is left: ${messageOf(error)}`;
    }
    for (const waiter of this.#waiters) waiter.done.reject(this.endError());
    this.#exited.resolve(reason + left);
  }
}
