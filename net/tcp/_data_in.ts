/**
 * Data and FIN arrive (RFC 9293 section 3.10.7.4, seventh and eighth).
 *
 * @module
 */

import { TCP_FLAG } from "../wire/tcp.ts";
import type { Segment } from "./_segment.ts";
import { sendAck } from "./_segment_write.ts";
import { EVENT, HEADERS, raise, stampAt, type Tcb } from "./_tcb.ts";
import { seqAdd, seqBefore, seqDistance } from "./sequence.ts";
import { mayReceive, STATE } from "./state.ts";

const { fin: FIN } = TCP_FLAG;

/** Seventh and eighth: data, in order or not, and FIN. */
export function dataIn(t: Tcb, s: Segment, sequence: number, now: number): void {
  if (!mayReceive(t.state)) return;
  const { receive, host } = t;
  let start = sequence;
  let at = s.dataAt;
  let length = s.length;
  const end = seqAdd(start, length);
  // A FIN in front of what has arrived is none: nothing follows the last byte.
  const past = receive.gaps.count > 0 && seqBefore(end, receive.gaps.end);
  if (s.has(FIN) && !t.finSeen && !past && !seqBefore(t.advertised, end)) {
    t.finSeen = true;
    t.finAt = end;
  }
  const early = seqDistance(start, receive.next);
  if (early > 0) {
    if (length > 0) reportDuplicate(t, start, seqAdd(start, Math.min(early, length)));
    const cut = Math.min(early, length);
    start = seqAdd(start, cut);
    at += cut;
    length -= cut;
  }
  // Not behind the window, and not behind the FIN.
  const edge = t.finSeen ? t.finAt : t.advertised;
  length = Math.min(length, seqDistance(start, edge));
  if (length > 0) store(t, s, start, at, length, now);
  else if (s.length > 0) t.ackNow = true;
  if (t.finSeen && receive.next === t.finAt) finIn(t);
  else if (s.has(FIN)) t.ackNow = true;
  if (receive.limit < host.limits.bufferBytes) {
    measure(t, s, now);
    receive.tune(now, Math.max(t.rto.smoothed, 0));
  }
}

/** The round trip, as data tells it. Of a segment that is not full nobody knows what it waited for. */
function measure(t: Tcb, s: Segment, now: number): void {
  const { next, roundTrip, limit } = t.receive;
  if (!t.timestamps) {
    // Of a window that is nearly closed, not even that much is known.
    if (2 * seqDistance(next, t.advertised) > limit) roundTrip.arrived(next, t.advertised, now);
  } else if (s.length >= t.segmentSize && s.options.echo !== 0) {
    roundTrip.echoed(s.options.echo, (stampAt(t, now) - s.options.echo) | 0);
  }
}

function store(
  t: Tcb,
  s: Segment,
  start: number,
  at: number,
  length: number,
  now: number,
): void {
  const { receive, host } = t;
  const inOrder = start === receive.next;
  if (!inOrder || receive.gaps.count > 0) {
    // RFC 5681 section 4.2: out of order, and what fills a gap, is acknowledged at once.
    t.ackNow = true;
    if (!inOrder && receive.gaps.covers(start, seqAdd(start, length))) {
      return reportDuplicate(t, start, seqAdd(start, length));
    }
  }
  const before = receive.readable;
  const stored = receive.store(start, s.buffer, at, length);
  if (stored === "no-memory") {
    host.counters.noMemory++;
    t.ackNow = true;
  } else if (stored === "too-many-gaps") host.counters.tooManyGaps++;
  else {
    t.unacknowledged += length;
    // Of a burst that is not full, as at the end of a write, the size says nothing.
    if (length > t.segmentSize) t.segmentSize = Math.min(length, t.pathMtu - HEADERS);
  }
  // Without SACK a sender counts duplicate acknowledgments, so each has to be sent.
  if (!inOrder && !t.sack) sendAck(t, now);
  if (receive.readable > before) {
    t.bytesIn += receive.readable - before;
    raise(t, EVENT.readable);
  }
}

/** Notes what to report as a duplicate (RFC 2883), and that it must be acknowledged at once. */
export function reportDuplicate(t: Tcb, left: number, right: number): void {
  t.ackNow = true;
  t.hasDuplicate = t.sack;
  t.duplicateLeft = left;
  t.duplicateRight = right;
}

/** The other side has sent everything (section 3.10.7.4, eighth). */
function finIn(t: Tcb): void {
  t.receive.next = seqAdd(t.receive.next, 1);
  t.receive.forgetGaps();
  t.finReceived = true;
  t.ackNow = true;
  raise(t, EVENT.end);
  if (t.state === STATE.established) t.state = STATE.closeWait;
  else if (t.state === STATE.finWait1) {
    // Our FIN is not acknowledged yet: both sides close at the same time (section 3.6, figure 13).
    t.state = STATE.closing;
  } else if (t.state === STATE.finWait2) enterTimeWait(t);
}

/** Over, but for what may still be on its way; its last acknowledgment goes out with the batch. */
export function enterTimeWait(t: Tcb): void {
  t.state = STATE.timeWait;
  t.reason = "closed";
  raise(t, EVENT.close);
}
