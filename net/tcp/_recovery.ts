/**
 * What a connection concludes: from the acknowledgments of a batch, and from a timer that ran out.
 *
 * Acknowledgments are noted one by one where they arrive; what follows from them for losses, windows
 * and rates is decided here once, when the batch ends. A batch is what arrived at the same time, so
 * nothing is lost by it, and a batch of hundred acknowledgments costs one decision.
 *
 * @module
 */

import { seqAdd, seqBefore, seqDistance } from "./sequence.ts";
import { SENT } from "./segment_ring.ts";
import { STATE } from "./state.ts";
import { DUP_THRESH } from "./rack.ts";
import type { AckEvent } from "./congestion/control.ts";
import { finish, pipeOf, RECOVERY, type Tcb, unsentOf } from "./_tcb.ts";
import { nextDeadline, sendAgain, sendFirst } from "./_segment_out.ts";
import { sendAbort, sendProbe } from "./_segment_write.ts";

/** How long a SYN is repeated, in ms: R2 for a SYN (RFC 9293 section 3.8.3). */
const SYN_GIVE_UP_MS = 180_000;
/** How long the answer to a SYN is repeated, in ms; five times, as Linux does. */
const SYN_ACK_GIVE_UP_MS = 63_000;

/** What congestion control is told; one object, filled anew each time. */
const ack: AckEvent = {
  now: 0,
  una: 0,
  next: 0,
  newlyDelivered: 0,
  duplicates: 0,
  pipe: 0,
  flightBefore: 0,
  roundTrip: -1,
  smoothed: -1,
  progress: false,
  newlyLost: false,
  begun: false,
  recovers: false,
  restarts: false,
  limited: false,
  windowLimited: false,
  selective: false,
};

/** Draws the conclusions of a batch of acknowledgments. */
export function afterAcks(t: Tcb, now: number): void {
  if (!t.acknowledged) return;
  t.acknowledged = false;
  const { board } = t;
  measure(t, now);
  tailProbeAcknowledged(t);
  if (t.ackProgress) {
    t.rto.progress();
    t.progressAt = now;
    t.rtoAt = Infinity;
    t.ptoAt = Infinity;
    undoIfLate(t, now);
    endRecovery(t);
  }

  const wasLost = board.lost;
  if (t.sack) detectByTime(t, now);
  else detectByCount(t);
  const newlyLost = board.lost > wasLost;
  const begins = newlyLost && t.recovery === RECOVERY.none;
  if (begins) {
    beginRecovery(t);
    t.forceOne = true;
  }
  tellCongestion(t, newlyLost, begins, now);
  t.send.grow(t.congestion.window);
  t.newDuplicateBytes = 0;
  t.windowLimited = false;
  t.ackProgress = false;
  t.ackStampKnown = false;
  t.undoStampKnown = false;
}

function tellCongestion(t: Tcb, newlyLost: boolean, begun: boolean, now: number): void {
  const { board } = t;
  ack.now = now;
  ack.una = t.una;
  ack.next = t.nxt;
  ack.newlyDelivered = board.newlyDelivered;
  ack.duplicates = t.newDuplicateBytes;
  ack.pipe = pipeOf(t);
  ack.flightBefore = t.flightBefore;
  ack.roundTrip = board.newestSentAt >= 0 ? now - board.newestSentAt : -1;
  ack.smoothed = t.rto.smoothed;
  ack.progress = t.ackProgress;
  ack.newlyLost = newlyLost;
  ack.begun = begun;
  ack.recovers = t.recovery === RECOVERY.fast;
  ack.restarts = t.recovery === RECOVERY.timeout;
  ack.limited = t.heldBack;
  ack.windowLimited = t.windowLimited;
  ack.selective = t.sack;
  t.congestion.acknowledged(ack);
}

/** Round trips (RFC 6298 with Karn's algorithm, RFC 7323 section 4). */
function measure(t: Tcb, now: number): void {
  const { board } = t;
  if (board.oldestSentAt >= 0) t.rto.sample(now - board.oldestSentAt);
  else if (board.newestSentAt >= 0 && t.rto.smoothed < 0) t.rto.sample(now - board.newestSentAt);
  else if (t.ackProgress && t.ackEchoAt >= 0) t.rto.sample(Math.max(0, now - t.ackEchoAt));
}

/** RACK (RFC 8985 section 6.2). */
function detectByTime(t: Tcb, now: number): void {
  const { board } = t;
  t.reorderAt = Infinity;
  if (board.sacked === 0 && t.recovery === RECOVERY.none) return;
  const wait = board.detectLoss(reorderWindow(t), now);
  if (wait > 0) t.reorderAt = now + Math.max(1, wait);
}

function reorderWindow(t: Tcb): number {
  const eager = t.recovery !== RECOVERY.none || t.board.sackedCount >= DUP_THRESH;
  return t.rack.reorderWindow(t.rto.smoothed, eager);
}

