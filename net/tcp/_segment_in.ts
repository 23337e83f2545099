/**
 * A segment arrives for a connection (RFC 9293 section 3.10.7). The functions stand in the order of
 * that section's steps, with the changes of RFC 5961 and RFC 7323.
 *
 * No handler is called from here, and next to nothing is sent: both happen when the batch ends.
 *
 * @module
 */

import { TCP_FLAG } from "../wire/tcp.ts";
import type { Segment } from "./_segment.ts";
import { dataIn, enterTimeWait, reportDuplicate } from "./_data_in.ts";
import { agree, sendReset } from "./_segment_write.ts";
import {
  DEFAULT_MSS,
  EVENT,
  finAcknowledged,
  finish,
  MIN_MSS,
  raise,
  stampAt,
  type Tcb,
} from "./_tcb.ts";
import { resendAfterProbe } from "./_recovery.ts";
import { seqAdd, seqAtMost, seqBefore, seqDistance } from "./sequence.ts";
import { STATE } from "./state.ts";

const { fin: FIN, syn: SYN, rst: RST, ack: ACK } = TCP_FLAG;

/** Least time between two challenge ACKs of one connection, in ms (RFC 5961 section 7). */
const CHALLENGE_MS = 500;
/** After so long without a segment, an old timestamp proves nothing, in ms (RFC 7323 section 5.5). */
const PAWS_IDLE_MS = 24 * 24 * 3600 * 1000;

/** Takes one segment. Never throws. */
export function segmentIn(t: Tcb, s: Segment, now: number): void {
  if (t.state === STATE.synSent) return synSentIn(t, s, now);
  if (t.state === STATE.closed) return;
  t.host.changed(t);
  if (t.state === STATE.synReceived && s.has(SYN) && s.sequence === t.irs) {
    return synAgainIn(t, s, now);
  }
  if (!timestampFits(t, s, now)) return;
  // First: the sequence number.
  if (!acceptable(t, s)) {
    t.host.counters.outsideWindow++;
    if (!s.has(RST)) answerOutside(t, s, now);
    return;
  }
  // Second: RST. Fourth: SYN. (The third, security, is obsolete.)
  if (s.has(RST)) return resetIn(t, s, now);
  if (s.has(SYN)) return challenge(t, now);
  // Fifth: ACK.
  if (!s.has(ACK)) return;
  t.heardAt = now;
  if (t.state === STATE.synReceived && !establish(t, s, now)) return;
  if (!ackIn(t, s, now)) return;
  // Behind the acknowledgment: who has to guess that one must not move the clock of PAWS.
  noteTimestamp(t, s, now);
  if (closingIn(t)) return;
  // Sixth: the urgent pointer, which is ignored (RFC 6093). Seventh: the data. Eighth: FIN.
  if (s.length > 0 || s.has(FIN)) dataIn(t, s, s.sequence, now);
}

/**
 * In SYN-RECEIVED, the SYN that it began with: its answer was lost, or, with an ACK, the other side
 * has opened at the same time (section 3.5, figure 8).
 */
function synAgainIn(t: Tcb, s: Segment, now: number): void {
  if (s.has(RST)) return;
  if (!s.has(ACK)) {
    t.synDue = true;
    if (t.timestamps && s.options.timestamps) noteTimestamp(t, s, now);
  } else if (s.acknowledgment === t.nxt) {
    t.heardAt = now;
    open(t, s.acknowledgment, now);
    takeWindow(t, s, s.window);
    t.ackNow = true;
  }
}

