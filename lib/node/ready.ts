/**
 * Waiting for a borrowed VM: the lender tells the stages up to cloud-init, the tunnel and the SSH
 * server are seen from here.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import {
  describeStages,
  nextStage,
  NO_STAGE,
  reachStage,
  type Stage,
  type StageRecord,
  STAGES,
} from "../../vm/stages.ts";
import { EXIT, OmertaError } from "../core/errors.ts";
import type { VmStatus } from "./messages.ts";

/** How often a lender is asked how far a VM is, in ms. */
const STATUS_MS = 1000;
/** Pause between two tries to reach a VM's SSH server, in ms. */
const SSH_RETRY_MS = 250;

/** What {@link awaitReady} watches. */
export interface Awaited {
  /** Name of the VM, for errors. */
  readonly name: string;
  /** When it was asked for, in ms since 1970. */
  readonly since: number;
  /** Time allowed from the request to ready, in ms. */
  readonly timeoutMs: number;
  /** Asks the lender, telling it what was seen from here. */
  readonly status: (seen: readonly Stage[], signal: AbortSignal) => Promise<VmStatus>;
  /** Resolves at the first handshake with the VM. */
  readonly handshake: Promise<void>;
  /** Asks its SSH server who it is; undefined when it has not answered in time. */
  readonly sshBanner: (signal: AbortSignal) => Promise<string | undefined>;
  /** Told of every stage that is new, with its time since the request in ms. */
  readonly onStage: (stage: Stage, atMs: number) => void;
  /** Time of now in ms since 1970. */
  readonly now: () => number;
}

/**
 * Waits until the SSH server of a VM has answered through the tunnel and the lender knows.
 *
 * @throws {OmertaError} `vm-failed` with the lender's reason, `vm-not-ready` when time is over.
 */
export async function awaitReady(vm: Awaited, signal: AbortSignal): Promise<void> {
  let stages = NO_STAGE;
  const reached = (stage: Stage, atMs: number): void => {
    const before = stages;
    stages = reachStage(stages, stage, atMs);
    if (stages !== before) vm.onStage(stage, atMs);
  };
  const ended = new AbortController();
  const timeLeft = Math.max(0, vm.since + vm.timeoutMs - vm.now());
  const timer = setTimeout(() => ended.abort(notReady(vm, stages)), timeLeft);
  const inTime = AbortSignal.any([signal, ended.signal]);
  const seen: Stage[] = [];
  const see = (stage: Stage): void => {
    seen.push(stage);
    reached(stage, vm.now() - vm.since);
  };
  try {
    await Promise.all([
      followLender(vm, seen, reached, inTime),
      followGuest(vm, see, inTime),
    ]);
  } catch (error) {
    ended.abort(error); // the other one must not go on
    throw inTime.aborted ? inTime.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Asks the lender again and again until it knows that the VM is ready. */
async function followLender(
  vm: Awaited,
  seen: readonly Stage[],
  reached: (stage: Stage, atMs: number) => void,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const told = [...seen];
    const status = await vm.status(told, signal);
    for (const stage of STAGES) {
      const atMs = status.reached[stage];
      if (atMs !== undefined) reached(stage, atMs);
    }
    if (status.failure) throw failed(vm, status.failure);
    if (told.includes("ready")) return;
    if (!seen.includes("ready")) await pause(STATUS_MS, undefined, { signal });
  }
}

/** Waits for the handshake, then for the SSH server. */
async function followGuest(
  vm: Awaited,
  see: (stage: Stage) => void,
  signal: AbortSignal,
): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([vm.handshake, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
  see("tunnel");
  while (await vm.sshBanner(signal) === undefined) {
    await pause(SSH_RETRY_MS, undefined, { signal });
  }
  see("ssh");
  see("ready");
}

function failed(vm: Awaited, failure: NonNullable<VmStatus["failure"]>): OmertaError {
  return new OmertaError("vm-failed", `Cannot borrow VM "${vm.name}": ${failure.reason}`, {
    exit: EXIT.failed,
    ...(failure.next === undefined ? {} : { next: failure.next }),
  });
}

const ADVICE: Partial<Record<Stage, string>> = {
  tunnel: "The VM runs but no packet of its tunnel came: check that UDP from the lender reaches " +
    "this host, or allow more time with --timeout",
  ssh: "The tunnel is up but SSH does not answer: try again, or ask the lender for " +
    "'omerta vm console'",
};

function notReady(vm: Awaited, stages: StageRecord): OmertaError {
  const next = nextStage(stages) ?? "ready";
  return new OmertaError(
    "vm-not-ready",
    `Cannot borrow VM "${vm.name}": stage ${next} not reached within ${vm.timeoutMs / 1000} s (${
      describeStages(stages) || "nothing reached"
    })`,
    {
      exit: EXIT.unreachable,
      next: ADVICE[next] ?? "Allow more time with --timeout, or ask for more processors with --cpu",
    },
  );
}
