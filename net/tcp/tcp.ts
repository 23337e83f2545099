/**
 * TCP of a stack: who a segment belongs to, the life of connections from SYN to TIME-WAIT, timers,
 * and the end of a batch. It is one file because all of this changes the same table of flows.
 *
 * @module
 */

import { viewOf } from "../wire/bytes.ts";
import { UNREACHABLE } from "../wire/icmp_error.ts";
import { TCP_FLAG } from "../wire/tcp.ts";
import { afterAcks, expire, hurry, resendLarger } from "./_recovery.ts";
import { Segment } from "./_segment.ts";
import { segmentIn } from "./_segment_in.ts";
import { output } from "./_segment_out.ts";
import { sendReset } from "./_segment_write.ts";
import {
  applyMss,
  EVENT,
  finish,
  FLOW,
  hasSentEnough,
  type Host,
  inFlight,
  MIN_MSS,
  raise,
  release,
  Tcb,
} from "./_tcb.ts";
import { fromIpAddress, type IpAddress, toIpAddress } from "./address.ts";
import { Backlog } from "./backlog.ts";
import { ChunkPool } from "./chunk_pool.ts";
import { abort, TcpConnection, type TcpHandler, type TcpOptions } from "./connection.ts";
import type { CongestionName } from "./congestion/control.ts";
import type { StackCounters } from "./counters.ts";
import { FlowTable } from "./flow_table.ts";
import type { Icmp } from "./icmp.ts";
import type { IpPacket } from "./ip_in.ts";
import type { IpOutput } from "./ip_out.ts";
import { InitialSequence } from "./isn.ts";
import type { Limits } from "./limits.ts";
import {
  type Acceptor,
  ListenerTable,
  type ListenOptions,
  PendingSyn,
  type Refusal,
  type TcpListener,
} from "./listener.ts";
import type { IcmpError, Protocol } from "./protocol.ts";
import type { RateLimit } from "./rate_limit.ts";
import { SegmentRingPool } from "./segment_ring.ts";
import { seqAdd } from "./sequence.ts";
import { STATE } from "./state.ts";
import { TimeWait } from "./time_wait.ts";
import { TimerHeap } from "./timers.ts";

/** How long a SYN waits for its owner after it came last, in ms. */
const PENDING_MS = 60_000;
/** Smallest path MTU that is believed, in bytes, as Linux does; RFC 791 has 68. */
const MIN_PATH_MTU = 552;

/** Where to connect to. */
export interface ConnectOptions {
  /** Their address, unsigned 32 bits. */
  readonly to: number;
  /** Their port. */
  readonly port: number;
  /** Who is told. */
  readonly handler: TcpHandler;
  /** Our address, unsigned 32 bits. @default {the stack's} */
  readonly from?: number;
  /** Our port. @default {a free one, chosen at random (RFC 6056)} */
  readonly fromPort?: number;
  /** Settings. */
  readonly options?: TcpOptions;
  /** The time, in ms. @default {that of the last call that said it, which may be long ago} */
  readonly now?: number;
}

/** Why `connect` makes no connection. */
export type ConnectFault = "no-port" | "in-use" | "too-many-connections";

type AnyFlow = Tcb | TimeWait | PendingSyn;

/** TCP. */
export class Tcp implements Protocol, Host, Acceptor {
  /** See {@link Host}. */
  readonly ip: IpOutput;
  /** See {@link Host}. */
  readonly counters: StackCounters;
  /** See {@link Host}. */
  readonly limits: Limits;
  /** See {@link Host}. */
  readonly chunks: ChunkPool;
  /** See {@link Host}. */
  readonly rings: SegmentRingPool = new SegmentRingPool();
  /** Connections, half-open ones included. */
  connections = 0;
  readonly #address: IpAddress;
  readonly #mtu: number;
  readonly #congestion: CongestionName;
  readonly #icmp: Icmp;
  readonly #answers: RateLimit;
  readonly #isn: InitialSequence;
  readonly #random: (length: number) => Uint8Array;
  readonly #flows: FlowTable<AnyFlow>;
  readonly #timers = new TimerHeap<AnyFlow>();
  readonly #listeners = new ListenerTable();
  readonly #segment = new Segment();
  /** SYNs that wait for their owner. */
  readonly #pending: Backlog<PendingSyn>;
  /** Connections that were accepted and are not open yet. */
  readonly #halfOpen: Backlog<Tcb>;
  /** Connections whose owner waits for memory, in the order in which they began to. */
  readonly #starved = new Set<Tcb>();
  /** Oldest first. */
  readonly #timeWaits = new Set<TimeWait>();
  /** Connections to look at when the batch ends; the first `#seen` were told their events. */
  readonly #changed: (Tcb | undefined)[] = [];
  #changedCount = 0;
  #seen = 0;
  #newSyns: { pending: PendingSyn; listener: TcpListener }[] = [];
  #flushing = false;
  #now: number;