/** SYN-SENT (section 3.10.7.3). */
function synSentIn(t: Tcb, s: Segment, now: number): void {
  const acked = s.has(ACK);
  const valid = acked && s.acknowledgment === t.nxt && t.nxt !== t.iss;
  if (acked && !valid) {
    if (!s.has(RST)) {
      const { ip, counters } = t.host;
      const to = s.acknowledgment;
      if (sendReset(ip, t.local, t.localPort, t.remote, t.remotePort, to, 0, false)) {
        counters.resetsOut++;
      }
    }
    return;
  }
  if (s.has(RST)) {
    if (!valid) return;
    t.host.counters.resetsIn++;
    return finish(t, "refused");
  }
  if (!s.has(SYN)) return;
  t.host.changed(t);
  t.heardAt = now;
  t.irs = s.sequence;
  t.receive.next = seqAdd(s.sequence, 1);
  t.advertised = seqAdd(t.receive.next, Math.min(65535, t.receive.limit));
  takeSynOptions(t, s, now);
  takeWindow(t, s, s.window);
  if (!acked) {
    // Both sides have opened at the same time (section 3.5, figure 8).
    t.state = STATE.synReceived;
    t.synDue = true;
    return;
  }
  open(t, s.acknowledgment, now);
  t.ackNow = true;
  if (s.length > 0 || s.has(FIN)) dataIn(t, s, t.receive.next, now);
}

/** What a SYN says in its options. */
function takeSynOptions(t: Tcb, s: Segment, now: number): void {
  const { options } = s;
  t.peerMss = Math.max(MIN_MSS, options.mss === 0 ? DEFAULT_MSS : options.mss);
  t.sendScale = options.windowScale;
  t.sack = options.sackPermitted;
  t.timestamps = options.timestamps;
  if (!t.timestamps) return;
  t.recentValue = options.value;
  t.recentAt = now;
}

/** SYN-RECEIVED: is this the acknowledgment of our SYN (section 3.10.7.4, fifth)? */
function establish(t: Tcb, s: Segment, now: number): boolean {
  if (s.acknowledgment !== t.nxt || t.nxt === t.iss) {
    const { ip, counters } = t.host;
    const to = s.acknowledgment;
    if (sendReset(ip, t.local, t.localPort, t.remote, t.remotePort, to, 0, false)) {
      counters.resetsOut++;
    }
    return false;
  }
  open(t, s.acknowledgment, now);
  takeWindow(t, s, s.window << t.sendScale);
  return true;
}

/** The first window; that of a SYN is not scaled (RFC 7323 section 2.2). */
function takeWindow(t: Tcb, s: Segment, window: number): void {
  t.wnd = window;
  t.maxWnd = window;
  t.wl1 = s.sequence;
  t.wl2 = s.acknowledgment;
}

/** ESTABLISHED begins, or with an owner that has ended already, FIN-WAIT-1. */
function open(t: Tcb, acknowledged: number, now: number): void {
  agree(t);
  t.host.opened(t);
  t.una = acknowledged;
  t.state = t.finQueued ? STATE.finWait1 : STATE.established;
  t.rtoAt = Infinity;
  t.synDue = false;
  t.progressAt = now;
  // A round trip, unless it is not clear which SYN was answered (Karn).
  if (!t.synAgain) {
    t.rto.sample(now - t.synSentAt);
    t.rack.handshake(now - t.synSentAt, now);
  } else t.rto.synWasLost();
  t.rto.progress();
  t.congestion.begin(t.mss, t.rto.smoothed, t.iss, now);
  if (t.keepalive !== undefined) t.keepaliveAt = now + t.keepalive.idleMs;
  raise(t, EVENT.open | EVENT.writable);
}

/** PAWS (RFC 7323 section 5.3), and that a timestamp is there (section 3.2). */
function timestampFits(t: Tcb, s: Segment, now: number): boolean {
  if (!t.timestamps || s.has(RST)) return true;
  if (!s.options.timestamps) {
    t.host.counters.noTimestamp++;
    return false;
  }
  if (!seqBefore(s.options.value, t.recentValue) || now - t.recentAt > PAWS_IDLE_MS) return true;
  t.host.counters.paws++;
  answerOutside(t, s, now);
  return false;
}

/**
 * The four cases of section 3.4, table 6. A closed window lets acknowledgments pass ("special
 * allowance"), and so does one that was filled: the other side's next number is then its right edge.
 */
