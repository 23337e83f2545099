/**
 * Owners of connections for tests: they write a stream that can be checked at any place, and check
 * what they read.
 *
 * @module
 */

import type { CloseReason, TcpConnection, TcpHandler } from "./connection.ts";

/** Byte `i` of stream `salt`. */
export function streamByte(i: number, salt: number): number {
  return (Math.imul(i ^ (i >>> 9), 0x9e3779b1) >>> 19) + salt & 255;
}

const CHUNK = 4096;

/** What an owner does. */
export interface PeerOptions {
  /** Bytes to write, then it ends. */
  readonly bytes: number;
  /** Which stream it writes. */
  readonly salt: number;
  /** Which stream it expects. */
  readonly expects: number;
  /** Most bytes at a time that it reads; 0: nothing until {@link StreamPeer.drain}. @default {65536} */
  readonly readSize?: number;
  /** Most bytes at a time that it writes. @default {4096} */
  readonly writeSize?: number;
}

/** Writes one stream and checks the other. */
export class StreamPeer implements TcpHandler {
  /** Its connection, once it is open or was tried to be opened. */
  connection: TcpConnection | undefined;
  /** Bytes read. */
  read = 0;
  /** Bytes written. */
  written = 0;
  /** Whether it was opened. */
  opened = false;
  /** Whether the other side has ended. */
  ended = false;
  /** Why it is over; undefined: it is not. */
  reason: CloseReason | undefined;
  /** What went wrong; undefined: nothing. */
  fault: string | undefined;
  /** Whether it reads by itself. */
  reading: boolean;
  readonly #options: PeerOptions;
  readonly #in: Uint8Array;
  readonly #out = new Uint8Array(CHUNK);

  /** An owner with no connection yet. */
  constructor(options: PeerOptions) {
    this.#options = options;
    this.reading = options.readSize !== 0;
    this.#in = new Uint8Array(options.readSize || 65536);
  }

  /** See {@link TcpHandler.onOpen}. */
  onOpen(connection: TcpConnection): void {
    if (this.opened) this.fault ??= "opened twice";
    this.opened = true;
    this.connection = connection;
  }

  /** See {@link TcpHandler.onReadable}. */
  onReadable(): void {
    if (this.reading) this.drain();
  }

  /** See {@link TcpHandler.onWritable}. */
  onWritable(): void {
    this.fill();
  }

  /** See {@link TcpHandler.onEnd}. */
  onEnd(): void {
    if (this.ended) this.fault ??= "ended twice";
    this.ended = true;
  }

  /** See {@link TcpHandler.onClose}. */
  onClose(_connection: TcpConnection, reason: CloseReason): void {
    if (this.reason !== undefined) this.fault ??= "closed twice";
    this.reason = reason;
  }

  /** Reads at most `limit` bytes and checks them. */
  drain(limit = Infinity): void {
    const { connection } = this;
    if (connection === undefined) return;
    for (let left = limit; left > 0;) {
      const count = connection.read(this.#in, 0, Math.min(left, this.#in.length));
      if (count === 0) return;
      for (let i = 0; i < count; i++) {
        if (this.#in[i] === streamByte(this.read + i, this.#options.expects)) continue;
        this.fault ??= `byte ${this.read + i} is wrong`;
        return;
      }
      this.read += count;
      left -= count;
    }
  }

  /** Writes as much as is taken; ends behind the last byte. */
  fill(): void {
    const { connection } = this;
    if (connection === undefined) return;
    const { bytes, salt } = this.#options;
    const size = Math.min(CHUNK, this.#options.writeSize ?? CHUNK);
    while (this.written < bytes) {
      const length = Math.min(size, bytes - this.written);
      for (let i = 0; i < length; i++) this.#out[i] = streamByte(this.written + i, salt);
      const taken = connection.write(this.#out, 0, length);
      this.written += taken;
      if (taken < length) return;
    }
    connection.end();
  }
}
