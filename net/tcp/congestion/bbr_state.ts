/**
 * Everything that BBR knows of a connection (draft-ietf-ccwg-bbr, "Variables" and "Initialization").
 *
 * It is data. `bbr_phase.ts` enters states, `bbr_model.ts` updates the model of the path,
 * `bbr_loss.ts` answers to losses, `bbr_probe_bw.ts` and `bbr_probe_rtt.ts` decide when to change
 * state, `bbr_control.ts` sets window and rate, and `bbr.ts` calls them in order.
 *
 * Names are those of the draft; amounts are in bytes, times in ms, rates in bytes per ms.
 *
 * @module
 */

import type { DeliveryRate } from "./delivery_rate.ts";
import { TwoSlotMax } from "./two_slot_max.ts";

/** States ("State Transition Diagram"). */
export const PHASE = {
  /** Doubles the rate in each round trip until the pipe is full. */
  startup: 0,
  /** Drains the queue that this has made. */
  drain: 1,
  /** ProbeBW_DOWN: sends less than what is delivered, so that queues drain and others get room. */
  down: 2,
  /** ProbeBW_CRUISE: sends what is delivered. */
  cruise: 3,
  /** ProbeBW_REFILL: fills the pipe for one round trip. */
  refill: 4,
  /** ProbeBW_UP: sends more than what is delivered, to find out whether there is more. */
  up: 5,
  /** Sends so little that queues are empty, to see the round trip without them. */
  probeRtt: 6,
} as const;

/** Which samples arrive ("ProbeBW Algorithm Details", BBR.ack_phase). */
export const ACKS = {
  /** Not those of a probe. */
  init: 0,
  /** From before a probe: the pipe is being refilled. */
  refilling: 1,
  /** Still from before a probe that has begun. */
  probeStarting: 2,
  /** Those of a probe. */
  probeFeedback: 3,
  /** The last ones of a probe that has ended. */
  probeStopping: 4,
} as const;

/** What was changed because of a loss, to be changed back (BBR.undo_state). */
export const UNDO = { none: 0, startup: 1, up: 2 } as const;

/** BBR.StartupPacingGain: the least with which the rate can double in each round trip. */
export const STARTUP_PACING_GAIN = 2.77;
/** BBR.DrainPacingGain. */
export const DRAIN_PACING_GAIN = 0.5;
/** BBR.DefaultCwndGain. */
export const DEFAULT_CWND_GAIN = 2;
/** Window of ProbeBW_UP, in round trips of data. */
export const UP_CWND_GAIN = 2.25;
/** Rates of ProbeBW_UP and ProbeBW_DOWN, in parts of what is delivered. */
export const UP_PACING_GAIN = 1.25;
/** See {@link UP_PACING_GAIN}. */
export const DOWN_PACING_GAIN = 0.9;
/** BBR.ProbeRTTCwndGain. */
export const PROBE_RTT_CWND_GAIN = 0.5;
/** BBR.LossThresh: part of a flight that may be lost. */
export const LOSS_THRESH = 0.02;
/** BBR.Beta: the most that one answer to a loss takes away. */
export const BETA = 0.7;
/** BBR.Headroom: part of what fits that is left to others. */
export const HEADROOM = 0.15;
/** BBR.MinPipeCwnd, in segments. */
export const MIN_PIPE_SEGMENTS = 4;
/** BBRStartupFullLossCnt: gaps in a round trip that end Startup. */
export const STARTUP_FULL_LOSS_COUNT = 6;
/** BBR.PacingMarginPercent, as a factor. */
export const PACING_MARGIN = 0.99;
/** BBR.MinRTTFilterLen, in ms: two of {@link PROBE_RTT_INTERVAL_MS}. */
export const MIN_RTT_FILTER_MS = 10_000;
/** BBR.ProbeRTTInterval, in ms: the same for every flow, so that they drain a queue together. */
export const PROBE_RTT_INTERVAL_MS = 5000;
/** BBR.ProbeRTTDuration, in ms. */
export const PROBE_RTT_MS = 200;
/** Rounds of one slot of {@link BbrState.extraAcked}: two slots see 5 to 10 rounds. */
export const EXTRA_ACKED_ROUNDS = 5;

/** What BBR knows. */
export class BbrState {
  /** The connection's samples. */
  readonly rs: DeliveryRate;

  // What it decides.
  /** C.cwnd. */
  window: number;
  /** C.pacing_rate. */
  pacingRate: number = Infinity;
  /** One of {@link PHASE}. */
  phase: number = PHASE.startup;
  /** Rate in parts of {@link BbrState.bw}. */
  pacingGain: number = STARTUP_PACING_GAIN;
  /** Window in round trips of data at that rate. */
  cwndGain: number = DEFAULT_CWND_GAIN;

  // What it is told.
  /** C.SMSS. */
  mss: number;
  /** C.InitialCwnd. */
  initialWindow: number;
  /** C.inflight. */
  inFlight = 0;
  /** C.is_cwnd_limited: the window held the sender back in this round trip. */
  windowLimited = false;
  /** A recovery runs. */
  inRecovery = false;
  /** It is one after a timeout. */
  restarts = false;
  /** C.srtt; -1: not measured yet. */
  smoothed = -1;
  /** The other side reports what has arrived out of order. */
  selective = true;

