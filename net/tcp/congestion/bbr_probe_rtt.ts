/**
 * The least round trip, and the state in which it is measured anew (draft-ietf-ccwg-bbr, "ProbeRTT").
 *
 * @module
 */

import { probeRttWindow, restoreWindow, saveWindow } from "./bbr_control.ts";
import {
  enterProbeRtt,
  enterStartup,
  resetShortTermModel,
  startCruise,
  startDown,
  startRound,
} from "./bbr_phase.ts";
import {
  ACKS,
  type BbrState,
  MIN_RTT_FILTER_MS,
  PHASE,
  PROBE_RTT_INTERVAL_MS,
  PROBE_RTT_MS,
} from "./bbr_state.ts";

/**
 * UpdateMinRTT(): `roundTrip` of the newest segment that arrived; -1: none.
 *
 * What is measured when ProbeRTT begins has a queue in it: only the short filter takes it, and the
 * long one still has what the last ProbeRTT found ("ProbeRTT Overview").
 */
export function updateMinRtt(b: BbrState, roundTrip: number, now: number): void {
  b.probeRttExpired = now > b.probeRttMinAt + PROBE_RTT_INTERVAL_MS;
  if (roundTrip >= 0 && (roundTrip < b.probeRttMinDelay || b.probeRttExpired)) {
    b.probeRttMinDelay = roundTrip;
    b.probeRttMinAt = now;
  }
  if (b.probeRttMinDelay < b.minRtt || now > b.minRttAt + MIN_RTT_FILTER_MS) {
    b.minRtt = b.probeRttMinDelay;
    b.minRttAt = b.probeRttMinAt;
  }
}

/** CheckProbeRTT(). */
export function checkProbeRtt(b: BbrState, now: number): void {
  if (b.phase !== PHASE.probeRtt && b.probeRttExpired && !b.idleRestart) {
    saveWindow(b);
    enterProbeRtt(b);
    b.probeRttDoneAt = 0;
    b.ackPhase = ACKS.probeStopping;
    startRound(b);
  }
  if (b.phase === PHASE.probeRtt) handleProbeRtt(b, now);
  b.idleRestart = false;
}

/** HandleProbeRTT(). */
function handleProbeRtt(b: BbrState, now: number): void {
  // Its samples are low, and say nothing.
  b.rs.markAppLimited(b.inFlight);
  if (b.probeRttDoneAt === 0) {
    if (b.inFlight > probeRttWindow(b)) return;
    b.probeRttDoneAt = now + PROBE_RTT_MS;
    b.probeRttRoundDone = false;
    startRound(b);
    return;
  }
  if (b.roundStart) b.probeRttRoundDone = true;
  if (b.probeRttRoundDone) checkProbeRttDone(b, now);
}

/** CheckProbeRTTDone(), with ExitProbeRTT(). */
export function checkProbeRttDone(b: BbrState, now: number): void {
  if (b.probeRttDoneAt === 0 || now <= b.probeRttDoneAt) return;
  b.probeRttMinAt = now;
  restoreWindow(b);
  resetShortTermModel(b);
  if (!b.fullBwReached) return enterStartup(b);
  startDown(b, now);
  startCruise(b);
}
