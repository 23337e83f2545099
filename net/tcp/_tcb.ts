/**
 * The transmission control block (RFC 9293 section 3.3.1): everything that is known of a connection.
 *
 * It is data. `_segment_in.ts` changes it when a segment arrives, `_recovery.ts` when a batch of
 * acknowledgments ends or a timer runs out, `_segment_out.ts` when something is sent, and
 * `connection.ts` when the owner wants something.
 *
 * @module
 */

import type { IpAddress } from "./address.ts";
import type { ChunkPool } from "./chunk_pool.ts";
import type { StackCounters } from "./counters.ts";
import type { CongestionControl, CongestionName } from "./congestion/control.ts";
import { congestionControl } from "./congestion/choice.ts";
import { DeliveryRate } from "./congestion/delivery_rate.ts";
import type { Flow } from "./flow_table.ts";
import type { IpOutput } from "./ip_out.ts";
import type { Limits } from "./limits.ts";
import { Pacing } from "./congestion/pacing.ts";
import { Rack } from "./rack.ts";
import { ReceiveBuffer } from "./receive_buffer.ts";
import { RetransmissionTimeout } from "./rto.ts";
import { Scoreboard } from "./scoreboard.ts";
import type { SegmentRingPool } from "./segment_ring.ts";
import { SendBuffer } from "./send_buffer.ts";
import { seqBefore, seqDistance } from "./sequence.ts";
import { STATE, type State } from "./state.ts";
import type { Timed } from "./timers.ts";

/** Why a connection is over; see docs/tcp.md. */
export type CloseReason =
  | "closed"
  | "reset"
  | "refused"
  | "unreachable"
  | "timeout"
  | "aborted";

/** What the owner is yet to be told. */
export const EVENT = { open: 1, readable: 2, writable: 4, end: 8, close: 16 } as const;

/** What kind of flow an entry of the table is. */
export const FLOW = { connection: 0, timeWait: 1, pending: 2 } as const;

/** How losses are being repaired. */
export const RECOVERY = {
  /** Nothing is known to be lost. */
  none: 0,
  /** After a loss that acknowledgments told of (RFC 6675 section 5). */
  fast: 1,
  /** After the retransmission timer ran out (RFC 5681 section 3.1). */
  timeout: 2,
} as const;

/** MSS when the other side names none, in bytes (RFC 9293 section 3.7.1). */
export const DEFAULT_MSS = 536;
/** Least MSS that is believed, so that nobody makes us send a hundred packets for one. */
export const MIN_MSS = 88;
/** Bytes of an IPv4 and a TCP header. */
export const HEADERS = 40;
/** Segments that are acknowledged at once when a connection begins: they open a sender's window. */
const QUICK_ACKS = 16;
/** The longest that anything stays unacknowledged, in ms: R2 of RFC 9293 section 3.8.3. */
const GIVE_UP_MS = 300_000;

/** Takes events; the part of a connection that the owner holds. */
export interface EventTarget {
  deliver(events: number): void;
}

/** What a connection needs of the stack. */
export interface Host {
  readonly ip: IpOutput;
  readonly counters: StackCounters;
  readonly limits: Limits;
  readonly chunks: ChunkPool;
  readonly rings: SegmentRingPool;
  /** Has the connection looked at before the batch ends. */
  changed(t: Tcb): void;
  /** Makes sure that its timers are looked at by `at`. */
  schedule(t: Tcb, at: number): void;
  /** Its owner could not write for want of memory: it is told when there is some. */
  starved(t: Tcb): void;
  /** Its handshake is done. */
  opened(t: Tcb): void;
  /** Forgets it. */
  ended(t: Tcb): void;
  /** Keeps what TIME-WAIT needs of it and forgets the rest. */
  timeWait(t: Tcb, now: number): void;
}

/** How to keep an idle connection alive. */
export interface KeepAlive {
  /** Silence before the first probe, in ms. */
  readonly idleMs: number;
  /** Time between probes, in ms. */
  readonly intervalMs: number;
  /** Unanswered probes after which the connection ends. */
  readonly probes: number;
}

/** One connection. */
export class Tcb implements Flow, Timed {
  readonly kind = FLOW.connection;
  readonly host: Host;
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  hash = 0;
  next: Flow | undefined;
  armedAt: number = Infinity;
  heapIndex = -1;

