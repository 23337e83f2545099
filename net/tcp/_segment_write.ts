/**
 * Segments of a connection as bytes: header, options, data, checksum, straight into the sink.
 *
 * Whether and when a segment goes is not decided here, except for what every one of them carries: the
 * acknowledgment, the window, SACK blocks, timestamps.
 *
 * @module
 */

import { foldSum, nativeSum } from "../wire/checksum.ts";
import { IPV4_HEADER_LEN, PROTOCOL } from "../wire/ipv4.ts";
import {
  TCP_ACKNOWLEDGMENT,
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_DESTINATION_PORT,
  TCP_FLAG,
  TCP_FLAGS,
  TCP_HEADER_LEN,
  TCP_SEQUENCE,
  TCP_SOURCE_PORT,
  TCP_WINDOW,
} from "../wire/tcp.ts";
import {
  TIMESTAMPS_LEN,
  writeMss,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from "../wire/tcp_options.ts";
import type { IpAddress } from "./address.ts";
import type { IpOutput } from "./ip_out.ts";
import { seqAdd, seqBefore, seqDistance } from "./sequence.ts";
import { STATE } from "./state.ts";
import { applyMss, HEADERS, stampAt, type Tcb } from "./_tcb.ts";

const { syn: SYN, rst: RST, ack: ACK } = TCP_FLAG;

/** When to try again what the sink had no room for, in ms. */
const SINK_RETRY_MS = 1;

const sackEdges = new Int32Array(8);

/** The SYN, or the SYN that acknowledges one (RFC 9293 section 3.10.1 and 3.10.7.2). */
export function sendSyn(t: Tcb, now: number): void {
  const ip = t.host.ip;
  const passive = t.state === STATE.synReceived;
  // RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2: in the answer only what was in the question.
  const scale = !passive || t.sendScale >= 0;
  const sack = !passive || t.sack;
  const stamps = !passive || t.timestamps;
  const options = 4 + (scale ? 4 : 0) + (sack ? 4 : 0) + (stamps ? TIMESTAMPS_LEN : 0);
  const at = ip.reserve(HEADERS + options);
  const rtoAt = Math.min(now + t.rto.value, Math.max(now + 1, t.startedAt + t.connectMs));
  if (at < 0) {
    t.paceAt = now + SINK_RETRY_MS;
    if (t.rtoAt === Infinity) t.rtoAt = rtoAt;
    return;
  }
  const window = Math.min(65535, t.receive.limit);
  t.advertised = seqAdd(t.receive.next, window);
  const tcp = at + IPV4_HEADER_LEN;
  const acknowledged = passive ? t.receive.next : 0;
  const flags = SYN | (passive ? ACK : 0);
  writeHeader(ip.view, tcp, t.localPort, t.remotePort, t.iss, acknowledged, flags, options, window);
  let o = tcp + TCP_HEADER_LEN;
  // RFC 6691: what fits into the MTU without any options.
  o += writeMss(ip.view, o, t.pathMtu - HEADERS);
  if (scale) o += writeWindowScale(ip.view, o, t.receiveScale);
  if (sack) o += writeSackPermitted(ip.view, o);
  if (stamps) writeTimestamps(ip.view, o, stampAt(t, now), passive ? t.recentValue : 0);
  commit(t, at, HEADERS + options);
  if (t.synSentAt >= 0) {
    t.synAgain = true;
    t.retransmits++;
    t.host.counters.retransmits++;
  }
  t.synDue = false;
  t.synSentAt = now;
  t.nxt = seqAdd(t.iss, 1);
  t.lastAckSent = t.receive.next;
  t.rtoAt = rtoAt;
}

/** A segment that only acknowledges. */
export function sendAck(t: Tcb, now: number): void {
  if (!sendSegment(t, t.nxt, ACK, 0, now)) t.paceAt = Math.min(t.paceAt, now + SINK_RETRY_MS);
}

/**
 * A segment of a sequence number that was acknowledged already: the other side answers it with an
 * acknowledgment (RFC 9293 section 3.8.4).
 */
export function sendProbe(t: Tcb, now: number): void {
  sendSegment(t, seqAdd(t.una, -1), ACK, 0, now);
}

/** Whether the owner has read so much that the other side should hear of it. */
export function windowOpened(t: Tcb): boolean {
  if (t.finSeen || !t.hasRead) return false;
  const gained = seqDistance(t.advertised, rightEdge(t));
  if (gained <= 0) return false;
  const offered = seqDistance(t.receive.next, t.advertised);
  return gained >= t.receive.limit / 4 || (offered < 2 * t.segmentSize && gained >= offered);
}

/**
 * The right edge of the window to announce: it never moves left, and right only by a good piece
 * (RFC 9293 section 3.8.6.2.2).
 */
function rightEdge(t: Tcb): number {
  const free = freeOf(t);
  const edge = seqAdd(t.receive.next, Math.min(free, 65535 << t.receiveScale));
  const gained = seqDistance(t.advertised, edge);
  return gained >= Math.min(t.receive.limit / 2, t.segmentSize) ? edge : t.advertised;
}

/** Bytes that there is room for. */
function freeOf({ receive }: Tcb): number {
  return Math.max(0, receive.limit - receive.readable);
}

/**
 * Window field for {@link rightEdge}, which is moved there, rounded up to what the field can say, or
 * down where there is no room for more. What was announced before is taken all the same (RFC 7323
 * section 2.4).
 */
function announceWindow(t: Tcb): number {
  const unit = 1 << t.receiveScale; // RFC 7323 section 2.3: at most 14
  const bytes = Math.max(0, seqDistance(t.receive.next, rightEdge(t)));
  const up = Math.ceil(bytes / unit);
  const field = Math.min(65535, up * unit <= freeOf(t) ? up : Math.floor(bytes / unit));
  const edge = seqAdd(t.receive.next, field * unit);
  if (seqBefore(t.advertised, edge)) t.advertised = edge;
  return field;
}

/** Writes one segment into the sink; false when it has no room. */
export function sendSegment(
  t: Tcb,
  sequence: number,
  flags: number,
  length: number,
  now: number,
): boolean {
  const ip = t.host.ip;
  let options = t.timestamps ? TIMESTAMPS_LEN : 0;
  const blocks = t.sack ? sackBlocks(t, t.pathMtu - HEADERS - options - length, options) : 0;
  if (blocks > 0) options += 4 + 8 * blocks;
  const size = HEADERS + options + length;
  const at = ip.reserve(size);
  if (at < 0) {
    t.paceAt = now + SINK_RETRY_MS;
    return false;
  }
  const tcp = at + IPV4_HEADER_LEN;
  const window = announceWindow(t);
  const { localPort, remotePort } = t;
  const known = t.receive.next;
  writeHeader(ip.view, tcp, localPort, remotePort, sequence, known, flags, options, window);
  let o = tcp + TCP_HEADER_LEN;
  if (t.timestamps) o += writeTimestamps(ip.view, o, stampAt(t, now), t.recentValue);
  if (blocks > 0) o += writeSack(ip.view, o, sackEdges, blocks);
  if (length > 0) t.send.read(sequence, ip.buffer, o, length);
  commit(t, at, size);
  // Blocks that did not fit are still owed.
  if (blocks > 0 || length === 0 || (t.receive.gaps.count === 0 && !t.hasDuplicate)) {
    t.ackNow = false;
    t.hasDuplicate = false;
  }
  t.hasRead = false;
  t.unacknowledged = 0;
  t.ackAt = Infinity;
  t.lastAckSent = t.receive.next;
  return true;
}

/** Puts the blocks to report into {@link sackEdges}, a duplicate first (RFC 2883 section 4). */
function sackBlocks(t: Tcb, room: number, options: number): number {
  const { gaps } = t.receive;
  if (gaps.count === 0 && !t.hasDuplicate) return 0;
  const most = Math.min(4, (40 - options - 4) >> 3, (room - 4) >> 3);
  if (most <= 0) return 0;
  let count = 0;
  if (t.hasDuplicate) {
    sackEdges[0] = t.duplicateLeft;
    sackEdges[1] = t.duplicateRight;
    count = 1;
  }
  return count + gaps.blocks(sackEdges, 2 * count, most - count);
}

function writeHeader(
  view: DataView,
  tcp: number,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledged: number,
  flags: number,
  options: number,
  window: number,
): void {
  view.setUint16(tcp + TCP_SOURCE_PORT, sourcePort);
  view.setUint16(tcp + TCP_DESTINATION_PORT, destinationPort);
  view.setInt32(tcp + TCP_SEQUENCE, sequence);
  view.setInt32(tcp + TCP_ACKNOWLEDGMENT, acknowledged);
  view.setUint8(tcp + TCP_DATA_OFFSET, (TCP_HEADER_LEN + options) << 2);
  view.setUint8(tcp + TCP_FLAGS, flags);
  view.setUint16(tcp + TCP_WINDOW, window);
  // Checksum and urgent pointer.
  view.setInt32(tcp + TCP_CHECKSUM, 0);
}

function commit(t: Tcb, at: number, size: number): void {
  commitSegment(t.host.ip, at, size, t.local, t.remote);
  t.host.counters.segmentsOut++;
}

function commitSegment(
  ip: IpOutput,
  at: number,
  size: number,
  source: IpAddress,
  destination: IpAddress,
): void {
  const tcp = at + IPV4_HEADER_LEN;
  const length = size - IPV4_HEADER_LEN;
  const swapped = ((length & 0xff) << 8) | (length >>> 8);
  const pseudo = nativeWords(source) + nativeWords(destination) + (PROTOCOL.tcp << 8) + swapped;
  if (ip.unsummed) {
    ip.view.setUint16(tcp + TCP_CHECKSUM, foldSum(pseudo), true);
    ip.sendUnsummed(at, source, destination, size);
    return;
  }
  const sum = foldSum(nativeSum(ip.view, tcp, length) + foldSum(pseudo));
  ip.view.setUint16(tcp + TCP_CHECKSUM, ~sum, true);
  ip.send(at, source, destination, PROTOCOL.tcp, size);
}

/** Sum of the two 16-bit words of an address, in the order that `nativeSum` has. */
function nativeWords(address: IpAddress): number {
  const swapped = ((address >>> 8) & 0x00ff00ff) | ((address << 8) & 0xff00ff00);
  return (swapped & 0xffff) + (swapped >>> 16);
}

/** A reset outside of any connection (RFC 9293 section 3.5.2). */
export function sendReset(
  ip: IpOutput,
  source: IpAddress,
  sourcePort: number,
  destination: IpAddress,
  destinationPort: number,
  sequence: number,
  acknowledged: number,
  withAck: boolean,
): boolean {
  const at = ip.reserve(HEADERS);
  if (at < 0) return false;
  const tcp = at + IPV4_HEADER_LEN;
  const known = withAck ? acknowledged : 0;
  const flags = RST | (withAck ? ACK : 0);
  writeHeader(ip.view, tcp, sourcePort, destinationPort, sequence, known, flags, 0, 0);
  commitSegment(ip, at, HEADERS, source, destination);
  return true;
}

/** An acknowledgment outside of any connection: what TIME-WAIT answers. */
export function sendBareAck(
  ip: IpOutput,
  source: IpAddress,
  sourcePort: number,
  destination: IpAddress,
  destinationPort: number,
  sequence: number,
  acknowledged: number,
  window: number,
  stamp: number | undefined,
  echo: number,
): void {
  const options = stamp === undefined ? 0 : TIMESTAMPS_LEN;
  const at = ip.reserve(HEADERS + options);
  if (at < 0) return;
  const tcp = at + IPV4_HEADER_LEN;
  const { view } = ip;
  const ack = acknowledged;
  writeHeader(view, tcp, sourcePort, destinationPort, sequence, ack, ACK, options, window);
  if (stamp !== undefined) writeTimestamps(view, tcp + TCP_HEADER_LEN, stamp, echo);
  commitSegment(ip, at, HEADERS + options, source, destination);
}

/** Resets a connection that is synchronized (RFC 9293 section 3.10.5). */
export function sendAbort(t: Tcb): void {
  const { ip, counters } = t.host;
  const known = t.state !== STATE.synSent;
  const { local, localPort, remote, remotePort } = t;
  if (sendReset(ip, local, localPort, remote, remotePort, t.nxt, t.receive.next, known)) {
    counters.resetsOut++;
  }
}

/** The handshake is done: what was agreed on takes effect. */
export function agree(t: Tcb): void {
  applyMss(t);
  if (t.sendScale < 0) {
    t.sendScale = 0;
    t.receiveScale = 0;
  }
}
