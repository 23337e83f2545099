/**
 * Initial sequence numbers that a stranger cannot guess (RFC 6528), and where a connection's
 * timestamps begin (RFC 7323 section 7.1).
 *
 * @module
 */

import { blake2s } from "@noble/hashes/blake2.js";
import { viewOf } from "../wire/bytes.ts";
import type { IpAddress } from "./address.ts";

/** RFC 6528 section 3: M counts 4 microseconds. */
const TICKS_PER_MS = 250;
const SECRET_BYTES = 32;

/** ISN = M + F(secret, addresses, ports), with keyed BLAKE2s for F. */
export class InitialSequence {
  /** Initial sequence number of the last call of {@link compute}. */
  sequence = 0;
  /** What is added to the clock in this connection's timestamps; from the same call. */
  timestampOffset = 0;
  readonly #secret: Uint8Array;
  readonly #input = new Uint8Array(12);

  /** Draws the secret. */
  constructor(random: (length: number) => Uint8Array) {
    this.#secret = random(SECRET_BYTES);
  }

  /** Computes both numbers for a connection that begins at `now`. */
  compute(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    now: number,
  ): void {
    const input = viewOf(this.#input);
    input.setInt32(0, local);
    input.setInt32(4, remote);
    input.setUint16(8, localPort);
    input.setUint16(10, remotePort);
    const hash = blake2s(this.#input, { key: this.#secret, dkLen: 8 });
    const view = new DataView(hash.buffer, hash.byteOffset);
    this.sequence = (view.getInt32(0) + Math.floor(now * TICKS_PER_MS)) | 0;
    this.timestampOffset = view.getInt32(4);
  }
}
