/**
 * BBR congestion control, version 3 (draft-ietf-ccwg-bbr): it sends as fast as the path delivers, with
 * about as much in flight as the path holds. Losses tell it something only when they are many.
 *
 * Read "State Machine" and "Algorithm Organization" of the draft first. Its functions stand in the
 * files named `bbr_*.ts` under the draft's names; here is the order in which they are called.
 *
 * Not the draft's: it is run once for a batch of acknowledgments, which arrived at one time; and the
 * first flights are paced by the window (`bbr_control.ts`).
 *
 * @module
 */

import type { AckEvent, CongestionControl } from "./control.ts";
import {
  inflightOf,
  initPacingRate,
  paceFirstFlights,
  restoreWindow,
  setPacingRate,
  setWindow,
} from "./bbr_control.ts";
import {
  checkStartupHighLoss,
  handleProbeLoss,
  handleSpuriousLoss,
  noteLoss,
  saveStateUponLoss,
} from "./bbr_loss.ts";
import {
  advanceLatestDeliverySignals,
  boundBwForModel,
  checkFullBwReached,
  updateAckAggregation,
  updateCongestionSignals,
  updateLatestDeliverySignals,
} from "./bbr_model.ts";
import { enterDrain, startDown } from "./bbr_phase.ts";
import { updateProbeBwCyclePhase } from "./bbr_probe_bw.ts";
import { checkProbeRtt, checkProbeRttDone, updateMinRtt } from "./bbr_probe_rtt.ts";
import { BbrState, isInProbeBw, PHASE } from "./bbr_state.ts";
import { initialWindow } from "./cubic.ts";
import type { DeliveryRate } from "./delivery_rate.ts";
import type { Pacing } from "./pacing.ts";

/** Before the handshake says it: MSS when the other side names none (RFC 9293 section 3.7.1). */
const DEFAULT_MSS = 536;
/** Round trips after which Drain ends in any case. */
const DRAIN_ROUNDS = 3;

/** BBR. */
export class Bbr implements CongestionControl {
  /** See {@link CongestionControl.name}. */
  readonly name = "bbr";
  /** What it knows. */
  readonly state: BbrState;
  readonly #pacing: Pacing;
  #now = 0;

  /** Takes samples of `rate` and sets the rate of `pacing`. */
  constructor(rate: DeliveryRate, pacing: Pacing) {
    this.state = new BbrState(rate, DEFAULT_MSS, initialWindow(DEFAULT_MSS));
    this.#pacing = pacing;
  }

  /** See {@link CongestionControl.window}. */
  get window(): number {
    return this.state.window;
  }

  /** OnInit(). */
  begin(mss: number, smoothed: number, seed: number, now: number): void {
    const b = this.state;
    this.#now = now;
    b.mss = mss;
    b.initialWindow = initialWindow(mss);
    b.window = b.initialWindow;
    b.seed = seed === 0 ? 1 : seed;
    b.minRtt = smoothed > 0 ? smoothed : Infinity;
    b.minRttAt = now;
    b.probeRttMinDelay = b.minRtt;
    b.probeRttMinAt = now;
    b.extraAckedStart = now;
    // The initial window itself is not paced, as in Linux.
    initPacingRate(b, smoothed);
    this.#pacing.rate = Infinity;
  }

  /** See {@link CongestionControl.setMss}. */
  setMss(mss: number): void {
    this.state.mss = mss;
  }

  /** OnTransmit(): HandleRestartFromIdle(). */
  resume(_quiet: boolean, now: number): void {
    const b = this.state;
    if (b.rs.appLimited === 0) return;
    b.idleRestart = true;
    b.extraAckedStart = now;
    if (isInProbeBw(b)) setPacingRate(b, 1);
    else if (b.phase === PHASE.probeRtt) checkProbeRttDone(b, now);
    this.#pacing.rate = b.pacingRate;
  }

  /** See {@link CongestionControl.sent}. */
  sent(): void {}

  /** UpdateOnACK(). */
  acknowledged(ack: AckEvent): void {
    const b = this.state;
    const { now } = ack;
    this.#now = now;
    b.inFlight = ack.pipe;
    b.inRecovery = ack.recovers || ack.restarts;
    b.restarts = ack.restarts;
    b.smoothed = ack.smoothed;
    b.selective = ack.selective;
    b.rs.generate(b.minRtt);
    if (!b.rs.hasData) return;
    if (ack.windowLimited) b.windowLimited = true;
    this.#updateModelAndState(ack);
    // UpdateControlParameters().
    setPacingRate(b, b.pacingGain);
    setWindow(b, ack.newlyDelivered);
    paceFirstFlights(b);
    this.#pacing.rate = b.pacingRate;
    if (b.roundStart) b.windowLimited = false;
  }

  /** UpdateModelAndState(). */
  #updateModelAndState(ack: AckEvent): void {
    const b = this.state;
    const { now, newlyDelivered } = ack;
    updateLatestDeliverySignals(b);
    updateCongestionSignals(b);
    updateAckAggregation(b, newlyDelivered, now);
    checkFullBwReached(b);
    // CheckStartupDone().
    checkStartupHighLoss(b);
    if (b.phase === PHASE.startup && b.fullBwReached) enterDrain(b);
    // CheckDrainDone().
    if (b.phase === PHASE.drain) {
      const late = b.roundCount > b.drainStartRound + DRAIN_ROUNDS;
      if (late || b.inFlight <= inflightOf(b, b.bw, 1)) startDown(b, now);
    }
    updateProbeBwCyclePhase(b, newlyDelivered, now);
    updateMinRtt(b, ack.roundTrip, now);
    checkProbeRtt(b, now);
    advanceLatestDeliverySignals(b);
    boundBwForModel(b);
  }

  /** HandleLostPacket(). */
  segmentLost(
    size: number,
    inFlight: number,
    lostSince: number,
    ownerLimited: boolean,
    apart: boolean,
  ): void {
    const b = this.state;
    saveStateUponLoss(b);
    noteLoss(b);
    if (apart) b.lossEvents++;
    handleProbeLoss(b, size, inFlight, lostSince, ownerLimited, this.#now);
  }

  /** OnEnterFastRecovery(): {@link segmentLost} has saved the state already. */
  recoveryBegun(): void {
    saveStateUponLoss(this.state);
    this.state.inRecovery = true;
  }

  /** See {@link CongestionControl.foundByTimer}: the window answers to rates, not to the loss. */
  foundByTimer(): void {}

  /** See {@link CongestionControl.recovered}. */
  recovered(): void {
    restoreWindow(this.state);
    this.state.inRecovery = false;
    this.state.isSaved = false;
  }

  /** A loss of the last segment, which no acknowledgment told of. */
  probeRepaired(): void {
    const b = this.state;
    noteLoss(b);
    const flight = b.inflightLatest + b.mss;
    handleProbeLoss(b, b.mss, flight, b.mss, b.rs.isAppLimited, this.#now);
  }

  /** OnEnterRTO(). */
  timedOut(): void {
    saveStateUponLoss(this.state);
    this.state.inRecovery = true;
  }

  /** OnEnterRTO(): one segment. */
  restart(pipe: number): void {
    this.state.window = pipe + this.state.mss;
  }

  /** See {@link CongestionControl.undo}. */
  undo(now: number): void {
    this.#now = now;
    handleSpuriousLoss(this.state);
    this.state.inRecovery = false;
    this.state.isSaved = false;
  }
}
