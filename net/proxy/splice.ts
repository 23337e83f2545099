/**
 * Joins a stream socket of this computer and a connection of the stack: what one says the other
 * hears, in both directions, the end of it included.
 *
 * ```
 *               socket (this computer)                connection (inside)
 *   read   ---------------------------- bytesIn ------------------------->  write
 *   end    ------------------------------------------------------------->   FIN
 *   write  <--------------------------- bytesOut -------------------------  peek, skip
 *   shutdown <-----------------------------------------------------------   FIN, all read
 *   failed -------------------------------------------------------------->  RST
 *   reset  <--------------------------------------------------------------  RST, timeout
 * ```
 *
 * Back-pressure: no byte is read that the other side does not take. From the socket at most as much
 * is read as the connection has room for; the connection's bytes are looked at and only those that the
 * socket took are taken, so its window closes. When the stack's memory is used up, and only then, it
 * takes less than it has room for: the rest is kept here, at most {@link COPY_BYTES}, and
 * {@link SCARCE_BYTES} once another splice keeps some too.
 *
 * An end in one direction leaves the other open for as long as it likes. It is over when both have
 * ended, one has failed, nothing has moved for the idle limit (both sides are then reset), or the
 * proxy is stopped (likewise: neither side shall take what it has for everything). When both have
 * ended and the inside has not acknowledged everything yet, the socket is closed and the rest goes on;
 * the idle limit holds for that too, so nobody keeps it for ever by a window that stays closed.
 *
 * Nothing is allocated for what passes. A turn is bounded by {@link TURN_BYTES}; the socket's
 * watching brings the next one.
 *
 * @module
 */

import { STREAM, type StreamOwner, type StreamSocket } from "../os/stream_socket.ts";
import type { CloseReason, TcpConnection, TcpHandler } from "../tcp/connection.ts";
import type { Dialer, DialFault } from "./dialer.ts";
import {
  COPY_BYTES,
  type Deadline,
  type ProxyCounters,
  type ProxyLoop,
  TURN_BYTES,
} from "./proxy_loop.ts";

/** Why the inside was not reached. */
export type OpenFault = DialFault | Exclude<CloseReason, "closed">;

/** Who began a splice. */
export interface SpliceOwner {
  /** The connection is open; bytes move from now on. What is written to the socket now is first. */
  onOpen?(splice: Splice): void;
  /**
   * The connection was not opened. The socket is still there, and is the owner's to close. It is
   * told instead of {@link onOver}.
   */
  onFailed(splice: Splice, fault: OpenFault): void;
  /** It is over, and both sides are closed. */
  onOver(splice: Splice): void;
}

/** Bytes that are read at once while the stack's memory is used up. */
export const SCARCE_BYTES = 1024;

const NOTHING = new Uint8Array(new ArrayBuffer(0));

/** One socket and one connection. */
export class Splice implements TcpHandler, StreamOwner, Deadline {
  /** The socket. */
  readonly socket: StreamSocket;
  /** Bytes from the socket to the connection. */
  bytesIn = 0;
  /** Bytes from the connection to the socket. */
  bytesOut = 0;
  readonly #loop: ProxyLoop;
  readonly #owner: SpliceOwner;
  readonly #counters: ProxyCounters;
  #connection: TcpConnection | undefined;
  #open = false;
  #over = false;
  #movedAt: number;
  /** Read from the socket, and not taken by the connection. */
  #held: Uint8Array<ArrayBuffer> = NOTHING;
  #heldAt = 0;
  #holding = false;
  /** What the socket is watched for. */
  #wantsRead = false;
  #wantsWrite = false;
  #socketEnded = false;
  #connectionEnded = false;
  /** Both directions of the connection have been said and acknowledged. */
  #connectionClosed = false;
  /** Both have ended and the socket is closed; the inside has not acknowledged everything. */
  #draining = false;

  /**
   * Nothing moves yet. The socket becomes the splice's own.
   *
   * @param first Bytes that were read from the socket already.
   */
  constructor(
    loop: ProxyLoop,
    socket: StreamSocket,
    owner: SpliceOwner,
    counters: ProxyCounters,
    first: Uint8Array<ArrayBuffer> = NOTHING,
  ) {
    this.#loop = loop;
    this.socket = socket;
    this.#owner = owner;
    this.#counters = counters;
    this.#held = first;
    this.#movedAt = loop.now;
  }

  /** The connection; undefined before there is one. */
  get connection(): TcpConnection | undefined {
    return this.#connection;
  }

  /** Opens the connection; the fault when that is plain at once, and then the owner is not told. */
  dial(dialer: Dialer, host: string, port: number): DialFault | undefined {
    const connection = dialer.dial(host, port, this);
    if (typeof connection === "string") return connection;
    this.#take(connection);
    return undefined;
  }

  /** Takes a connection that was accepted with this as its handler. */
  accepted(connection: TcpConnection): void {
    this.#take(connection);
  }

