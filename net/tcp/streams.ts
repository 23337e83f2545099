/**
 * A TCP connection as web streams, for programs that are not in a hurry: back-pressure both ways, half
 * a close in each direction, abort.
 *
 * ```ts
 * const streams = new TcpStreams(() => stackNeedsFlush());
 * const made = stack.connect({ to, port, handler: streams });
 * if (typeof made === "object") streams.attach(made); // otherwise there is no connection
 * await streams.opened;
 * await streams.writable.getWriter().write(bytes);
 * for await (const bytes of streams.readable) ...;
 * ```
 *
 * - `readable` ends at their FIN; reading at leisure closes the window. `cancel` aborts the connection
 *   unless their FIN has come: then it only drops what is unread.
 * - `writable`: a write resolves when the stack has taken all of it; `close` sends FIN after what was
 *   written and resolves; `abort` resets, also while a write waits.
 * - An end other than in order errors both with {@link TcpStreamError}.
 * - Disposing of them aborts a connection that is not over. It is also what ends a `pipeTo` that waits
 *   for a write: by its standard, an abort signal of its own waits for the write too.
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
export class TcpStreams implements TcpHandler, Disposable {
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
  /** How it ended; `aborted` as soon as the owner wants that. */
  #reason: CloseReason | undefined;
  #reader: ReadableStreamDefaultController<Uint8Array> | undefined;
  #writer: WritableStreamDefaultController | undefined;
  /** Set while the reader wants more, until there is some. */
  #wanted: (() => void) | undefined;
  /** Set while a write waits for room. */
  #room: PromiseWithResolvers<void> | undefined;
  /** Their FIN has come. */
  #isFinIn = false;
  #isReadDone = false;
  #isWriteDone = false;

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
        if (!this.#isFinIn) return this.#abort();
        this.#connection?.skip(Infinity);
        this.#changed();
      },
    }, { highWaterMark: 0 });
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#writer = controller;
        // The sink's own `abort` would be called after the write that waits.
        controller.signal.addEventListener("abort", () => this.#abort());
      },
      write: (bytes) => this.#write(bytes),
      close: () => {
        this.#isWriteDone = true;
        this.#connection?.end();
        this.#changed();
      },
    });
  }

  /**
   * Says which connection it is, as `onOpen` will: what ends it then does so while it is being opened,
   * and not only after that.
   */
  attach(connection: TcpConnection): void {
    this.#connection = connection;
    if (this.#reason === "aborted") connection.abort();
    else if (this.#isWriteDone) connection.end();
    else return;
    this.#changed();
  }

  /** See {@link TcpHandler.onOpen}. */
  onOpen(connection: TcpConnection): void {
    this.attach(connection);
    this.#opened.resolve();
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
    this.#isFinIn = true;
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
    } else {
      // What is unread moves to the stream, so that the stack's memory does not wait for its reader.
      while (!this.#isReadDone && this.#take());
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

  /** Ends it, now or as soon as there is a connection. */
  #abort(): void {
    this.#reason ??= "aborted";
    this.#opened.reject(new TcpStreamError(this.#reason));
    this.#connection?.abort();
    this.#changed();
  }

  /** Aborts the connection unless it is over: whoever wants it to end in order awaits `closed` first. */
  [Symbol.dispose](): void {
    this.#abort();
  }
}
