/**
 * BBR's model of the path: rounds, rates, aggregation, the full pipe
 * (draft-ietf-ccwg-bbr, "Updating Network Path Model Parameters").
 *
 * @module
 */

import { resetFullBw, startRound } from "./bbr_phase.ts";
import { type BbrState, BETA, EXTRA_ACKED_ROUNDS, PHASE } from "./bbr_state.ts";

/** UpdateLatestDeliverySignals(): near the start of the processing of acknowledgments. */
export function updateLatestDeliverySignals(b: BbrState): void {
  const { rs } = b;
  b.lossRoundStart = false;
  b.bwLatest = Math.max(b.bwLatest, rs.rate);
  b.inflightLatest = Math.max(b.inflightLatest, rs.sampleDelivered);
  if (rs.priorDelivered >= b.lossRoundDelivered) {
    b.lossRoundDelivered = rs.delivered;
    b.lossRoundStart = true;
  }
}

/** AdvanceLatestDeliverySignals(): near their end. */
export function advanceLatestDeliverySignals(b: BbrState): void {
  if (!b.lossRoundStart) return;
  b.bwLatest = b.rs.rate;
  b.inflightLatest = b.rs.sampleDelivered;
}

/** UpdateCongestionSignals(). */
export function updateCongestionSignals(b: BbrState): void {
  updateMaxBw(b);
  if (!b.lossRoundStart) return;
  adaptLowerBounds(b);
  b.isLossInRound = false;
}

/** UpdateMaxBw(), with UpdateRound(). */
function updateMaxBw(b: BbrState): void {
  const { rs } = b;
  b.roundStart = rs.priorDelivered >= b.nextRoundDelivered;
  if (b.roundStart) {
    startRound(b);
    b.roundCount++;
    b.roundsSinceProbeUp++;
  }
  if (rs.rate > 0 && (rs.rate >= b.maxBw.value || !rs.isAppLimited)) b.maxBw.add(rs.rate);
}

/** AdaptLowerBoundsFromCongestion(), InitLowerBounds() and LossLowerBounds(), once in a round trip. */
function adaptLowerBounds(b: BbrState): void {
  if (!b.isLossInRound || isProbingBw(b)) return;
  if (b.bwShortterm === Infinity) b.bwShortterm = b.maxBw.value;
  if (b.inflightShortterm === Infinity) {
    // After a timeout the window says nothing about what was in flight before.
    b.inflightShortterm = b.restarts ? Math.max(b.window, b.priorWindow) : b.window;
  }
  b.bwShortterm = Math.max(b.bwLatest, BETA * b.bwShortterm);
  b.inflightShortterm = Math.max(b.inflightLatest, BETA * b.inflightShortterm);
}

/** IsProbingBW(). */
function isProbingBw(b: BbrState): boolean {
  return b.phase === PHASE.startup || b.phase === PHASE.refill || b.phase === PHASE.up;
}

/** BoundBWForModel(). */
export function boundBwForModel(b: BbrState): void {
  b.bw = Math.min(b.maxBw.value, b.bwShortterm);
}

/** UpdateACKAggregation(): what arrives beyond what the rate explains. */
export function updateAckAggregation(b: BbrState, newlyDelivered: number, now: number): void {
  let expected = b.bw * (now - b.extraAckedStart);
  if (b.extraAckedDelivered <= expected) {
    b.extraAckedDelivered = 0;
    b.extraAckedStart = now;
    expected = 0;
  }
  b.extraAckedDelivered += newlyDelivered;
  const rounds = b.fullBwReached ? EXTRA_ACKED_ROUNDS : 1;
  if (b.roundStart && b.roundCount - b.extraAckedRound >= rounds) {
    b.extraAckedRound = b.roundCount;
    b.extraAcked.advance();
  }
  b.extraAcked.add(Math.min(b.extraAckedDelivered - expected, b.window));
}

/** CheckFullBWReached(): three round trips with no more than a little growth. */
export function checkFullBwReached(b: BbrState): void {
  const { rs } = b;
  if (b.fullBwNow || !b.roundStart || rs.isAppLimited) return;
  if (rs.rate >= b.fullBw * 1.25) {
    resetFullBw(b);
    b.fullBw = rs.rate;
    return;
  }
  b.fullBwCount++;
  b.fullBwNow = b.fullBwCount >= 3;
  if (b.fullBwNow) b.fullBwReached = true;
}