function acceptable(t: Tcb, s: Segment): boolean {
  const { next } = t.receive;
  const length = s.sequenceLength;
  const last = seqAdd(s.sequence, Math.max(0, length - 1));
  if (s.sequence === next) return true;
  if (seqBefore(t.advertised, s.sequence)) {
    // What acknowledges behind an octet that probes our closed window, and was not taken.
    return length === 0 && !s.has(RST) && s.sequence === seqAdd(t.advertised, 1);
  }
  return !seqBefore(s.sequence, next) || (length > 0 && !seqBefore(last, next));
}

/** Section 3.10.7.4, first: an acknowledgment, which for data comes in any case. */
function answerOutside(t: Tcb, s: Segment, now: number): void {
  if (t.state === STATE.synReceived) challenge(t, now);
  else if (s.length > 0) {
    const end = seqAdd(s.sequence, s.length);
    if (seqAtMost(end, t.receive.next)) reportDuplicate(t, s.sequence, end);
    t.ackNow = true;
  } else if (s.has(FIN)) t.ackNow = true;
  else challenge(t, now);
}

/**
 * A challenge ACK, not too often (RFC 5961 sections 3 to 5 and 7). Before the handshake is done it is
 * our SYN again that says where we are (RFC 9293 section 3.5, figure 9).
 */
function challenge(t: Tcb, now: number): void {
  if (now - t.challengedAt < CHALLENGE_MS) return;
  t.challengedAt = now;
  t.host.counters.challenges++;
  if (t.state === STATE.synReceived) t.synDue = true;
  else t.ackNow = true;
}

/** RFC 5961 section 3.2: only the exact number resets. */
function resetIn(t: Tcb, s: Segment, now: number): void {
  if (s.sequence !== t.receive.next) return challenge(t, now);
  t.host.counters.resetsIn++;
  // Both sides had said everything: what is reset had ended (section 3.10.7.4, second).
  if (t.state >= STATE.closing && t.send.length === 0) return finish(t, "closed");
  finish(t, t.state === STATE.synReceived && t.active ? "refused" : "reset");
}

/** RFC 7323 section 4.3. */
function noteTimestamp(t: Tcb, s: Segment, now: number): void {
  if (!t.timestamps || !seqAtMost(s.sequence, t.lastAckSent)) return;
  // A value that is older than the one of weeks ago is newer (section 5.5).
  if (seqBefore(s.options.value, t.recentValue) && now - t.recentAt <= PAWS_IDLE_MS) return;
  t.recentValue = s.options.value;
  t.recentAt = now;
}

/** Acknowledgment, window and SACK blocks; false when the segment is to be dropped. */
function ackIn(t: Tcb, s: Segment, now: number): boolean {
  const acked = s.acknowledgment;
  // RFC 5961 section 5.2: neither of something never sent, nor older than any window was.
  if (seqBefore(t.nxt, acked) || seqBefore(acked, seqAdd(t.una, -Math.max(t.maxWnd, 1)))) {
    challenge(t, now);
    return false;
  }
  if (seqBefore(acked, t.una)) return true;
  if (!t.acknowledged) {
    t.acknowledged = true;
    t.board.beginAck();
    t.flightBefore = seqDistance(t.una, t.nxt);
  }
  let echo = -1;
  if (t.timestamps && s.options.echo !== 0) {
    const age = (stampAt(t, now) - s.options.echo) | 0;
    if (age >= 0) echo = Math.floor(now) - age;
  }
  const progress = seqBefore(t.una, acked);
  if (progress) {
    if (!t.ackProgress) {
      t.ackProgress = true;
      t.ackStampKnown = echo >= 0;
      t.ackStamp = s.options.echo;
      t.ackEchoAt = echo;
    }
    if (t.canUndo && !t.undoStampKnown && seqAtMost(t.recoverEnd, acked)) {
      t.undoStampKnown = echo >= 0;
      t.undoStamp = s.options.echo;
    }
    advance(t, acked, echo, now);
  }
  const opened = updateWindow(t, s, acked);
  if (t.sack) sackIn(t, s, echo, now);
  else if (progress) {
    t.duplicateBytes = Math.max(0, t.duplicateBytes - t.mss);
    if (t.recovery === 0) t.duplicates = 0;
  } else if (s.length === 0 && !opened && t.una !== t.nxt && !s.has(FIN)) {
    t.duplicates++;
    t.duplicateBytes += t.mss;
    t.newDuplicateBytes += t.mss;
  }
  return true;
}