  state: State = STATE.closed;
  /** Whether we opened it. */
  active = false;
  target: EventTarget | undefined;
  /** Bits of {@link EVENT}. */
  events = 0;
  /** Whether it waits for the end of the batch. */
  queued = false;
  reason: CloseReason | undefined;
  /** An ICMP error that may pass (RFC 5461): the reason, if the connection times out. */
  softError = false;

  // Send sequence space.
  iss = 0;
  una = 0;
  nxt = 0;
  wnd = 0;
  wl1 = 0;
  wl2 = 0;
  maxWnd = 0;
  sendScale = 0;
  /** Data bytes of a full segment, without options. */
  mss: number = DEFAULT_MSS;
  /** What the other side allows, in bytes. */
  peerMss: number = DEFAULT_MSS;
  pathMtu: number;
  readonly send: SendBuffer;
  /** A SYN is to be sent, the first time or again. */
  synDue = false;
  synSentAt = -1;
  synAgain = false;
  /** The owner will write no more. */
  finQueued = false;
  finSent = false;
  /** End of the last small segment (Minshall's variant of RFC 9293 section 3.7.4). */
  smallEnd = 0;
  /** Bytes never sent that `write` lets wait. */
  unsentLimit: number = Infinity;
  /** `write` took less than it was given. */
  wantsRoom = false;
  /** It was {@link unsentLimit} that was in the way: not an acknowledgment, but sending makes room. */
  wantsSent = false;
  noDelay = false;

  // Receive sequence space.
  irs = 0;
  readonly receive: ReceiveBuffer;
  /** Right edge that was announced: RCV.NXT + RCV.WND. */
  advertised = 0;
  receiveScale = 0;
  /** The owner has read since the window was announced. */
  hasRead = false;
  /** A FIN has arrived, maybe before data in front of it. */
  finSeen = false;
  finAt = 0;
  finReceived = false;
  /** Largest segment seen, in bytes. */
  segmentSize: number = DEFAULT_MSS;

  // Acknowledgments to send.
  ackNow = false;
  unacknowledged = 0;
  quickAcks: number = QUICK_ACKS;
  lastAckSent = 0;
  hasDuplicate = false;
  duplicateLeft = 0;
  duplicateRight = 0;
  challengedAt: number = -Infinity;

  // Options agreed on.
  timestamps = false;
  sack = false;
  timestampOffset = 0;
  recentValue = 0;
  recentAt: number = -Infinity;

  // Losses and rate.
  readonly rack: Rack = new Rack();
  readonly board: Scoreboard;
  readonly rto: RetransmissionTimeout = new RetransmissionTimeout();
  readonly rate: DeliveryRate = new DeliveryRate();
  readonly pacing: Pacing = new Pacing();
  readonly congestion: CongestionControl;
  recovery: number = RECOVERY.none;
  /** SND.NXT when the recovery began. */
  recoverAt = 0;
  /** Timestamp and end of its first retransmission (RFC 3522); valid while `canUndo`. */
  recoverStamp = 0;
  recoverEnd = 0;
  canUndo = false;
  /** One segment goes out whatever the window says. */
  forceOne = false;
  /** Duplicate acknowledgments, and the bytes they stand for, without SACK (RFC 6582). */
  duplicates = 0;
  duplicateBytes = 0;
  newDuplicateBytes = 0;
  /** The congestion window or the schedule, not the owner, held sending back. */
  heldBack = false;
  /** The congestion window did. */
  windowLimited = false;
  tlpActive = false;
  tlpEnd = 0;
  tlpAgain = false;
  tlpStamp = 0;

  // What acknowledgments of this batch have told.
  /** There was one. */
  acknowledged = false;
  /** SND.UNA moved. */
  ackProgress = false;
  /** Timestamp echoed by the first of them that moved it, and when that was, in ms. */
  ackStampKnown = false;
  ackStamp = 0;
  ackEchoAt = -1;
  /** Timestamp echoed by the first of them that acknowledged up to `recoverEnd`. */
  undoStampKnown = false;
  undoStamp = 0;
  /** Bytes in flight before. */
  flightBefore = 0;
  /** A SACK block reported something twice (RFC 2883). */
  duplicateReported = false;

  // Deadlines, in ms; Infinity: none.
  rtoAt: number = Infinity;
  ptoAt: number = Infinity;
  reorderAt: number = Infinity;
  persistAt: number = Infinity;
  ackAt: number = Infinity;
  paceAt: number = Infinity;
  keepaliveAt: number = Infinity;

