/**
 * The cycle of probing for bandwidth (draft-ietf-ccwg-bbr, "ProbeBW").
 *
 * @module
 */

import { inflightOf, inflightWithHeadroom, targetInflight } from "./bbr_control.ts";
import { isInflightTooHigh } from "./bbr_loss.ts";
import {
  raiseInflightLongtermSlope,
  resetFullBw,
  startCruise,
  startDown,
  startRefill,
  startUp,
} from "./bbr_phase.ts";
import { ACKS, type BbrState, isInProbeBw, PHASE } from "./bbr_state.ts";

/** Most round trips between two probes, so that Reno and CUBIC get their share. */
const RENO_ROUNDS = 63;

/** UpdateProbeBWCyclePhase(). */
export function updateProbeBwCyclePhase(b: BbrState, newlyDelivered: number, now: number): void {
  if (!b.fullBwReached || adaptLongTermModel(b, newlyDelivered)) return;
  switch (b.phase) {
    case PHASE.down:
      if (!checkTimeToProbe(b, now) && isTimeToCruise(b)) startCruise(b);
      break;
    case PHASE.cruise:
      checkTimeToProbe(b, now);
      break;
    case PHASE.refill:
      // After one round trip the pipe is as full as the model lets it be.
      if (b.roundStart) {
        b.isProbeSample = true;
        startUp(b);
      }
      break;
    case PHASE.up:
      if (isTimeToGoDown(b)) {
        b.prevProbeTooHigh = false;
        startDown(b, now);
      }
  }
}

/** AdaptLongTermModel(): the bounds that a probe has found safe; whether it has changed the state. */
function adaptLongTermModel(b: BbrState, newlyDelivered: number): boolean {
  const { rs } = b;
  if (b.ackPhase === ACKS.probeStarting && b.roundStart) b.ackPhase = ACKS.probeFeedback;
  if (b.ackPhase === ACKS.probeStopping && b.roundStart) {
    b.isProbeSample = false;
    b.ackPhase = ACKS.init;
    if (isInProbeBw(b)) {
      if (!rs.isAppLimited) b.maxBw.advance();
      // Precautionary probing: a short probe went well, a long one follows at once.
      if (b.prevProbePrecautionary && !b.prevProbeTooHigh) {
        startRefill(b);
        return true;
      }
    }
  }
  if (isInflightTooHigh(b, rs.sampleLost, rs.inFlight)) return false;
  if (b.inflightLongterm === Infinity) return false;
  b.inflightLongterm = Math.max(b.inflightLongterm, rs.inFlight);
  if (b.phase === PHASE.up) probeInflightLongtermUpward(b, newlyDelivered);
  return false;
}

/** ProbeInflightLongtermUpward(). */
function probeInflightLongtermUpward(b: BbrState, newlyDelivered: number): void {
  if (!b.windowLimited || b.window < b.inflightLongterm) return;
  b.probeUpAcked += newlyDelivered;
  if (b.probeUpAcked >= b.probeUpAckedPerInc) {
    const steps = Math.floor(b.probeUpAcked / b.probeUpAckedPerInc);
    b.probeUpAcked -= steps * b.probeUpAckedPerInc;
    b.inflightLongterm += steps * b.mss;
  }
  if (b.roundStart) raiseInflightLongtermSlope(b);
}

/** IsTimeToProbeBW(), with IsRenoCoexistenceProbeTime(): enters ProbeBW_REFILL if so. */
function checkTimeToProbe(b: BbrState, now: number): boolean {
  const rounds = Math.min(targetInflight(b) / b.mss, RENO_ROUNDS);
  if (now <= b.cycleAt + b.probeWait && b.roundsSinceProbeUp < rounds) return false;
  startRefill(b);
  return true;
}

/** IsTimeToCruise(). */
function isTimeToCruise(b: BbrState): boolean {
  if (b.inFlight > inflightWithHeadroom(b)) return false;
  return b.inFlight <= inflightOf(b, b.maxBw.value, 1);
}

/** IsTimeToGoDown(). */
function isTimeToGoDown(b: BbrState): boolean {
  if (b.prevProbeTooHigh && b.inFlight >= b.inflightLongterm) {
    b.prevProbePrecautionary = true;
    return true;
  }
  if (b.windowLimited && b.window >= b.inflightLongterm) {
    resetFullBw(b);
    b.fullBw = b.rs.rate;
    return false;
  }
  return b.fullBwNow;
}