/** Three duplicate acknowledgments, and partial ones (RFC 5681 section 3.2, RFC 6582 section 3.2). */
function detectByCount(t: Tcb): void {
  const { board } = t;
  const partial = t.recovery === RECOVERY.fast && t.ackProgress;
  const third = t.recovery === RECOVERY.none && t.duplicates >= DUP_THRESH;
  if (!partial && !third) return;
  // A hole that was filled again already is waited for.
  if ((board.flagsOf(0) & SENT.again) === 0) board.markLost(0);
}

/** RFC 6675 section 5, step 4; RFC 9438 section 4.6. */
function beginRecovery(t: Tcb): void {
  const flight = seqDistance(t.una, t.nxt);
  t.recovery = RECOVERY.fast;
  t.recoverAt = t.nxt;
  t.recoverStamp = 0;
  t.canUndo = false;
  t.tlpActive = false;
  t.ptoAt = Infinity;
  t.congestion.recoveryBegun(flight);
  t.host.counters.recoveries++;
}

/** RFC 6675 section 5, step A. */
function endRecovery(t: Tcb): void {
  if (t.recovery === RECOVERY.none || seqBefore(t.una, t.recoverAt)) return;
  t.congestion.recovered(t.recovery === RECOVERY.fast);
  leaveRecovery(t);
  t.rack.recovered();
}

function leaveRecovery(t: Tcb): void {
  t.recovery = RECOVERY.none;
  t.duplicates = 0;
  t.duplicateBytes = 0;
  t.canUndo = false;
}

/**
 * The Eifel detection (RFC 3522): what was sent again is acknowledged, and what had arrived of it was
 * sent before, so nothing was lost, and the window is as before (RFC 4015).
 */
function undoIfLate(t: Tcb, now: number): void {
  if (!t.canUndo || !t.undoStampKnown) return;
  t.canUndo = false;
  if (!seqBefore(t.undoStamp, t.recoverStamp)) return;
  t.congestion.undo(now);
  t.board.unmarkLost();
  leaveRecovery(t);
  t.rack.reordered = true;
  t.host.counters.undone++;
}

/** TLP_process_ack() (RFC 8985 section 7.4). */
function tailProbeAcknowledged(t: Tcb): void {
  const duplicate = t.duplicateReported;
  t.duplicateReported = false;
  if (duplicate) t.rack.duplicateSeen(t.una, t.nxt);
  if (!t.tlpActive || seqBefore(t.una, t.tlpEnd)) return;
  // Without a timestamp it may be the original that has arrived, and the probe's DSACK is on its way.
  if (t.tlpAgain && !duplicate && t.una === t.tlpEnd && !t.ackStampKnown) return;
  t.tlpActive = false;
  // New data was the probe, or both transmissions arrived: nothing was lost.
  if (!t.tlpAgain || duplicate || t.recovery !== RECOVERY.none) return;
  if (t.timestamps && t.ackStampKnown && seqBefore(t.ackStamp, t.tlpStamp)) return;
  // The probe has repaired a loss: the window must hear of it once.
  t.congestion.probeRepaired(t.flightBefore);
  t.host.counters.recoveries++;
}

/** Looks at every deadline; whether one had passed. */
export function expire(t: Tcb, now: number): void {
  if (t.state === STATE.closed) return;
  if (nextDeadline(t) > now) {
    t.host.schedule(t, nextDeadline(t));
    return;
  }
  // Where both are due the probe comes first (RFC 8985 section 7.2).
  if (now >= t.ptoAt) tailProbe(t, now);
  else if (now >= t.rtoAt) timeout(t, now);
  if (t.state === STATE.closed) return;
  if (now >= t.reorderAt) reorderTimeout(t, now);
  if (now >= t.persistAt) persist(t, now);
  if (now >= t.ackAt) {
    t.ackAt = Infinity;
    t.ackNow = true;
  }
  if (now >= t.keepaliveAt) keepalive(t, now);
  if (t.state !== STATE.closed) t.host.changed(t);
}

/** The retransmission timer (RFC 6298 section 5.4 to 5.7). */
function timeout(t: Tcb, now: number): void {
  t.rtoAt = Infinity;
  if (t.state < STATE.established) {
    const limit = t.state === STATE.synSent ? SYN_GIVE_UP_MS : SYN_ACK_GIVE_UP_MS;
    if (now >= t.startedAt + Math.min(limit, t.connectMs)) return giveUp(t, false);
    t.rto.expired();
    t.synDue = true;
    return;
  }
  // A closed window may stay closed for as long as the other side answers (RFC 9293 section 3.8.6.1).
  const since = t.wnd === 0 ? Math.max(t.heardAt, t.progressAt) : t.progressAt;
  if (now - since >= t.giveUpMs) return giveUp(t, true);
  t.rto.expired();
  if (t.wnd === 0) {
    sendAgain(t, 0, now);
    t.rtoAt = now + t.rto.value;
    return;
  }
  const { board, congestion } = t;
  t.host.counters.timeouts++;
  // Acknowledged selectively, but never in order: the other side has changed its mind.
  if ((board.flagsOf(0) & SENT.sacked) !== 0) board.forgetSacks();
  t.duplicates = 0;
  t.duplicateBytes = 0;
  if (t.recovery === RECOVERY.none) {
    congestion.timedOut(seqDistance(t.una, t.nxt));
    t.recoverStamp = 0;
    t.canUndo = false;
    t.host.counters.recoveries++;
  }
  // In a recovery, the loss that it began with was answered already (RFC 5681 section 3.1), and only
  // its first retransmission can show that there was none.
  t.recovery = RECOVERY.timeout;
  t.recoverAt = t.nxt;
  t.tlpActive = false;
  t.ptoAt = Infinity;
  t.reorderAt = Infinity;
  board.markTimedOut(reorderWindow(t), now);
  congestion.restart(pipeOf(t));
  t.forceOne = true;
  t.rtoAt = now + t.rto.value;
}