  keepalive: KeepAlive | undefined;
  keepaliveSent = 0;
  giveUpMs: number = GIVE_UP_MS;
  connectMs: number = Infinity;
  /** When it began. */
  startedAt: number;
  /** When something arrived last. */
  heardAt: number;
  /** When something new was acknowledged last, or sending began. */
  progressAt: number;
  /** When data was sent last. */
  sentAt: number;

  retransmits = 0;
  bytesIn = 0;
  bytesOut = 0;

  constructor(
    host: Host,
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    mtu: number,
    congestion: CongestionName,
    now: number,
  ) {
    this.host = host;
    this.local = local;
    this.localPort = localPort;
    this.remote = remote;
    this.remotePort = remotePort;
    this.pathMtu = mtu;
    this.send = new SendBuffer(host.chunks, host.limits.bufferBytes);
    this.receive = new ReceiveBuffer(host.chunks, host.limits.bufferBytes, host.limits.gaps);
    this.congestion = congestionControl(congestion, this.rate, this.pacing);
    this.board = new Scoreboard(host.rings, this.rack, this.rate, this.congestion);
    this.receiveScale = scaleFor(host.limits.bufferBytes);
    this.startedAt = now;
    this.heardAt = now;
    this.progressAt = now;
    this.sentAt = now;
  }
}

/** Shift with which a window of `bytes` fits into 16 bits (RFC 7323 section 2.3). */
function scaleFor(bytes: number): number {
  let shift = 0;
  while (shift < 14 && bytes / 2 ** shift > 65535) shift++;
  return shift;
}

/** Bytes on their way (RFC 6675 section 4, "pipe"). */
export function pipeOf(t: Tcb): number {
  const flight = seqDistance(t.una, t.nxt);
  return Math.max(0, flight - t.board.sacked - t.board.lost - t.duplicateBytes);
}

/** Bytes in the send buffer that were never sent. */
export function unsentOf(t: Tcb): number {
  return Math.max(0, seqDistance(t.nxt, t.send.end));
}

/** Whether so much was sent that the owner may write again. */
export function hasSentEnough(t: Tcb): boolean {
  return t.wantsSent && 2 * unsentOf(t) <= t.unsentLimit;
}

/** Whether our FIN was acknowledged. */
export function finAcknowledged(t: Tcb): boolean {
  return t.finSent && t.una === t.nxt;
}

/** The connection's timestamp clock: milliseconds from a random beginning. */
export function stampAt(t: Tcb, now: number): number {
  return (Math.floor(now) + t.timestampOffset) | 0;
}

/** Sets MSS and everything that follows from it. */
export function applyMss(t: Tcb): void {
  const most = Math.min(t.peerMss, t.pathMtu - HEADERS) - (t.timestamps ? 12 : 0);
  t.mss = Math.max(MIN_MSS, most);
  t.congestion.setMss(t.mss);
}

/** Has the owner told of something, and the connection looked at. */
export function raise(t: Tcb, event: number): void {
  t.events |= event;
  t.host.changed(t);
}

/**
 * Ends a connection for `reason`. What the owner has not read stays readable if it ended in order, and
 * otherwise until the owner has been told, unless it was the owner who ended it.
 */
export function finish(t: Tcb, reason: CloseReason): void {
  if (t.state === STATE.closed) return;
  t.host.ended(t);
  t.state = STATE.closed;
  release(t, reason !== "aborted");
  if (t.reason !== undefined) return;
  t.reason = reason;
  raise(t, EVENT.close);
}

/** Gives memory back and stops every timer. */
export function release(t: Tcb, keepUnread: boolean): void {
  t.send.clear();
  t.board.clear();
  if (!keepUnread) t.receive.clear();
  t.wantsSent = false;
  t.rtoAt = Infinity;
  t.ptoAt = Infinity;
  t.reorderAt = Infinity;
  t.persistAt = Infinity;
  t.ackAt = Infinity;
  t.paceAt = Infinity;
  t.keepaliveAt = Infinity;
}

/** Whether sequence number `s` lies in what is in flight: a stranger has to guess it (RFC 5927). */
export function inFlight(t: Tcb, s: number): boolean {
  return !seqBefore(s, t.una) && seqBefore(s, t.nxt);
}
