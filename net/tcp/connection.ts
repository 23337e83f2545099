/**
 * A TCP connection as its owner sees it.
 *
 * Every call returns at once. What it causes is sent at the next `flush` or `tick` of the stack; a
 * handler is called from there, never from within a call or from `input`, so it may do anything.
 *
 * | state        | read               | write        | end          | abort |
 * | ------------ | ------------------ | ------------ | ------------ | ----- |
 * | SYN-SENT     | nothing yet        | is kept      | after data   | yes   |
 * | SYN-RECEIVED | nothing yet        | is kept      | after data   | yes   |
 * | ESTABLISHED  | yes                | yes          | yes          | yes   |
 * | CLOSE-WAIT   | what is left       | yes          | yes          | yes   |
 * | FIN-WAIT-1   | yes                | takes 0      | nothing more | yes   |
 * | FIN-WAIT-2   | yes                | takes 0      | nothing more | yes   |
 * | CLOSING      | what is left       | takes 0      | nothing more | yes   |
 * | LAST-ACK     | what is left       | takes 0      | nothing more | yes   |
 * | TIME-WAIT    | what is left       | takes 0      | nothing more | frees what is unread |
 * | CLOSED       | what is left, if it ended in order | takes 0 | nothing more | frees what is unread |
 *
 * @module
 */

import { sendAbort } from "./_segment_write.ts";
import { type CloseReason, EVENT, finish, type KeepAlive, type Tcb, unsentOf } from "./_tcb.ts";
import { fromIpAddress } from "./address.ts";
import type { CongestionName } from "./congestion/control.ts";
import { STATE, type StateName, stateName } from "./state.ts";

export type { CloseReason, KeepAlive } from "./_tcb.ts";
export type { CongestionName } from "./congestion/control.ts";

/** What an owner is told. One object may serve many connections. */
export interface TcpHandler {
  /** The handshake is done. */
  onOpen?(connection: TcpConnection): void;
  /** There is more to read than before; told once for each batch of packets. */
  onReadable?(connection: TcpConnection): void;
  /** `write` takes bytes again, after it took less than it was given; also after the handshake. */
  onWritable?(connection: TcpConnection): void;
  /** The other side has sent its last byte: once what is readable is read, nothing follows. */
  onEnd?(connection: TcpConnection): void;
  /**
   * It is over. Told once, last; nothing is told after it. What has arrived can still be read here, and
   * later only if the reason is `closed`.
   */
  onClose?(connection: TcpConnection, reason: CloseReason): void;
}

/** Settings of a connection. */
export interface TcpOptions {
  /** Sends small writes at once instead of gathering them (Nagle). @default {false} */
  readonly noDelay?: boolean;
  /** How to find out that a silent other side is gone; none: never. */
  readonly keepalive?: KeepAlive;
  /** How long to try to open it, in ms. @default {180000} */
  readonly connectMs?: number;
  /** How long data may stay unacknowledged, in ms. @default {300000} */
  readonly giveUpMs?: number;
  /**
   * Bytes that wait here to be sent for the first time, beyond which `write` takes nothing; it says so
   * when half of them have gone. A proxy that has its bytes from somewhere leaves them there, where
   * they hold the sender back. @default {as many as are buffered}
   */
  readonly unsentBytes?: number;
  /** What decides how much is on its way, and how fast. @default {the stack's} */
  readonly congestion?: CongestionName;
}

/** How a connection does. */
export interface TcpStats {
  /** Smoothed round trip, in ms; -1: not measured yet. */
  readonly roundTripMs: number;
  /** Least round trip of late, in ms; Infinity: not measured yet. */
  readonly minRoundTripMs: number;
  /** Retransmission timeout, in ms. */
  readonly timeoutMs: number;
  /** What decides about it. */
  readonly congestion: CongestionName;
  /** Congestion window, in bytes. */
  readonly congestionWindow: number;
  /** Window that the other side allows, in bytes. */
  readonly sendWindow: number;
  /** Most that the other side may have on its way to us, in bytes. */
  readonly receiveLimit: number;
  /** Data bytes of a full segment. */
  readonly segmentBytes: number;
  /** Segments sent again. */
  readonly retransmits: number;
  /** Data bytes received in order. */
  readonly bytesIn: number;
  /** Data bytes sent, each counted once. */
  readonly bytesOut: number;
}

/** One end of a TCP connection. */
export class TcpConnection {
  readonly #t: Tcb;

  /** Made by `Stack.connect` and `PendingSyn.accept`. */
  constructor(t: Tcb, handler: TcpHandler, options: TcpOptions) {
    this.#t = t;
    t.target = new HandlerCalls(this, t, handler);
    t.noDelay = options.noDelay ?? false;
    t.keepalive = options.keepalive;
    t.connectMs = options.connectMs ?? t.connectMs;
    t.giveUpMs = options.giveUpMs ?? t.giveUpMs;
    t.unsentLimit = options.unsentBytes ?? t.unsentLimit;
  }