/** The way may be there again: what waits for a timeout, or to look at a window, waits no longer. */
export function hurry(t: Tcb, now: number): void {
  if (t.rtoAt !== Infinity) t.rtoAt = Math.min(t.rtoAt, now);
  else if (t.persistAt !== Infinity) t.persistAt = Math.min(t.persistAt, now);
  t.host.schedule(t, nextDeadline(t));
}

/** TLP_send_probe() (RFC 8985 section 7.3). */
function tailProbe(t: Tcb, now: number): void {
  t.ptoAt = Infinity;
  const last = t.board.count - 1;
  if (last < 0) return;
  const usable = seqDistance(t.nxt, seqAdd(t.una, t.wnd));
  const fresh = Math.min(unsentOf(t), usable, t.mss);
  const sentNew = fresh > 0 && sendFirst(t, fresh, usable, pipeOf(t), now);
  if (!sentNew && !sendAgain(t, last, now)) return;
  t.ptoAt = Infinity;
  t.tlpActive = true;
  t.tlpEnd = t.nxt;
  t.tlpAgain = !sentNew;
  t.tlpStamp = (Math.floor(now) + t.timestampOffset) | 0;
  t.rtoAt = now + t.rto.value;
  t.host.counters.tailProbes++;
}

/** The time for reordering is over (RFC 8985 section 6.2, step 5). */
function reorderTimeout(t: Tcb, now: number): void {
  const wasLost = t.board.lost;
  detectByTime(t, now);
  if (t.board.lost === wasLost || t.recovery !== RECOVERY.none) return;
  beginRecovery(t);
  t.congestion.foundByTimer(pipeOf(t));
  t.forceOne = true;
}

/**
 * The window is closed, or too small for a good segment (RFC 9293 sections 3.8.6.1 and 3.8.6.2.1).
 *
 * What fits is sent; from then on it is in flight, and the retransmission timer repeats it. Into a
 * closed window goes a number that was acknowledged already, as Linux does it: the answer says as much
 * as that to one octet of new data. With the octet in flight our acknowledgments would lie outside of
 * the window, and some, such as Linux, drop those: what comes from there would stand still as well.
 */
function persist(t: Tcb, now: number): void {
  t.persistAt = Infinity;
  if (t.rto.backoff === 0) t.progressAt = now;
  if (now - Math.max(t.heardAt, t.progressAt) >= t.giveUpMs) return giveUp(t, true);
  t.rto.expired();
  const usable = seqDistance(t.nxt, seqAdd(t.una, t.wnd));
  if (usable > 0) sendFirst(t, Math.min(unsentOf(t), usable, t.mss), usable, 0, now);
  else sendProbe(t, now);
}

/** RFC 9293 section 3.8.4. */
function keepalive(t: Tcb, now: number): void {
  t.keepaliveAt = Infinity;
  const settings = t.keepalive;
  if (settings === undefined || t.state < STATE.established) return;
  // The same sum on both sides: with a difference, rounding could let it be due for ever.
  const idleAt = t.heardAt + settings.idleMs;
  if (now < idleAt) {
    t.keepaliveSent = 0;
    t.keepaliveAt = idleAt;
    return;
  }
  t.keepaliveAt = now + settings.intervalMs;
  // What is in flight, or waits for a window, asks for an answer already, and has its own limit.
  if (t.una !== t.nxt || unsentOf(t) > 0) return;
  if (t.keepaliveSent >= settings.probes) return giveUp(t, true);
  t.keepaliveSent++;
  sendProbe(t, now);
}

function giveUp(t: Tcb, reset: boolean): void {
  if (reset) sendAbort(t);
  finish(t, t.softError ? "unreachable" : "timeout");
}

/** The path takes only smaller packets now (RFC 1191): what was too large is sent again, smaller. */
export function resendLarger(t: Tcb): void {
  const { board } = t;
  for (let i = 0; i < board.count; i++) {
    if (seqDistance(board.startOf(i), board.endOf(i)) > t.mss) board.markUnsent(i);
  }
  t.forceOne = true;
}

/** The window has opened after probing: what went into the closed one was not taken. */
export function resendAfterProbe(t: Tcb): void {
  const { board } = t;
  t.rto.progress();
  t.rtoAt = Infinity;
  t.persistAt = Infinity;
  for (let i = 0; i < board.count; i++) board.markUnsent(i);
}
