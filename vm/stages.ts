/**
 * How far a VM has come, and how long each step may take.
 *
 * ```
 * accepted > disk > qemu > kernel > cloud-init > tunnel > ssh > ready
 * ```
 *
 * A record only ever moves to the right, or fails once. It is plain data: it goes into status
 * answers as it is. Times are milliseconds since the VM was asked for.
 *
 * @module
 */

import { EXIT, OmertaError } from "../lib/core/errors.ts";
import type { Accelerator } from "./accelerator.ts";

/** The stages in the order in which a VM reaches them. */
export const STAGES = [
  /** The request was checked and there is room. */
  "accepted",
  /** Overlay and seed are written. */
  "disk",
  /** The hypervisor runs. */
  "qemu",
  /** The guest's kernel has printed something. */
  "kernel",
  /** The guest has set itself up. */
  "cloud-init",
  /** The first packet came through the tunnel. */
  "tunnel",
  /** The guest's SSH server has answered. */
  "ssh",
  /** A shell is there for the borrower. */
  "ready",
] as const;

/** One of {@link STAGES}. */
export type Stage = (typeof STAGES)[number];

/** Why a VM did not get to a stage. */
export interface StageFailure {
  /** The stage that was not reached. */
  readonly stage: Stage;
  /** What happened instead. */
  readonly reason: string;
  /** When, in ms since the request. */
  readonly atMs: number;
}

/** How far a VM has come. */
export interface StageRecord {
  /** When each stage was reached, in ms since the request. */
  readonly reached: Readonly<Partial<Record<Stage, number>>>;
  /** Set once it has failed; nothing is reached after that. */
  readonly failure?: StageFailure;
}

/** Time allowed from one stage to the next, in ms: accelerated, translated. */
const ALLOWED_MS: Readonly<Record<Stage, readonly [number, number]>> = {
  accepted: [5_000, 5_000],
  disk: [30_000, 30_000],
  qemu: [15_000, 15_000],
  // A kernel that lives prints within 1 s (KVM) or 4 s (TCG); a busy host takes many times that.
  kernel: [15_000, 60_000],
  "cloud-init": [90_000, 300_000],
  tunnel: [60_000, 120_000],
  ssh: [60_000, 120_000],
  ready: [30_000, 60_000],
};

/** What to try when a VM did not get to a stage. */
const ADVICE: Readonly<Record<Stage, string>> = {
  accepted: "Ask for less memory, fewer processors or a smaller disk",
  disk: "Check the space on the disk and the image with 'omerta image list'",
  qemu: "Run 'omerta check-deps'",
  kernel: "Check that the image boots: 'omerta image build', then 'omerta vm boot-test'",
  "cloud-init":
    "Read the console with 'omerta vm boot-test --verbose', or allow more time with --timeout",
  tunnel: "Check that no firewall drops UDP between lender and borrower",
  ssh: "Run 'omerta vm boot-test --mode direct-ssh' on the lender to try SSH without the tunnel",
  ready: "Try again, or allow more time with --timeout",
};

/** The record of a VM that nothing has happened to. */
export const NO_STAGE: StageRecord = { reached: {} };

/** The record after `stage` was reached; the same object when that is no news. */
export function reachStage(record: StageRecord, stage: Stage, atMs: number): StageRecord {
  if (record.failure || hasReached(record, stage)) return record;
  return { reached: { ...record.reached, [stage]: atMs } };
}

/** The record after the next stage turned out to be out of reach; the first failure stays. */
export function failStage(record: StageRecord, reason: string, atMs: number): StageRecord {
  if (record.failure) return record;
  return { ...record, failure: { stage: nextStage(record) ?? "ready", reason, atMs } };
}

/** Whether the VM is at `stage` or beyond it: a stage may be passed without being seen. */
export function hasReached(record: StageRecord, stage: Stage): boolean {
  return STAGES.slice(STAGES.indexOf(stage)).some((later) => record.reached[later] !== undefined);
}

/** The last stage reached. */
export function lastStage(record: StageRecord): Stage | undefined {
  return STAGES.findLast((stage) => record.reached[stage] !== undefined);
}

/** The stage that comes after the last one reached; undefined behind `ready`. */
export function nextStage(record: StageRecord): Stage | undefined {
  const last = lastStage(record);
  return last === undefined ? STAGES[0] : STAGES[STAGES.indexOf(last) + 1];
}

/** Time allowed from the stage before to `stage`, in ms. */
export function allowedMs(stage: Stage, accelerator: Accelerator): number {
  return ALLOWED_MS[stage][accelerator === "tcg" ? 1 : 0];
}

/** By when the next stage must be reached, in ms since the request; undefined at the end. */
export function deadlineOf(record: StageRecord, accelerator: Accelerator): number | undefined {
  const next = nextStage(record);
  if (record.failure || next === undefined) return undefined;
  const last = lastStage(record);
  const since = last === undefined ? 0 : record.reached[last] ?? 0;
  return since + allowedMs(next, accelerator);
}

/** `accepted 0.0 s, disk 0.1 s, kernel 3.2 s`. */
export function describeStages(record: StageRecord): string {
  return STAGES.flatMap((stage) => {
    const at = record.reached[stage];
    return at === undefined ? [] : [`${stage} ${(at / 1000).toFixed(1)} s`];
  }).join(", ");
}

/**
 * The error for a VM that failed: stage, reason, the last words of its console, what to try.
 *
 * @param lines Last console lines, oldest first.
 */
export function stageError(
  name: string,
  failure: StageFailure,
  lines: readonly string[],
): OmertaError {
  const seconds = (failure.atMs / 1000).toFixed(1);
  const words = lines.length === 0
    ? "the console is empty"
    : `last console lines:\n  ${lines.join("\n  ")}`;
  return new OmertaError(
    "vm-failed",
    `Cannot start VM "${name}": stage ${failure.stage} not reached after ${seconds} s: ${failure.reason}; ${words}`,
    { exit: EXIT.failed, next: ADVICE[failure.stage] },
  );
}