  /** Its state, in the spelling of RFC 9293. */
  get state(): StateName {
    return stateName(this.#t.state);
  }

  /** Our address, unsigned 32 bits. */
  get localAddress(): number {
    return fromIpAddress(this.#t.local);
  }

  /** Our port. */
  get localPort(): number {
    return this.#t.localPort;
  }

  /** Their address, unsigned 32 bits. */
  get remoteAddress(): number {
    return fromIpAddress(this.#t.remote);
  }

  /** Their port. */
  get remotePort(): number {
    return this.#t.remotePort;
  }

  /** Bytes that `read` would give. */
  get readable(): number {
    return this.#t.receive.readable;
  }

  /** Whether the other side has sent everything and all of it was read. */
  get ended(): boolean {
    return this.#t.finReceived && this.#t.receive.readable === 0;
  }

  /** Bytes that `write` would take, memory permitting. */
  get writable(): number {
    return mayWrite(this.#t) ? roomOf(this.#t) : 0;
  }

  /** Bytes written that the other side has not acknowledged. */
  get unacknowledged(): number {
    return this.#t.send.length;
  }

  /** Moves bytes that have arrived to `into[at..]`; how many, 0 when there are none now. */
  read(into: Uint8Array, at = 0, length: number = into.length - at): number {
    return this.skip(this.peek(into, at, length));
  }

  /**
   * Copies bytes that have arrived to `into[at..]` without taking them, for an owner who does not
   * know yet how many it can pass on; how many.
   */
  peek(into: Uint8Array, at = 0, length: number = into.length - at): number {
    return this.#t.receive.peek(into, at, Math.min(length, into.length - at));
  }

  /** Takes bytes as `read` does, without copying them; how many. */
  skip(length: number): number {
    const t = this.#t;
    const count = t.receive.skip(length);
    if (count > 0 && t.state !== STATE.closed) {
      t.hasRead = true;
      t.host.changed(t);
    }
    return count;
  }

  /**
   * Takes bytes of `from[at..]` to be sent; how many. When that is less than `length`, `onWritable`
   * says when to go on.
   */
  write(from: Uint8Array, at = 0, length: number = from.length - at): number {
    const t = this.#t;
    if (!mayWrite(t)) return 0;
    const wanted = Math.min(length, from.length - at);
    const room = roomOf(t);
    const taken = t.send.write(from, at, Math.min(wanted, room));
    if (taken < wanted) {
      t.wantsRoom = true;
      t.wantsSent = taken === room && room < t.send.room + taken;
      if (taken < room) t.host.starved(t);
    }
    if (taken > 0) t.host.changed(t);
    return taken;
  }

  /** Says that nothing more will be written: FIN goes out after what was. Reading goes on. */
  end(): void {
    const t = this.#t;
    if (!mayWrite(t)) return;
    t.finQueued = true;
    t.wantsRoom = false;
    t.wantsSent = false;
    if (t.state === STATE.established) t.state = STATE.finWait1;
    else if (t.state === STATE.closeWait) t.state = STATE.lastAck;
    t.host.changed(t);
  }

  /** Ends it at once, with a reset; everything unsent and unread is gone. */
  abort(): void {
    const t = this.#t;
    if (t.state === STATE.closed || t.state === STATE.timeWait) {
      t.receive.clear();
      return;
    }
    abort(t);
  }

  /** Whether small writes go out at once. */
  get noDelay(): boolean {
    return this.#t.noDelay;
  }

  /** Turns gathering small writes off or on. */
  set noDelay(value: boolean) {
    this.#t.noDelay = value;
    this.#t.host.changed(this.#t);
  }

  /** How a silent other side is found out. */
  get keepalive(): KeepAlive | undefined {
    return this.#t.keepalive;
  }

  /** Sets it; undefined: not at all. */
  set keepalive(value: KeepAlive | undefined) {
    const t = this.#t;
    t.keepalive = value;
    t.keepaliveSent = 0;
    t.keepaliveAt = value === undefined || t.state < STATE.established
      ? Infinity
      : t.heardAt + value.idleMs;
    t.host.changed(t);
  }

  /** How it does. */
  get stats(): TcpStats {
    const t = this.#t;
    return {
      roundTripMs: t.rto.smoothed,
      minRoundTripMs: t.rack.minRoundTrip,
      timeoutMs: t.rto.value,
      congestion: t.congestion.name,
      congestionWindow: Math.floor(t.congestion.window),
      sendWindow: t.wnd,
      receiveLimit: t.receive.limit,
      segmentBytes: t.mss,
      retransmits: t.retransmits,
      bytesIn: t.bytesIn,
      bytesOut: t.bytesOut,
    };
  }
}

/** Ends a connection that is not closed with a reset (RFC 9293 section 3.10.5). */
export function abort(t: Tcb): void {
  if (t.state !== STATE.synSent) sendAbort(t);
  finish(t, "aborted");
}

/** Bytes that may be written, memory permitting. */
function roomOf(t: Tcb): number {
  // Without the SYN, which is unsent at first.
  const unsent = Math.min(unsentOf(t), t.send.length);
  return Math.min(t.send.room, Math.max(0, t.unsentLimit - unsent));
}

function mayWrite(t: Tcb): boolean {
  return !t.finQueued && t.state >= STATE.synSent && t.state <= STATE.closeWait;
}

/** Calls a handler. */
class HandlerCalls {
  readonly #connection: TcpConnection;
  readonly #t: Tcb;
  readonly #handler: TcpHandler;

  constructor(connection: TcpConnection, t: Tcb, handler: TcpHandler) {
    this.#connection = connection;
    this.#t = t;
    this.#handler = handler;
  }

  deliver(events: number): void {
    const handler = this.#handler;
    const connection = this.#connection;
    // After an abort by the owner, in one of these calls, only the end is still told.
    const aborted = this.#t.reason === "aborted";
    try {
      if (!aborted && (events & EVENT.open) !== 0) handler.onOpen?.(connection);
      if (this.#tells(EVENT.readable, events)) handler.onReadable?.(connection);
      if (this.#tells(EVENT.end, events)) handler.onEnd?.(connection);
      if (this.#tells(EVENT.writable, events)) handler.onWritable?.(connection);
    } finally {
      // Whatever the others throw: it is over.
      if ((events & EVENT.close) !== 0) handler.onClose?.(connection, this.#t.reason ?? "closed");
    }
  }

  #tells(event: number, events: number): boolean {
    return (events & event) !== 0 && this.#t.reason !== "aborted";
  }
}
