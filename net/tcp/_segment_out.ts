/**
 * What a connection sends, and when: retransmissions, new data, FIN, acknowledgments.
 *
 * {@link output} is called once at the end of each batch and after each timer, in the order in which
 * the functions stand here. Where the sink has no room nothing changes, and it is tried again a
 * millisecond later.
 *
 * @module
 */

import { TCP_FLAG } from "../wire/tcp.ts";
import { sendAck, sendSegment, sendSyn, windowOpened } from "./_segment_write.ts";
import { hasSentEnough, HEADERS, pipeOf, RECOVERY, stampAt, type Tcb, unsentOf } from "./_tcb.ts";
import { SENT } from "./segment_ring.ts";
import { seqAdd, seqBefore, seqDistance } from "./sequence.ts";
import { maySend, STATE } from "./state.ts";

const { fin: FIN, psh: PSH, ack: ACK } = TCP_FLAG;

/** How long an acknowledgment may wait for data to go with, in ms (RFC 9293 section 3.8.6.3: 500). */
const DELAYED_ACK_MS = 40;
/** Least time for a probe, in ms: batches come later than packets. */
const MIN_PTO_MS = 10;
/** What RFC 8985 section 7.2 adds for a delayed acknowledgment when one segment is out, in ms. */
const WORST_DELAYED_ACK_MS = 200;

/** Sends everything that may be sent now and sets the timers. */
export function output(t: Tcb, now: number): void {
  if (t.state === STATE.closed) return;
  if (t.state === STATE.timeWait) {
    if (t.ackNow) sendAck(t, now);
    t.host.timeWait(t, now);
    return;
  }
  t.paceAt = Infinity;
  if (t.synDue) sendSyn(t, now);
  if (t.state >= STATE.established) {
    if (maySend(t.state) && sendLost(t, now)) sendNew(t, now);
    acknowledge(t, now);
  }
  // The owner is told in the next turn, so that others have theirs before.
  if (hasSentEnough(t)) t.paceAt = Math.min(t.paceAt, now);
  setTimers(t, now);
}

/** Sends again what counts as lost, oldest first; false when there is no room for anything more. */
function sendLost(t: Tcb, now: number): boolean {
  const { board } = t;
  // A closed window is the persist timer's (RFC 9293 section 3.8.6.1).
  if (board.lost === 0 || t.wnd === 0) return board.lost === 0;
  for (let i = board.nextLost(0); i >= 0; i = board.nextLost(i + 1)) {
    const length = seqDistance(board.startOf(i), board.endOf(i));
    const pipe = pipeOf(t);
    if (!t.forceOne && pipe > 0 && pipe + length > t.congestion.window) {
      t.heldBack = true;
      t.windowLimited = true;
      return false;
    }
    if (!t.forceOne && !mayGo(t, now)) return false;
    if (!sendAgain(t, i, now)) return false;
    t.forceOne = false;
  }
  return true;
}

/** Sends entry `i` of the scoreboard again; false when it could not. */
export function sendAgain(t: Tcb, i: number, now: number): boolean {
  const { board } = t;
  let fin = (board.flagsOf(i) & SENT.fin) !== 0;
  let length = seqDistance(board.startOf(i), board.endOf(i)) - (fin ? 1 : 0);
  if (length > t.mss) {
    // The path's MTU has become smaller since. Without a record to spare, what does not fit counts as
    // sent all the same, and is found missing.
    board.split(i, t.mss);
    length = t.mss;
    fin = false;
  }
  const start = board.startOf(i);
  const push = length > 0 && seqAdd(start, length) === t.send.end ? PSH : 0;
  if (!sendSegment(t, start, ACK | push | (fin ? FIN : 0), length, now)) return false;
  const pipe = pipeOf(t);
  t.rate.sending(pipe, now);
  if (t.recovery !== RECOVERY.none && !t.canUndo && t.recoverStamp === 0) {
    t.recoverStamp = stampAt(t, now);
    t.recoverEnd = board.endOf(i);
    t.canUndo = t.timestamps;
  }
  board.sentAgain(i, pipe, now);
  t.retransmits++;
  t.host.counters.retransmits++;
  sent(t, length, now);
  return true;
}

/** New data and FIN, as far as both windows, Nagle and pacing let it. */
function sendNew(t: Tcb, now: number): void {
  t.heldBack = false;
  if (t.una === t.nxt && unsentOf(t) > 0) {
    t.congestion.resume(now - t.sentAt > t.rto.value, now);
  }
  const { window } = t.congestion;
  for (;;) {
    const unsent = unsentOf(t);
    const fin = t.finQueued && !t.finSent;
    if (unsent < t.mss) noteOwnerLimited(t);
    if (unsent === 0 && !fin) return;
    const usable = seqDistance(t.nxt, seqAdd(t.una, t.wnd));
    const length = Math.min(unsent, usable, t.mss);
    if (length <= 0 && !(unsent === 0 && fin && usable > 0)) return;
    if (length < t.mss && !maySendSmall(t, length, unsent)) return;
    const pipe = pipeOf(t);
    if (!t.forceOne && pipe > 0 && pipe + length > window) {
      t.heldBack = true;
      t.windowLimited = true;
      return;
    }
    if (!mayGo(t, now)) return;
    if (!sendFirst(t, length, usable, pipe, now)) return;
    t.forceOne = false;
  }
}