  // Rounds ("BBR.round_count: Tracking Packet-Timed Round Trips").
  /** The round trip ends when something arrives that was sent behind so many bytes. */
  nextRoundDelivered = 0;
  /** It ended with these acknowledgments. */
  roundStart = false;
  /** Round trips so far. */
  roundCount = 0;

  // Rates.
  /** BBR.max_bw, over this and the last cycle of ProbeBW. */
  readonly maxBw: TwoSlotMax = new TwoSlotMax();
  /** BBR.bw. */
  bw = 0;
  /** The bound that losses have set since the last probe. */
  bwShortterm: number = Infinity;
  /** The highest rate of this round trip. */
  bwLatest = 0;

  // Amounts.
  /** What the last probes found to fit into the path; Infinity: not known. */
  inflightLongterm: number = Infinity;
  /** The bound that losses have set since the last probe. */
  inflightShortterm: number = Infinity;
  /** The most delivered over a sample of this round trip. */
  inflightLatest = 0;
  /** BBR.extra_acked: how much more arrives at once than the rate explains. */
  readonly extraAcked: TwoSlotMax = new TwoSlotMax();
  /** When its measurement began. */
  extraAckedStart = 0;
  /** Bytes that have arrived since. */
  extraAckedDelivered = 0;
  /** Round trip in which its slot began. */
  extraAckedRound = 0;

  // Full pipe ("Exiting Acceleration Based on Bandwidth Plateau").
  /** The rate from which growth counts. */
  fullBw = 0;
  /** Round trips without growth. */
  fullBwCount = 0;
  /** The pipe is full. */
  fullBwNow = false;
  /** It was full once. */
  fullBwReached = false;

  // Losses.
  /** A round trip of counting losses ended with these acknowledgments. */
  lossRoundStart = false;
  /** It ends when something arrives that was sent behind so many bytes. */
  lossRoundDelivered = 0;
  /** There was a loss in it. */
  isLossInRound = false;
  /** Gaps found in this round trip. */
  lossEvents = 0;

  // ProbeBW.
  /** Round trip in which Drain began. */
  drainStartRound = 0;
  /** When the cycle of ProbeBW began. */
  cycleAt = 0;
  /** Longest time until the next probe. */
  probeWait = 0;
  /** Round trips since the last one. */
  roundsSinceProbeUp = 0;
  /** Round trips of this probe in which {@link BbrState.inflightLongterm} was raised. */
  probeUpRounds = 0;
  /** Bytes that have arrived towards its next step. */
  probeUpAcked = 0;
  /** Bytes for each step of a segment. */
  probeUpAckedPerInc: number = Infinity;
  /** Samples and losses are those of a probe. */
  isProbeSample = false;
  /** One of {@link ACKS}. */
  ackPhase: number = ACKS.init;
  /** The last probe lost too much. */
  prevProbeTooHigh = false;
  /** The last probe was a short one, out of caution. */
  prevProbePrecautionary = false;

  // Round trips and ProbeRTT.
  /** BBR.min_rtt. */
  minRtt: number = Infinity;
  /** When it was measured. */
  minRttAt = 0;
  /** BBR.probe_rtt_min_delay: the least round trip since the last ProbeRTT began. */
  probeRttMinDelay: number = Infinity;
  /** When it was measured, or ProbeRTT was over. */
  probeRttMinAt = 0;
  /** It is too old. */
  probeRttExpired = false;
  /** When ProbeRTT has lasted long enough; 0: it is not low enough yet. */
  probeRttDoneAt = 0;
  /** It has lasted a round trip. */
  probeRttRoundDone = false;
  /** Sending began anew after nothing was on its way. */
  idleRestart = false;

  // What a recovery that was none gives back.
  /** It was saved for the recovery that runs. */
  isSaved = false;
  /** The last window that no recovery and no ProbeRTT has changed. */
  priorWindow = 0;
  /** One of {@link UNDO}. */
  undoPhase: number = UNDO.none;
  /** {@link BbrState.bwShortterm} before the losses. */
  undoBwShortterm: number = Infinity;
  /** {@link BbrState.inflightShortterm} before them. */
  undoInflightShortterm: number = Infinity;
  /** {@link BbrState.inflightLongterm} before them. */
  undoInflightLongterm: number = Infinity;

  /** State of the generator that spreads probes of different connections. */
  seed = 1;

  /** A connection that begins, before the size of its segments is known. */
  constructor(rs: DeliveryRate, mss: number, initialWindow: number) {
    this.rs = rs;
    this.mss = mss;
    this.initialWindow = initialWindow;
    this.window = initialWindow;
  }
}

/** A number from 0 to 1, without 1: xorshift32 (Marsaglia). */
export function nextRandom(b: BbrState): number {
  let x = b.seed;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  b.seed = x;
  return (x >>> 0) / 2 ** 32;
}

/** Whether it is in one of the states of ProbeBW. */
export function isInProbeBw(b: BbrState): boolean {
  return b.phase >= PHASE.down && b.phase <= PHASE.up;
}
