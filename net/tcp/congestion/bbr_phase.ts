/**
 * Entering the states of BBR (draft-ietf-ccwg-bbr, "State Machine Operation").
 *
 * @module
 */

import {
  ACKS,
  type BbrState,
  DEFAULT_CWND_GAIN,
  DOWN_PACING_GAIN,
  DRAIN_PACING_GAIN,
  nextRandom,
  PHASE,
  PROBE_RTT_CWND_GAIN,
  STARTUP_PACING_GAIN,
  UP_CWND_GAIN,
  UP_PACING_GAIN,
} from "./bbr_state.ts";

/** StartRound(): this round trip ends when something arrives that is sent from now on. */
export function startRound(b: BbrState): void {
  b.nextRoundDelivered = b.rs.delivered;
}

/** ResetFullBW(). */
export function resetFullBw(b: BbrState): void {
  b.fullBw = 0;
  b.fullBwCount = 0;
  b.fullBwNow = false;
}

/** ResetCongestionSignals(). */
export function resetCongestionSignals(b: BbrState): void {
  b.isLossInRound = false;
  b.bwLatest = 0;
  b.inflightLatest = 0;
}

/** ResetShortTermModel(). */
export function resetShortTermModel(b: BbrState): void {
  b.bwShortterm = Infinity;
  b.inflightShortterm = Infinity;
}

/** EnterStartup(). */
export function enterStartup(b: BbrState): void {
  enter(b, PHASE.startup, STARTUP_PACING_GAIN, DEFAULT_CWND_GAIN);
}

/** EnterDrain(). */
export function enterDrain(b: BbrState): void {
  enter(b, PHASE.drain, DRAIN_PACING_GAIN, DEFAULT_CWND_GAIN);
  b.drainStartRound = b.roundCount;
}

/** StartProbeBW_DOWN(). */
export function startDown(b: BbrState, now: number): void {
  resetCongestionSignals(b);
  b.probeUpAckedPerInc = Infinity;
  pickProbeWait(b);
  b.cycleAt = now;
  b.ackPhase = ACKS.probeStopping;
  startRound(b);
  enter(b, PHASE.down, DOWN_PACING_GAIN, DEFAULT_CWND_GAIN);
}

/** StartProbeBW_CRUISE(). */
export function startCruise(b: BbrState): void {
  enter(b, PHASE.cruise, 1, DEFAULT_CWND_GAIN);
}

/** StartProbeBW_REFILL(). */
export function startRefill(b: BbrState): void {
  resetShortTermModel(b);
  b.probeUpRounds = 0;
  b.probeUpAcked = 0;
  b.prevProbePrecautionary = false;
  b.ackPhase = ACKS.refilling;
  startRound(b);
  enter(b, PHASE.refill, 1, DEFAULT_CWND_GAIN);
}

/** StartProbeBW_UP(). */
export function startUp(b: BbrState): void {
  b.ackPhase = ACKS.probeStarting;
  startRound(b);
  resetFullBw(b);
  b.fullBw = b.rs.rate;
  enter(b, PHASE.up, UP_PACING_GAIN, UP_CWND_GAIN);
  raiseInflightLongtermSlope(b);
}

/** EnterProbeRTT(). */
export function enterProbeRtt(b: BbrState): void {
  enter(b, PHASE.probeRtt, 1, PROBE_RTT_CWND_GAIN);
}

/** RaiseInflightLongtermSlope(): by 1, 2, 4... segments in each round trip. */
export function raiseInflightLongtermSlope(b: BbrState): void {
  const growth = 2 ** b.probeUpRounds;
  b.probeUpRounds = Math.min(b.probeUpRounds + 1, 30);
  b.probeUpAckedPerInc = Math.max(b.window / growth, b.mss);
}

function enter(b: BbrState, phase: number, pacingGain: number, cwndGain: number): void {
  b.phase = phase;
  b.pacingGain = pacingGain;
  b.cwndGain = cwndGain;
}

/** PickProbeWait() ("A Dual-Time-Scale Approach for Coexistence"). */
function pickProbeWait(b: BbrState): void {
  b.roundsSinceProbeUp = nextRandom(b) < 0.5 ? 0 : 1;
  b.probeWait = 2000 + 1000 * nextRandom(b);
}