  /** TCP for `address`; see `StackOptions`. */
  constructor(
    address: IpAddress,
    mtu: number,
    congestion: CongestionName,
    ip: IpOutput,
    icmp: Icmp,
    counters: StackCounters,
    limits: Limits,
    answers: RateLimit,
    random: (length: number) => Uint8Array,
    now: number,
  ) {
    this.#address = address;
    this.#mtu = mtu;
    this.#congestion = congestion;
    this.ip = ip;
    this.#icmp = icmp;
    this.counters = counters;
    this.limits = limits;
    this.#answers = answers;
    this.#random = random;
    this.#isn = new InitialSequence(random);
    this.#flows = new FlowTable(viewOf(random(4)).getInt32(0));
    this.chunks = new ChunkPool(limits.totalBytes);
    this.#pending = new Backlog(limits.pending);
    this.#halfOpen = new Backlog(limits.halfOpen);
    this.#now = now;
  }

  /** SYNs that wait for their owner. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Records in TIME-WAIT. */
  get timeWaits(): number {
    return this.#timeWaits.size;
  }

  /** Opens a connection; its SYN goes out with the next flush. */
  connect(options: ConnectOptions): TcpConnection | ConnectFault {
    if (this.connections >= this.limits.connections) return "too-many-connections";
    this.#now = options.now ?? this.#now;
    const local = options.from === undefined ? this.#address : toIpAddress(options.from);
    const remote = toIpAddress(options.to);
    const port = options.fromPort ?? this.#freePort(local, remote, options.port);
    if (port === undefined) return "no-port";
    if (this.#flows.find(local, port, remote, options.port) !== undefined) return "in-use";
    const mtu = this.#mtu;
    const control = options.options?.congestion ?? this.#congestion;
    const t = new Tcb(this, local, port, remote, options.port, mtu, control, this.#now);
    t.state = STATE.synSent;
    t.active = true;
    this.#begin(t);
    this.counters.opened++;
    return new TcpConnection(t, options.handler, options.options ?? {});
  }

  /** Waits for connections; undefined when somebody else waits for the same. */
  listen(options: ListenOptions): TcpListener | undefined {
    return this.#listeners.add(options);
  }

  /** Resets every connection and SYN that waits, and forgets listeners; the next flush tells owners. */
  abort(): void {
    this.#listeners.clear();
    this.#flows.forEach((flow) => {
      if (flow.kind === FLOW.connection) abort(flow);
      else if (flow.kind === FLOW.pending) this.refuse(flow, "reset");
      else this.#forget(flow);
    });
  }

