/**
 * How BBR answers to losses: those of a probe say how much fits into the path, and those of a recovery
 * that was none are taken back (draft-ietf-ccwg-bbr, "Updating the Model Upon Packet Loss" and
 * "Updating the Model Upon Detecting a Spurious Loss Recovery").
 *
 * @module
 */

import { inflightOf, restoreWindow, saveWindow, targetInflight } from "./bbr_control.ts";
import { enterStartup, resetFullBw, startDown, startRefill } from "./bbr_phase.ts";
import {
  type BbrState,
  BETA,
  LOSS_THRESH,
  PHASE,
  STARTUP_FULL_LOSS_COUNT,
  UNDO,
} from "./bbr_state.ts";

/**
 * SaveStateUponLoss(), once for a recovery: its first loss may end a probe, and the next one must not
 * save what is left then.
 */
export function saveStateUponLoss(b: BbrState): void {
  if (b.isSaved) return;
  b.isSaved = true;
  saveWindow(b);
  b.undoPhase = UNDO.none;
  b.undoBwShortterm = b.bwShortterm;
  b.undoInflightShortterm = b.inflightShortterm;
  b.undoInflightLongterm = b.inflightLongterm;
}

/** NoteLoss(), without SaveStateUponLoss(). */
export function noteLoss(b: BbrState): void {
  if (!b.isLossInRound) b.lossRoundDelivered = b.rs.delivered;
  b.isLossInRound = true;
}

/** IsInflightTooHigh(): `lost` of `inFlight` bytes. */
export function isInflightTooHigh(b: BbrState, lost: number, inFlight: number): boolean {
  return lost > inFlight * LOSS_THRESH || (lost > 0 && !b.selective);
}

/**
 * HandleLostPacket(), behind NoteLoss(), for a segment of `size` bytes.
 *
 * @param inFlight Bytes on their way when it was sent, with it.
 * @param lost Bytes lost since, with it.
 */
export function handleProbeLoss(
  b: BbrState,
  size: number,
  inFlight: number,
  lost: number,
  isAppLimited: boolean,
  now: number,
): void {
  if (!b.isProbeSample || !isInflightTooHigh(b, lost, inFlight)) return;
  // InflightAtLoss(): where in this segment losses became too many.
  const before = inFlight - size;
  const prefix = (LOSS_THRESH * before - (lost - size)) / (1 - LOSS_THRESH);
  handleInflightTooHigh(b, before + prefix, isAppLimited, now);
}

/** HandleInflightTooHigh(): once for each probe. */
function handleInflightTooHigh(
  b: BbrState,
  inFlight: number,
  isAppLimited: boolean,
  now: number,
): void {
  b.prevProbeTooHigh = true;
  b.isProbeSample = false;
  if (!isAppLimited) b.inflightLongterm = Math.max(inFlight, targetInflight(b) * BETA);
  if (b.phase !== PHASE.up) return;
  b.undoPhase = UNDO.up;
  startDown(b, now);
}

/**
 * CheckStartupHighLoss() ("Exiting Startup Based on Packet Loss"), at the end of a round trip.
 *
 * Without SACK one loss in a round trip is all that can be seen, and is enough.
 */
export function checkStartupHighLoss(b: BbrState): void {
  if (b.phase !== PHASE.startup || b.fullBwReached) return;
  const { rs } = b;
  const enough = b.lossEvents >= STARTUP_FULL_LOSS_COUNT || (!b.selective && b.lossEvents > 0);
  const tooHigh = enough && b.inRecovery && b.lossRoundStart &&
    isInflightTooHigh(b, rs.sampleLost, rs.inFlight);
  if (b.lossRoundStart) b.lossEvents = 0;
  if (!tooHigh) return;
  b.undoPhase = UNDO.startup;
  b.fullBwReached = true;
  b.inflightLongterm = Math.max(inflightOf(b, b.maxBw.value, 1), b.inflightLatest);
}

/** HandleSpuriousLossDetection(). */
export function handleSpuriousLoss(b: BbrState): void {
  restoreWindow(b);
  b.isLossInRound = false;
  resetFullBw(b);
  b.bwShortterm = Math.max(b.bwShortterm, b.undoBwShortterm);
  b.inflightShortterm = Math.max(b.inflightShortterm, b.undoInflightShortterm);
  b.inflightLongterm = Math.max(b.inflightLongterm, b.undoInflightLongterm);
  if (b.undoPhase === UNDO.startup && b.phase !== PHASE.startup) {
    b.fullBwReached = false;
    if (b.phase !== PHASE.probeRtt) enterStartup(b);
  } else if (b.undoPhase === UNDO.up && b.phase !== PHASE.up) {
    if (b.phase !== PHASE.probeRtt) startRefill(b);
  }
  b.undoPhase = UNDO.none;
}
