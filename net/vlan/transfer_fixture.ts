/**
 * A handler that sends a number of bytes, and hashes what it reads.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { Random } from "../../tests/doubles/random.ts";
import type { CloseReason, TcpConnection, TcpHandler } from "../tcp/connection.ts";

/** One side of a transfer. */
export class Transfer implements TcpHandler {
  /** SHA-256 of what it sends, hex. */
  readonly sends: string;
  /** How it ended. */
  reason: CloseReason | undefined;
  readonly #bytes: Uint8Array;
  readonly #hash = createHash("sha256");
  readonly #buffer = new Uint8Array(16384);
  #sent = 0;

  /** Will send so many bytes, chosen by `seed`. */
  constructor(length: number, seed: number) {
    const random = new Random(seed);
    this.#bytes = new Uint8Array(length).map(() => random.below(256));
    this.sends = createHash("sha256").update(this.#bytes).digest("hex");
  }

  /** SHA-256 of what it has read, hex; once it is over. */
  get received(): string {
    return this.#hash.digest("hex");
  }

  /** See {@link TcpHandler.onOpen}. */
  onOpen(connection: TcpConnection): void {
    this.onWritable(connection);
  }

  /** See {@link TcpHandler.onWritable}. */
  onWritable(connection: TcpConnection): void {
    this.#sent += connection.write(this.#bytes, this.#sent);
    if (this.#sent === this.#bytes.length) connection.end();
  }

  /** See {@link TcpHandler.onReadable}. */
  onReadable(connection: TcpConnection): void {
    for (let n = connection.read(this.#buffer); n > 0; n = connection.read(this.#buffer)) {
      this.#hash.update(this.#buffer.subarray(0, n));
    }
  }

  /** See {@link TcpHandler.onClose}. */
  onClose(_connection: TcpConnection, reason: CloseReason): void {
    this.reason = reason;
  }
}
