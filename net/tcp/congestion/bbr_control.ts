/**
 * What BBR sets: the rate and the window (draft-ietf-ccwg-bbr, "Updating Control Parameters").
 *
 * @module
 */

import {
  type BbrState,
  HEADROOM,
  isInProbeBw,
  MIN_PIPE_SEGMENTS,
  PACING_MARGIN,
  PHASE,
  PROBE_RTT_CWND_GAIN,
  STARTUP_PACING_GAIN,
} from "./bbr_state.ts";

/** What is sent at once: whoever drives the stack wakes once in a millisecond at best. */
const QUANTUM_MS = 1;
/** Most of it, in bytes. */
const MAX_QUANTUM = 65536;
/** Quanta that sending, the way and the other side's acknowledgments hold on to. */
const QUANTA = 3;

/** What the schedule counts for a segment beside its data, in bytes; samples count data. */
const HEADERS = 40;
/** Round trips whose flights are paced by the window, and how many windows in a round trip. */
const FIRST_ROUNDS = 3;
const FIRST_GAIN = 2;

/** InitPacingRate(). */
export function initPacingRate(b: BbrState, smoothed: number): void {
  b.pacingRate = STARTUP_PACING_GAIN * b.initialWindow / (smoothed > 0 ? smoothed : 1);
}

/** SetPacingRateWithGain(): until the pipe was full once, the rate only grows. */
export function setPacingRate(b: BbrState, gain: number): void {
  const rate = gain * b.bw * PACING_MARGIN * (1 + HEADERS / b.mss);
  if (b.bw > 0 && (b.fullBwReached || rate > b.pacingRate)) b.pacingRate = rate;
}

/**
 * Whether these are the first flights, of a few dozen segments at most. They are shorter than a round
 * trip, and samples of them too low for window and rate to double. Not the draft's: the window doubles
 * all the same, and gives the rate, as CUBIC's does in slow start.
 */
function isFirstFlights(b: BbrState): boolean {
  return !b.fullBwReached && b.roundCount <= FIRST_ROUNDS;
}

/** The rate of the first flights. */
export function paceFirstFlights(b: BbrState): void {
  if (!isFirstFlights(b) || b.smoothed <= 0) return;
  b.pacingRate = Math.max(b.pacingRate, FIRST_GAIN * b.window / b.smoothed);
}

/** BBR.MinPipeCwnd. */
export function minPipeWindow(b: BbrState): number {
  return MIN_PIPE_SEGMENTS * b.mss;
}

/** BDPMultiple(). */
function bdpMultiple(b: BbrState, bw: number, gain: number): number {
  return b.minRtt === Infinity ? b.initialWindow : gain * bw * b.minRtt;
}

/** QuantizationBudget(), with SetSendQuantum() and UpdateOffloadBudget(). */
function withBudget(b: BbrState, inflight: number): number {
  const quantum = Math.max(Math.min(b.pacingRate * QUANTUM_MS, MAX_QUANTUM), 2 * b.mss);
  const least = Math.max(inflight, QUANTA * quantum, minPipeWindow(b));
  return b.phase === PHASE.up ? least + 2 * b.mss : least;
}

/** Inflight(): `gain` times what the path holds at rate `bw`. */
export function inflightOf(b: BbrState, bw: number, gain: number): number {
  return withBudget(b, bdpMultiple(b, bw, gain));
}

/** TargetInflight(). */
export function targetInflight(b: BbrState): number {
  return Math.min(bdpMultiple(b, b.bw, 1), b.window);
}

/** InflightWithHeadroom(). */
export function inflightWithHeadroom(b: BbrState): number {
  if (b.inflightLongterm === Infinity) return Infinity;
  const headroom = Math.max(b.mss, HEADROOM * b.inflightLongterm);
  return Math.max(b.inflightLongterm - headroom, minPipeWindow(b));
}

/** SaveCwnd(). */
export function saveWindow(b: BbrState): void {
  const known = !b.inRecovery && b.phase !== PHASE.probeRtt;
  b.priorWindow = known ? b.window : Math.max(b.priorWindow, b.window);
}

/** RestoreCwnd(). */
export function restoreWindow(b: BbrState): void {
  b.window = Math.max(b.window, b.priorWindow);
}

/** ProbeRTTCwnd(). */
export function probeRttWindow(b: BbrState): number {
  return Math.max(bdpMultiple(b, b.bw, PROBE_RTT_CWND_GAIN), minPipeWindow(b));
}

/** SetCwnd(), after `newlyDelivered` bytes have arrived ("cwnd Adjustment Mechanism"). */
export function setWindow(b: BbrState, newlyDelivered: number): void {
  const most = withBudget(b, bdpMultiple(b, b.bw, b.cwndGain) + b.extraAcked.value);
  if (b.fullBwReached) b.window = Math.min(b.window + newlyDelivered, most);
  else if (b.window < most || isFirstFlights(b)) b.window += newlyDelivered;
  // Of a short flight the other side may hold back the last acknowledgment.
  if (isFirstFlights(b) && b.roundStart) b.window += b.mss;
  b.window = Math.max(b.window, minPipeWindow(b));
  if (b.phase === PHASE.probeRtt) b.window = Math.min(b.window, probeRttWindow(b));
  boundWindowForModel(b);
}

/** BoundCwndForModel(). */
function boundWindowForModel(b: BbrState): void {
  let cap = Infinity;
  if (isInProbeBw(b) && b.phase !== PHASE.cruise) cap = b.inflightLongterm;
  else if (b.phase === PHASE.probeRtt || b.phase === PHASE.cruise) cap = inflightWithHeadroom(b);
  cap = Math.max(Math.min(cap, b.inflightShortterm), minPipeWindow(b));
  b.window = Math.min(b.window, cap);
}