  #take(connection: TcpConnection): void {
    this.#connection = connection;
    this.socket.owner = this;
    // Not watched: what the socket says waits, but its failing is told.
    this.socket.watch(false, false);
    this.#loop.addDeadline(this);
  }

  /** Ends it at once, both sides with a reset. The owner is told. */
  stop(): void {
    if (!this.#over) this.#abort();
  }

  /** See {@link Deadline.sweep}. */
  sweep(now: number): void {
    if (this.#open && now - this.#movedAt >= this.#loop.idleMs) this.#abort();
  }

  /** See {@link TcpHandler.onOpen}. */
  onOpen(): void {
    if (this.#over) return;
    this.#open = true;
    this.#movedAt = this.#loop.now;
    this.#owner.onOpen?.(this);
    this.#pump(true, true);
  }

  /** See {@link TcpHandler.onReadable}. */
  onReadable(): void {
    // The socket was full: what is new has to wait behind the rest until it says otherwise.
    if (!this.#wantsWrite) this.#pump(false, true);
  }

  /** See {@link TcpHandler.onWritable}. */
  onWritable(): void {
    this.#pump(true, false);
  }

  /** See {@link TcpHandler.onEnd}. */
  onEnd(): void {
    this.onReadable();
  }

  /** See {@link TcpHandler.onClose}. */
  onClose(_connection: TcpConnection, reason: CloseReason): void {
    if (this.#over) return;
    if (this.#draining) {
      if (reason === "closed") this.#finish();
      else this.#abort();
    } else if (reason === "closed") {
      this.#connectionClosed = true;
      this.onReadable();
    } else if (this.#open) this.#abort();
    else {
      this.#leave();
      this.#counters.failed++;
      this.#owner.onFailed(this, reason);
    }
  }

  /** See {@link StreamOwner.onStream}. */
  onStream(socket: StreamSocket): void {
    if (this.#over) return;
    if (socket.fault !== undefined) this.#abort();
    else this.#pump(this.#wantsRead, this.#wantsWrite);
  }

  /** Moves what can be moved in these directions, and watches for what is missing. */
  #pump(fromSocket: boolean, toSocket: boolean): void {
    const connection = this.#connection;
    if (this.#over || this.#draining || !this.#open || connection === undefined) return;
    if (fromSocket) this.#wantsRead = this.#fromSocket(connection);
    if (this.#over) return;
    if (toSocket) this.#wantsWrite = this.#toSocket(connection);
    if (this.#over) return;
    if (this.#socketEnded && this.#connectionEnded) {
      this.socket[Symbol.dispose]();
      if (this.#connectionClosed) this.#finish();
      else this.#draining = true;
    } else this.socket.watch(this.#wantsRead, this.#wantsWrite);
  }

  /** Whether to wait for the socket to have more. */
  #fromSocket(connection: TcpConnection): boolean {
    if (this.#socketEnded) return false;
    if (!this.#flushHeld(connection)) return false;
    const { buffer } = this.#loop;
    for (let moved = 0; moved < TURN_BYTES;) {
      const most = this.#loop.holding > 0 ? SCARCE_BYTES : buffer.length;
      const room = Math.min(connection.writable, most);
      if (room === 0) {
        // Takes nothing, and asks to be told when there is room.
        connection.write(buffer, 0, 1);
        return false;
      }
      const count = this.socket.read(buffer, 0, room);
      if (count === 0) return true;
      if (count === STREAM.error) {
        this.#abort();
        return false;
      }
      if (count === STREAM.end) {
        this.#socketEnded = true;
        this.#moved();
        connection.end();
        return false;
      }
      moved += count;
      const taken = connection.write(buffer, 0, count);
      this.#countIn(taken);
      if (taken < count) {
        this.#held = buffer.slice(taken, count);
        this.#heldAt = 0;
        this.#loop.holding++;
        this.#holding = true;
        return false;
      }
      // A short read emptied it; the next one would only say so.
      if (count < room) return true;
    }
    return true;
  }

  /** Whether nothing is held any more. */
  #flushHeld(connection: TcpConnection): boolean {
    const left = this.#held.length - this.#heldAt;
    if (left === 0) return true;
    const taken = connection.write(this.#held, this.#heldAt, left);
    this.#heldAt += taken;
    this.#countIn(taken);
    if (taken < left) return false;
    this.#letGo();
    return true;
  }

  /** Whether to wait for the socket to take more. */
  #toSocket(connection: TcpConnection): boolean {
    if (this.#connectionEnded) return false;
    const { buffer } = this.#loop;
    for (let moved = 0; moved < TURN_BYTES;) {
      const count = connection.peek(buffer, 0, COPY_BYTES);
      if (count === 0) {
        // Closed in order and all read: their FIN has come.
        if (connection.ended || this.#connectionClosed) {
          this.#connectionEnded = true;
          this.#moved();
          this.socket.shutdownWrite();
        }
        return false;
      }
      const taken = this.socket.write(buffer, 0, count);
      if (taken === STREAM.error) {
        this.#abort();
        return false;
      }
      connection.skip(taken);
      moved += taken;
      if (taken > 0) {
        this.bytesOut += taken;
        this.#counters.bytesOut += taken;
        this.#moved();
      }
      if (taken < count) return true;
    }
    return true;
  }

  #countIn(taken: number): void {
    if (taken === 0) return;
    this.bytesIn += taken;
    this.#counters.bytesIn += taken;
    this.#moved();
  }

  #moved(): void {
    this.#movedAt = this.#loop.now;
  }

  #finish(): void {
    this.#leave();
    this.#owner.onOver(this);
  }

  #abort(): void {
    this.#leave();
    this.#connection?.abort();
    if (!this.#draining) this.socket.abort();
    this.#counters.aborted++;
    this.#owner.onOver(this);
  }

  #letGo(): void {
    this.#held = NOTHING;
    this.#heldAt = 0;
    if (this.#holding) this.#loop.holding--;
    this.#holding = false;
  }

  #leave(): void {
    this.#over = true;
    this.#letGo();
    this.#loop.removeDeadline(this);
  }
}
