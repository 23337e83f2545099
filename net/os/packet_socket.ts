/**
 * What every source of packets looks like from above: a UDP socket, a guest's cable, a TUN device.
 *
 * Receiving is pulled: the owner of the loop calls `drain` with a bound, so that no direction starves
 * another, and packets go to a handler that lives as long as the loop. Sending goes through a sink
 * (sink.ts). Nothing here throws on the packet path; faults are counted.
 *
 * @module
 */

import type { DatagramSink, PacketSink } from "./sink.ts";

/** Takes datagrams with the address they came from. */
export interface DatagramHandler {
  /**
   * Takes one datagram: `length` bytes at `buffer[at]`, sent by the `struct sockaddr_in6` at
   * `names[nameAt]`. Both arrays are the socket's own and are reused: what is kept must be copied.
   * The handler may write to the datagram's bytes.
   */
  receive(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void;
}

/** Takes packets or frames that carry no address of their own. */
export interface PacketHandler {
  /** Takes one packet: `length` bytes at `buffer[at]`. The array is reused and may be written to. */
  receive(buffer: Uint8Array, at: number, length: number): void;
}

/** Something a {@link Reactor} can wait for. */
export interface Watchable {
  /** Descriptor for `poll`, or -1 where there is none: then {@link onReadable} is called. */
  readonly fd: number;
  /** Called when something arrives, by sources without a descriptor. Set by the reactor. */
  onReadable: (() => void) | undefined;
  /** Packets that have arrived and wait to be drained, in sources without a descriptor. */
  readonly waiting: number;
}

/** What went through a socket and what did not. Numbers only grow. */
export class SocketCounters {
  /** Packets received. */
  received = 0;
  /** Bytes received. */
  receivedBytes = 0;
  /** Packets the kernel took. */
  sent = 0;
  /** Bytes the kernel took. */
  sentBytes = 0;
  /** Received packets longer than their slot, dropped. */
  truncated = 0;
  /** Packets dropped because the queue of the kernel or of the other side stayed full. */
  full = 0;
  /** Packets dropped because nobody is at the other end (yet). */
  noPeer = 0;
  /** Packets dropped for any other reason: no route, too long for the path. */
  refused = 0;
  /** `recvmmsg`, `read` or `receive` calls that brought something. */
  receiveCalls = 0;
  /** `sendmmsg`, `write` or `send` calls. */
  sendCalls = 0;
}

/** A UDP socket for IPv4 and IPv6. */
export interface UdpSocket extends Watchable, Disposable {
  /** Local port. */
  readonly port: number;
  /** The way out. */
  readonly out: DatagramSink;
  /** What went through. */
  readonly counters: Readonly<SocketCounters>;
  /**
   * Whether the kernel had no room at the last flush. What was committed is kept and goes with the
   * next one; until then there is room for a few datagrams more, and then for none.
   */
  readonly blocked: boolean;
  /**
   * Hands what has arrived to `handler`, and returns how many datagrams that were. Stops once
   * `limit` is reached; a coalesced burst of at most 64 datagrams is never cut, so it may be passed.
   */
  drain(handler: DatagramHandler, limit: number): number;
}

/** A device or socket that carries packets without addresses. */
export interface PacketSocket extends Watchable, Disposable {
  /** The way out. */
  readonly out: PacketSink;
  /** What went through. */
  readonly counters: Readonly<SocketCounters>;
  /** Hands what has arrived to `handler` and returns how many packets that were, about `limit`. */
  drain(handler: PacketHandler, limit: number): number;
}