/** SND.UNA moves. */
function advance(t: Tcb, acked: number, echo: number, now: number): void {
  t.board.acknowledge(acked, echo, now);
  t.send.dropTo(acked);
  t.una = acked;
  if (t.wantsRoom && !t.wantsSent && t.send.room * 3 >= t.send.limit) {
    t.wantsRoom = false;
    raise(t, EVENT.writable);
  }
}

/** SND.WND (section 3.10.7.4, fifth); whether it changed. */
function updateWindow(t: Tcb, s: Segment, acked: number): boolean {
  const newer = seqBefore(t.wl1, s.sequence) ||
    (t.wl1 === s.sequence && seqAtMost(t.wl2, acked));
  if (!newer) return false;
  const wnd = s.window << t.sendScale;
  const changed = wnd !== t.wnd;
  const opened = t.wnd === 0 && wnd > 0;
  t.wl1 = s.sequence;
  t.wl2 = acked;
  t.wnd = wnd;
  t.maxWnd = Math.max(t.maxWnd, wnd);
  if (opened) {
    // What waited for the window has its whole time from now on.
    t.progressAt = t.heardAt;
    if (t.una !== t.nxt && t.rto.backoff > 0) resendAfterProbe(t);
    else t.rto.progress();
  }
  return changed;
}

/** SACK blocks (RFC 2018), the first of which may report a duplicate (RFC 2883 section 4). */
function sackIn(t: Tcb, s: Segment, echo: number, now: number): void {
  const { sackCount, sackEdges } = s.options;
  let first = 0;
  if (sackCount > 0 && isDuplicate(t, sackCount, sackEdges)) {
    t.duplicateReported = true;
    first = 1;
  }
  sortBlocks(sackEdges, first, sackCount);
  for (let i = first; i < sackCount; i++) {
    const left = sackEdges[2 * i] ?? 0;
    const right = sackEdges[2 * i + 1] ?? 0;
    if (!seqBefore(left, right)) continue;
    // RFC 2018 section 5: what lies outside of what is in flight is nonsense, or long gone.
    if (seqBefore(t.nxt, right) || seqAtMost(right, t.una)) continue;
    t.board.sack(seqBefore(left, t.una) ? t.una : left, right, echo, now);
  }
}

/** Blocks come newest first; what they tell has arrived in the order of their numbers, rather. */
function sortBlocks(edges: Int32Array, first: number, count: number): void {
  for (let i = first + 1; i < count; i++) {
    const left = edges[2 * i] ?? 0;
    const right = edges[2 * i + 1] ?? 0;
    let at = i;
    for (; at > first && seqBefore(left, edges[2 * at - 2] ?? 0); at--) {
      edges[2 * at] = edges[2 * at - 2] ?? 0;
      edges[2 * at + 1] = edges[2 * at - 1] ?? 0;
    }
    edges[2 * at] = left;
    edges[2 * at + 1] = right;
  }
}

/** Whether the first block reports a duplicate (RFC 2883 section 4). */
function isDuplicate(t: Tcb, count: number, edges: Int32Array): boolean {
  const left = edges[0] ?? 0;
  const right = edges[1] ?? 0;
  if (!seqBefore(left, right)) return false;
  if (seqAtMost(right, t.una)) return true;
  return count > 1 && seqAtMost(edges[2] ?? 0, left) && seqAtMost(right, edges[3] ?? 0);
}

/** What our FIN's acknowledgment does to the state; whether the connection is over. */
function closingIn(t: Tcb): boolean {
  if (!finAcknowledged(t)) return false;
  if (t.state === STATE.finWait1) t.state = STATE.finWait2;
  else if (t.state === STATE.closing) {
    enterTimeWait(t);
    return true;
  } else if (t.state === STATE.lastAck) {
    finish(t, "closed");
    return true;
  }
  return false;
}
