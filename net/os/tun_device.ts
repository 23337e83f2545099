/**
 * What a TUN device looks like from above, on every platform that has one.
 *
 * @module
 */

import type { SocketCounters, Watchable } from "./packet_socket.ts";
import type { PacketSink } from "./sink.ts";

/** Settings of a TUN device. */
export interface TunOptions {
  /** Name of the interface, e.g. `omerta0`; at most 15 characters. */
  readonly name: string;
  /** Its IPv4 address with prefix length, e.g. `10.0.0.1/16`; none leaves it without. */
  readonly address?: string;
  /** Largest packet, in bytes. @default {1400} */
  readonly mtu?: number;
}

/** A TUN device; the interface goes when it is disposed, or when the process ends in any way. */
export interface TunDevice extends Watchable, Disposable {
  /** Name of the interface. */
  readonly name: string;
  /** Packets for this computer. */
  readonly out: PacketSink;
  /** What went through; packets as the kernel took or gave them, so up to 64 KiB each. */
  readonly counters: Readonly<SocketCounters>;
  /**
   * Writes packets from this computer to `sink`, without flushing it: at most `limit` reads, each of
   * which may be up to 64 KiB of one TCP flow. Returns how many packets that were, or -1 when
   * somebody has removed the interface: it will never be readable again.
   */
  drainInto(sink: PacketSink, limit: number): number;
}