  /** See {@link Stack.retry}. */
  retry(isBack: (remote: number) => boolean): void {
    this.#flows.forEach((flow) => {
      if (flow.kind !== FLOW.connection || flow.rto.backoff === 0) return;
      if (isBack(fromIpAddress(flow.remote))) hurry(flow, this.#now);
    });
  }

  /** See {@link Protocol.owns}. */
  owns(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): boolean {
    return (this.#flows.size > 0 &&
      this.#flows.find(local, localPort, remote, remotePort) !== undefined) ||
      this.#listeners.find(local, localPort) !== undefined;
  }

  /** See {@link Protocol.input}. */
  input(packet: IpPacket, now: number): void {
    this.#now = now;
    const s = this.#segment;
    if (!s.read(packet, this.counters)) return;
    this.counters.segmentsIn++;
    const flow = this.#flows.find(s.destination, s.destinationPort, s.source, s.sourcePort);
    if (flow === undefined) this.#unknownIn(s, now);
    else if (flow.kind === FLOW.connection) segmentIn(flow, s, now);
    else if (flow.kind === FLOW.pending) this.#pendingIn(flow, s, now);
    else this.#timeWaitIn(flow, s, now);
  }

  /** See {@link Protocol.error}: RFC 792, RFC 1191, with the checks of RFC 5927. */
  error(error: IcmpError, now: number): void {
    this.#now = now;
    const { view, at } = error;
    const localPort = view.getUint16(at);
    const flow = this.#flows.find(error.local, localPort, error.remote, view.getUint16(at + 2));
    // RFC 5927 section 4.1: only who sees our segments knows what is in flight.
    if (flow?.kind !== FLOW.connection || !inFlight(flow, view.getInt32(at + 4))) {
      this.counters.icmpIgnored++;
      return;
    }
    if (error.kind === "too-big") this.#tooBig(flow, error.mtu);
    // RFC 1122 section 4.2.3.9, RFC 5927 section 5.2: it may pass; only an attempt to open ends.
    else if (flow.state === STATE.synSent && error.kind === "unreachable") {
      finish(flow, error.code === UNREACHABLE.port ? "refused" : "unreachable");
    } else flow.softError = true;
  }

  /** See {@link Protocol.flush}. */
  flush(now: number): void {
    this.#now = now;
    if (this.#flushing) return;
    this.#flushing = true;
    // If a handler throws, the next flush goes on behind it.
    try {
      for (let syn = this.#newSyns.shift(); syn !== undefined; syn = this.#newSyns.shift()) {
        if (!syn.pending.gone) syn.listener.options.onSyn(syn.pending);
      }
      do {
        while (this.#seen < this.#changedCount) {
          const t = this.#changed[this.#seen++];
          if (t !== undefined) tell(t, now);
        }
      } while (this.#feedStarved());
      for (let i = 0; i < this.#changedCount; i++) {
        const t = this.#changed[i];
        this.#changed[i] = undefined;
        if (t !== undefined) output(t, now);
      }
      this.#changedCount = 0;
      this.#seen = 0;
    } finally {
      this.#flushing = false;
    }
  }

  /** See {@link Protocol.tick}. */
  tick(now: number): number {
    this.#now = now;
    for (let flow = this.#timers.due(now); flow !== undefined; flow = this.#timers.due(now)) {
      if (flow.kind === FLOW.connection) expire(flow, now);
      else if (flow.endsAt > now) this.#timers.schedule(flow, flow.endsAt);
      else this.#forget(flow);
    }
    this.flush(now);
    return this.#timers.nextAt;
  }

  /** See {@link Host.changed}. */
  changed(t: Tcb): void {
    if (t.queued) return;
    t.queued = true;
    this.#changed[this.#changedCount++] = t;
  }

  /** See {@link Host.schedule}. */
  schedule(t: Tcb, at: number): void {
    this.#timers.schedule(t, at);
  }

  /** See {@link Host.starved}. */
  starved(t: Tcb): void {
    this.#starved.add(t);
  }

  /** See {@link Host.opened}. */
  opened(t: Tcb): void {
    this.#halfOpen.delete(t);
  }

  /** See {@link Host.ended}. */
  ended(t: Tcb): void {
    this.#halfOpen.delete(t);
    this.#starved.delete(t);
    this.#timers.remove(t);
    this.#flows.remove(t);
    this.connections--;
  }

  /** See {@link Host.timeWait}. */
  timeWait(t: Tcb, now: number): void {
    this.ended(t);
    release(t, true);
    t.state = STATE.closed;
    const record = new TimeWait(t, now);
    for (const oldest of this.#timeWaits) {
      if (this.#timeWaits.size < this.limits.timeWait) break;
      this.#forget(oldest);
      this.counters.timeWaitEvicted++;
    }
    this.#timeWaits.add(record);
    this.#flows.add(record);
    this.#timers.schedule(record, record.endsAt);
  }

  /** See {@link PendingSyn.accept}. */
  accept(pending: PendingSyn, handler: TcpHandler, options: TcpOptions): TcpConnection | undefined {
    this.#forget(pending);
    if (this.connections >= this.limits.connections) {
      this.counters.synDropped++;
      return undefined;
    }
    const { local, localPort, remote, remotePort } = pending;
    const mtu = this.#mtu;
    const control = options.congestion ?? this.#congestion;
    const t = new Tcb(this, local, localPort, remote, remotePort, mtu, control, this.#now);
    t.state = STATE.synReceived;
    t.irs = pending.sequence;
    t.receive.next = seqAdd(pending.sequence, 1);
    t.advertised = t.receive.next;
    t.peerMss = pending.mss === 0 ? t.peerMss : Math.max(MIN_MSS, pending.mss);
    t.sendScale = pending.windowScale;
    t.sack = pending.sackPermitted;
    t.timestamps = pending.timestamps;
    t.recentValue = pending.timestamp;
    t.recentAt = this.#now;
    t.wnd = pending.window;
    this.#begin(t);
    const evicted = this.#halfOpen.add(t);
    if (evicted !== undefined) {
      finish(evicted, "timeout");
      this.counters.halfOpenEvicted++;
    }
    this.counters.accepted++;
    return new TcpConnection(t, handler, options);
  }

  /** See {@link PendingSyn.refuse}. */
  refuse(pending: PendingSyn, how: Refusal): void {
    this.#forget(pending);
    const { local, localPort, remote, remotePort, sequence } = pending;
    if (how === "unreachable") {
      const code = UNREACHABLE.host;
      this.#icmp.unreachableSegment(
        remote,
        remotePort,
        local,
        localPort,
        sequence,
        code,
        this.#now,
      );
      return;
    }
    if (sendReset(this.ip, local, localPort, remote, remotePort, 0, seqAdd(sequence, 1), true)) {
      this.counters.resetsOut++;
    }
  }

  #begin(t: Tcb): void {
    const { local, localPort, remote, remotePort } = t;
    this.#isn.compute(local, localPort, remote, remotePort, this.#now);
    t.iss = this.#isn.sequence;
    t.timestampOffset = this.#isn.timestampOffset;
    t.una = t.iss;
    t.nxt = t.iss;
    t.smallEnd = t.iss;
    t.send.start = seqAdd(t.iss, 1);
    t.synDue = true;
    this.connections++;
    this.#flows.add(t);
    this.changed(t);
  }

  /** Lets as many write again as there are chunks; whether there was anybody. */
  #feedStarved(): boolean {
    let left = this.#starved.size === 0 ? 0 : this.chunks.available;
    if (left <= 0) return false;
    for (const t of this.#starved) {
      if (left-- <= 0) break;
      this.#starved.delete(t);
      t.wantsRoom = false;
      t.wantsSent = false;
      raise(t, EVENT.writable);
    }
    return true;
  }

  #forget(flow: TimeWait | PendingSyn): void {
    this.#timers.remove(flow);
    this.#flows.remove(flow);
    if (flow.kind === FLOW.timeWait) this.#timeWaits.delete(flow);
    else if (!flow.gone) {
      flow.gone = true;
      this.#pending.delete(flow);
    }
  }

  /** No connection: LISTEN or CLOSED (RFC 9293 sections 3.10.7.1 and 3.10.7.2). */
  #unknownIn(s: Segment, now: number): void {
    if (s.has(TCP_FLAG.rst)) return;
    const listener = s.has(TCP_FLAG.ack) || !s.has(TCP_FLAG.syn)
      ? undefined
      : this.#listeners.find(s.destination, s.destinationPort);
    if (listener === undefined) {
      this.counters.noConnection++;
      this.#reset(s, now);
      return;
    }
    // More of them than may wait, in one batch, would only push each other out unseen.
    if (
      this.#newSyns.length >= this.limits.pending || this.connections >= this.limits.connections
    ) {
      this.counters.synDropped++;
      return;
    }
    const pending = new PendingSyn(s, this);
    pending.endsAt = now + PENDING_MS;
    const evicted = this.#pending.add(pending);
    if (evicted !== undefined) {
      this.#forget(evicted);
      this.counters.pendingEvicted++;
    }
    this.#flows.add(pending);
    this.#timers.schedule(pending, pending.endsAt);
    this.#newSyns.push({ pending, listener });
  }

  /** RFC 9293 section 3.10.7.1. */
  #reset(s: Segment, now: number): void {
    if (!this.#answers.allow(now)) {
      this.counters.rateLimited++;
      return;
    }
    const acked = s.has(TCP_FLAG.ack);
    const behind = seqAdd(s.sequence, s.sequenceLength);
    const { destination, destinationPort, source, sourcePort } = s;
    const sequence = acked ? s.acknowledgment : 0;
    const { ip } = this;
    if (
      sendReset(ip, destination, destinationPort, source, sourcePort, sequence, behind, !acked)
    ) this.counters.resetsOut++;
  }

  /** Something more from somebody whose SYN waits: the SYN again, or a change of mind. */
  #pendingIn(pending: PendingSyn, s: Segment, now: number): void {
    if (s.has(TCP_FLAG.rst)) {
      if (!s.has(TCP_FLAG.ack) && s.sequence === seqAdd(pending.sequence, 1)) this.#forget(pending);
      return;
    }
    if (!s.has(TCP_FLAG.syn) || s.has(TCP_FLAG.ack)) return;
    if (s.sequence === pending.sequence) {
      pending.endsAt = now + PENDING_MS;
      if (s.options.timestamps) pending.timestamp = s.options.value;
      return;
    }
    this.#forget(pending);
    this.#unknownIn(s, now);
  }

  #timeWaitIn(record: TimeWait, s: Segment, now: number): void {
    const verdict = record.input(s, this.ip, now);
    if (verdict === "done") return;
    this.#forget(record);
    if (verdict === "new") this.#unknownIn(s, now);
  }

  /** RFC 1191 section 6.3; only ever smaller, and never absurdly so. */
  #tooBig(t: Tcb, claimed: number): void {
    if (t.state < STATE.established || claimed >= t.pathMtu) {
      this.counters.icmpIgnored++;
      return;
    }
    t.pathMtu = Math.max(Math.min(MIN_PATH_MTU, t.pathMtu), claimed);
    applyMss(t);
    resendLarger(t);
    this.changed(t);
  }

  /**
   * A port that nothing uses towards this destination (RFC 6056 section 3.3.1); when there is none, that
   * of a connection that is over, so that many short ones do not run out of ports for a minute.
   */
  #freePort(local: IpAddress, remote: IpAddress, remotePort: number): number | undefined {
    const { firstPort } = this.limits;
    const count = 65536 - firstPort;
    const start = viewOf(this.#random(2)).getUint16(0);
    let over: TimeWait | undefined;
    for (let i = 0; i < count; i++) {
      const port = firstPort + (start + i) % count;
      const flow = this.#flows.find(local, port, remote, remotePort);
      if (flow === undefined) return port;
      if (over === undefined && flow.kind === FLOW.timeWait && flow.reusable(this.#now)) {
        over = flow;
      }
    }
    if (over === undefined) return undefined;
    this.#forget(over);
    this.counters.timeWaitReused++;
    return over.localPort;
  }
}

/** Draws conclusions and tells the owner. */
function tell(t: Tcb, now: number): void {
  t.queued = false;
  afterAcks(t, now);
  if (hasSentEnough(t)) {
    t.wantsRoom = false;
    t.wantsSent = false;
    t.events |= EVENT.writable;
  }
  const events = t.events;
  t.events = 0;
  if (events === 0) return;
  try {
    t.target?.deliver(events);
  } finally {
    // What came before a reset was there to be read until now.
    if (t.state === STATE.closed && t.reason !== "closed") t.receive.clear();
  }
}
