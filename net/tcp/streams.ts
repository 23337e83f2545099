/**
 * A TCP connection as web streams, for programs that are not in a hurry: back-pressure both ways, half
 * a close in each direction, abort.
 *
 * ```ts
 * const streams = new TcpStreams(() => stackNeedsFlush());
 * const made = stack.connect({ to, port, handler: streams });
 * await streams.opened;
 * await streams.writable.getWriter().write(bytes);
 * for await (const bytes of streams.readable) ...;
 * ```
 *
 * - `readable` ends at their FIN; reading at leisure closes the window. `cancel` aborts the connection
 *   unless their FIN has come.
 * - `writable`: a write resolves when the stack has taken all of it; `close` sends FIN after what was
 *   written and resolves; `abort` resets.
 * - An end other than in order errors both with {@link TcpStreamError}.
 *
 * @module
 */

import type { CloseReason, TcpConnection, TcpHandler } from "./connection.ts";

/** Most bytes of one chunk that is read. */
const CHUNK = 65536;

/** Why a stream ended early. */
export class TcpStreamError extends Error {
  /** What became of the connection. */
  readonly reason: CloseReason;

  /** Made when a connection ends. */
  constructor(reason: CloseReason) {
    super(`Cannot go on with the connection: ${reason}`);
    this.name = "TcpStreamError";
    this.reason = reason;
  }
}

/** A handler with a stream in each direction. */
export class TcpStreams implements TcpHandler {
  /** What they send. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What is sent to them. */
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when the handshake is done; rejects with {@link TcpStreamError} when it is not. */
  readonly opened: Promise<void>;
  /** Resolves when it is over, with how. */
  readonly closed: Promise<CloseReason>;
  readonly #changed: () => void;
  readonly #opened = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<CloseReason>();
  #connection: TcpConnection | undefined;
  #reason: CloseReason | undefined;
  #reader: ReadableStreamDefaultController<Uint8Array> | undefined;
  #writer: WritableStreamDefaultController | undefined;
  /** Set while the reader wants more, until there is some. */
  #wanted: (() => void) | undefined;
  /** Set while a write waits for room. */
  #room: PromiseWithResolvers<void> | undefined;
  #isReadDone = false;

  /**
   * Streams without a connection yet.
   *
   * @param changed Called when the stack has something to send: call its `flush` soon, not from within.
   */
  constructor(changed: () => void) {
    this.#changed = changed;
    this.opened = this.#opened.promise;
    this.closed = this.#closed.promise;
    this.opened.catch(() => {}); // whoever only reads learns it from the stream
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#reader = controller;
      },
      pull: () => this.#pull(),
      cancel: () => {
        this.#isReadDone = true;
        this.#wanted = undefined;
        if (this.#connection?.ended !== true) this.#abort();
      },
    }, { highWaterMark: 0 });
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#writer = controller;
      },
      write: (bytes) => this.#write(bytes),
      close: () => {
        this.#connection?.end();
        this.#changed();
      },
      abort: () => this.#abort(),
    });
  }

  /** See {@link TcpHandler.onOpen}. */
  onOpen(connection: TcpConnection): void {
    this.#connection = connection;
    this.#opened.resolve();
    this.#room?.resolve();
  }

  /** See {@link TcpHandler.onReadable}. */
  onReadable(): void {
    this.#wanted?.();
  }

  /** See {@link TcpHandler.onWritable}. */
  onWritable(): void {
    this.#room?.resolve();
  }

  /** See {@link TcpHandler.onEnd}. */
  onEnd(): void {
    this.#wanted?.();
  }

  /** See {@link TcpHandler.onClose}. */
  onClose(_connection: TcpConnection, reason: CloseReason): void {
    this.#reason = reason;
    this.#closed.resolve(reason);
    if (reason !== "closed") {
      const error = new TcpStreamError(reason);
      this.#opened.reject(error);
      if (!this.#isReadDone) this.#reader?.error(error);
      this.#isReadDone = true;
      this.#writer?.error(error);
    }
    this.#room?.resolve();
    this.#wanted?.();
  }

  /** Hands out what there is; otherwise when there is some. */
  #pull(): Promise<void> | void {
    if (this.#take()) return;
    return new Promise((resolve) => {
      this.#wanted = () => {
        if (!this.#take()) return;
        this.#wanted = undefined;
        resolve();
      };
    });
  }

  /** Whether there was something to hand out, or the end. */
  #take(): boolean {
    if (this.#isReadDone) return true;
    const connection = this.#connection;
    if (connection === undefined) return false;
    const length = Math.min(CHUNK, connection.readable);
    if (length > 0) {
      const bytes = new Uint8Array(length);
      const count = connection.read(bytes);
      this.#reader?.enqueue(bytes.subarray(0, count));
      this.#changed(); // the window may open
    } else if (connection.ended || this.#reason === "closed") {
      this.#isReadDone = true;
      this.#reader?.close();
    } else return false;
    return true;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#opened.promise;
    for (let done = 0; done < bytes.length;) {
      if (this.#reason !== undefined) throw new TcpStreamError(this.#reason);
      const room = this.#room = Promise.withResolvers<void>();
      const taken = this.#connection?.write(bytes, done) ?? 0;
      done += taken;
      if (taken > 0) this.#changed();
      if (done < bytes.length) await room.promise;
    }
    this.#room = undefined;
  }

  #abort(): void {
    this.#connection?.abort();
    this.#changed();
  }
}
