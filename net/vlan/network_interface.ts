/**
 * One host's end of a private network, as whoever carries its packets sees it: the packet thread, a
 * router, a program's own loop.
 *
 * ```
 *  programs of this host                                      the others
 *   sockets, streams ---> interface ---> sink of start() ---> tunnel, router, other interface
 *                         interface <--- inbound         <---
 * ```
 *
 * | interface              | programs use                          | its packets leave in      |
 * | ---------------------- | ------------------------------------- | ------------------------- |
 * | userspace_interface.ts | `dialTcp`, its stack, UDP and pings   | `inbound.flush`, `tick`   |
 * | tun_interface.ts       | the sockets of the operating system   | `drain`                   |
 * | memory_interface.ts    | `send` and `receive` of whole packets | `drain`                   |
 * | joined_interface.ts    | those of the one or the two inside    | as theirs                 |
 *
 * Whoever carries the packets calls all of it in one thread, and needs not know which kind it is:
 *
 * ```ts
 * link.start(out);                                 // where packets of this host go
 * if (link.source) reactor.add(link.source, () => {
 *   link.drain();                                  // a bounded turn; false: it is gone for good
 *   out.flush();
 * });
 * for (;;) {
 *   const now = performance.now();
 *   const due = link.tick(now);                    // sends, looks at timers
 *   ...wait, until `due` at the latest; then for packets that have come for this host:
 *   link.begin(performance.now());
 *   ...reserve, write, commit in link.inbound for each...
 *   link.inbound.flush();
 * }
 * link.stop();
 * ```
 *
 * A program without such a loop has an `InterfaceRunner` (interface_runner.ts) do this.
 *
 * Packets are IPv4 packets. No promise, string or closure is made for one, and nothing on their way
 * throws: what cannot be taken is dropped and counted.
 *
 * @module
 */

import type { Watchable } from "../os/packet_socket.ts";
import type { PacketSink } from "../os/sink.ts";
import type { TcpConnection, TcpHandler, TcpOptions } from "../tcp/connection.ts";
import type { ConnectFault } from "../tcp/tcp.ts";

/** One host's end of a private network. */
export interface NetworkInterface extends Disposable {
  /** What to call it: that of the operating system's interface, `userspace`, `memory`. */
  readonly name: string;
  /** Its IPv4 address, unsigned 32 bits. */
  readonly address: number;
  /** Largest packet, in bytes. */
  readonly mtu: number;
  /** Takes packets for this host; a batch is {@link begin}, any number of packets, and a flush. */
  readonly inbound: PacketSink;
  /** What to wait for: when it is readable, {@link drain} has something. Undefined: nothing. */
  readonly source: Watchable | undefined;
  /**
   * Begins: from now on packets of this host go to `outbound`, and whoever called this flushes that
   * after {@link drain}. Called once. Before it, packets of this host wait or are dropped.
   */
  start(outbound: PacketSink): void;
  /** Says what time it is, in ms, by a clock that never goes back: a batch begins, or a call of ours. */
  begin(now: number): void;
  /**
   * Moves what programs have sent to the sink of {@link start}, a bounded turn, without flushing it.
   *
   * @returns False when it is gone, and never again will there be anything.
   */
  drain(): boolean;
  /**
   * Opens a TCP connection, whose time counts from the last {@link begin}; its SYN goes out with the
   * next {@link tick}, or flush of {@link inbound}. `handler` is never told anything from within this
   * call.
   *
   * @param to Their address, unsigned 32 bits.
   * @param port Their port.
   * @returns The connection, or why there is none; undefined where programs use the sockets of the
   * operating system instead, where they have none, and after {@link stop}.
   */
  dialTcp(
    to: number,
    port: number,
    handler: TcpHandler,
    options?: TcpOptions,
  ): TcpConnection | ConnectFault | undefined;
  /**
   * Begins a batch, sends what is to be sent, and looks at the timers. To be called after calls of
   * connections and sockets, too.
   *
   * @returns When to call again, in ms of the same clock; Infinity: not until something happens.
   */
  tick(now: number): number;
  /** Ends it: connections are reset and their owners told, devices closed. Idempotent. */
  stop(): void;
}