/**
 * CheckIfApplicationLimited() (draft-ietf-ccwg-bbr): less than a segment is left, and the window
 * would have let more go. What is lost was sent before, or this is not called.
 */
function noteOwnerLimited(t: Tcb): void {
  const pipe = pipeOf(t);
  if (pipe < t.congestion.window) t.rate.markAppLimited(pipe);
}

/**
 * Nagle's algorithm (RFC 9293 section 3.7.4) and the sender's side of silly-window avoidance
 * (section 3.8.6.2.1) for a segment that is not full.
 */
function maySendSmall(t: Tcb, length: number, unsent: number): boolean {
  if (length === unsent) {
    if (t.noDelay || t.finQueued || t.una === t.nxt) return true;
    // Minshall: wait only for another small segment, not for full ones.
    return !seqBefore(t.una, t.smallEnd);
  }
  // It is the window that makes it small; the persist timer overrides when nothing is in flight.
  return length >= t.maxWnd / 2;
}

/** Whether the schedule lets a segment go now. */
function mayGo(t: Tcb, now: number): boolean {
  const at = t.pacing.nextAt(now);
  if (at <= now) return true;
  t.paceAt = at;
  t.heldBack = true;
  return false;
}

/**
 * Sends `length` bytes for the first time, with the FIN if it is next; false when it could not.
 *
 * @param pipe Bytes on their way.
 */
export function sendFirst(
  t: Tcb,
  length: number,
  usable: number,
  pipe: number,
  now: number,
): boolean {
  if (!t.board.hasRoom()) return false;
  const last = length === unsentOf(t);
  const fin = last && t.finQueued && !t.finSent && usable > length;
  const flags = ACK | (last && length > 0 ? PSH : 0) | (fin ? FIN : 0);
  if (!sendSegment(t, t.nxt, flags, length, now)) return false;
  const end = seqAdd(t.nxt, length + (fin ? 1 : 0));
  if (t.una === t.nxt) t.progressAt = now;
  t.rate.sending(pipe, now);
  t.board.push(t.nxt, end, fin ? SENT.fin : 0, pipe + length, now);
  t.nxt = end;
  if (fin) t.finSent = true;
  if (length < t.mss) t.smallEnd = end;
  sent(t, length, now);
  t.bytesOut += length;
  t.ptoAt = Infinity;
  return true;
}

function sent(t: Tcb, length: number, now: number): void {
  t.pacing.sent(length + HEADERS, now);
  if (t.recovery === RECOVERY.fast) t.congestion.sent(length);
  t.sentAt = now;
}

/** Acknowledges what has arrived: at once, with the next data, or after a while. */
function acknowledge(t: Tcb, now: number): void {
  if (!t.ackNow && t.unacknowledged > 0) {
    // RFC 9293 section 3.8.6.3: at least every second full segment; at the beginning, each.
    if (t.unacknowledged > t.segmentSize) t.ackNow = true;
    else if (t.quickAcks > 0) {
      t.quickAcks--;
      t.ackNow = true;
    } else if (t.ackAt === Infinity) t.ackAt = now + DELAYED_ACK_MS;
  }
  if (t.ackNow || windowOpened(t)) sendAck(t, now);
}

/** Every deadline that follows from what is in flight now. */
function setTimers(t: Tcb, now: number): void {
  if (t.state >= STATE.established) {
    if (t.una === t.nxt) {
      t.rtoAt = Infinity;
      t.ptoAt = Infinity;
      t.reorderAt = Infinity;
      setPersist(t, now);
    } else {
      t.persistAt = Infinity;
      if (t.rtoAt === Infinity) t.rtoAt = now + t.rto.value;
      if (t.ptoAt === Infinity) setProbe(t, now);
    }
  }
  const due = nextDeadline(t);
  if (due !== Infinity) t.host.schedule(t, due);
}

/** RFC 9293 section 3.8.6.1: data waits, nothing is in flight, and the window is closed or small. */
function setPersist(t: Tcb, now: number): void {
  const waits = unsentOf(t) > 0 || (t.finQueued && !t.finSent);
  const held = t.paceAt !== Infinity || t.board.lost > 0;
  if (!waits || held || !maySend(t.state)) t.persistAt = Infinity;
  else if (t.persistAt === Infinity) t.persistAt = now + t.rto.value;
}

/** TLP_calc_PTO() (RFC 8985 section 7.2). */
function setProbe(t: Tcb, now: number): void {
  const { board } = t;
  if (!t.sack || t.tlpActive || t.recovery !== RECOVERY.none) return;
  if (board.sacked > 0 || board.lost > 0 || t.wnd === 0) return;
  let wait = t.rto.smoothed < 0 ? 1000 : Math.max(MIN_PTO_MS, 2 * t.rto.smoothed);
  if (board.count === 1) wait += WORST_DELAYED_ACK_MS;
  t.ptoAt = Math.min(now + wait, t.rtoAt);
}

/** The earliest deadline of all, in ms. */
export function nextDeadline(t: Tcb): number {
  return Math.min(
    t.rtoAt,
    t.ptoAt,
    t.reorderAt,
    t.persistAt,
    t.ackAt,
    t.paceAt,
    t.keepaliveAt,
  );
}
