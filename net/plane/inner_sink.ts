/**
 * Where packets from the tunnel go on this computer.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";

const NOWHERE = new Uint8Array(65536);

/** The TUN device once there is one; before that packets are dropped and counted. */
export class InnerSink implements PacketSink {
  /** The TUN device's sink. */
  target: PacketSink | undefined;
  /** Packets dropped so far. */
  dropped: number = 0;

  /** See {@link PacketSink.buffer}. */
  get buffer(): Uint8Array {
    return this.target?.buffer ?? NOWHERE;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    if (this.target !== undefined) return this.target.reserve(size);
    // Room to decrypt into, because a packet that authenticates keeps its session going.
    return size > NOWHERE.length ? -1 : 0;
  }

  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    if (this.target !== undefined) this.target.commit(length);
    else this.dropped++;
  }

  /** See {@link PacketSink.flush}. */
  flush(): void {
    this.target?.flush();
  }
}
