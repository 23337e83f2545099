/**
 * Up to two interfaces as one, with the same address: that of the operating system, and the stack of
 * this process beside it. Each may come at any time.
 *
 * ```
 *   inbound ---> TunInterface, when there is one; of what comes to it,
 *           \--> UserspaceInterface takes what belongs to its own connections, sockets and pings
 * ```
 *
 * The stack's own ports begin at {@link FIRST_PORT}, where the kernel of Linux chooses none, so that
 * the two do not mix. Fragments, echo requests, and everything that belongs to nobody are the
 * kernel's. Without an interface of the operating system all of it is the stack's; without both,
 * packets are dropped and counted.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { Watchable } from "../os/packet_socket.ts";
import type { PacketSink } from "../os/sink.ts";
import type { TcpConnection, TcpHandler, TcpOptions } from "../tcp/connection.ts";
import type { ConnectFault } from "../tcp/tcp.ts";
import type { NetworkInterface } from "./network_interface.ts";
import { UserspaceInterface } from "./userspace_interface.ts";

/** Lowest port of a stack beside the kernel's: Linux chooses from 32768 to 60999. */
export const FIRST_PORT = 61000;
const MAX_PACKET = 65536;

/** Where packets go while there is no interface. */
class Nobody implements PacketSink {
  readonly buffer = new Uint8Array(MAX_PACKET);
  dropped = 0;

  /** There is room to decrypt into, because a packet that authenticates keeps its session going. */
  reserve(size: number): number {
    return size > MAX_PACKET ? -1 : 0;
  }

  commit(): void {
    this.dropped++;
  }

  flush(): void {}
}

/** One, two or no interfaces; it is the sink of its own packets. */
export class JoinedInterface implements NetworkInterface, PacketSink {
  /** See {@link NetworkInterface.inbound}. */
  readonly inbound: PacketSink = this;
  readonly #nobody = new Nobody();
  #system: NetworkInterface | undefined;
  #userspace: UserspaceInterface | undefined;
  /** The stack, when it has to be asked about each packet. */
  #beside: UserspaceInterface | undefined;
  #target: PacketSink = this.#nobody;
  #outbound: PacketSink | undefined;
  #at = 0;

  /** See {@link NetworkInterface.name}. */
  get name(): string {
    return this.#first?.name ?? "none";
  }

  /** See {@link NetworkInterface.address}; 0 while there is no interface. */
  get address(): number {
    return this.#first?.address ?? 0;
  }

  /** See {@link NetworkInterface.mtu}; 0 while there is no interface. */
  get mtu(): number {
    return this.#first?.mtu ?? 0;
  }

  /** See {@link NetworkInterface.source}: of those that are there now. */
  get source(): Watchable | undefined {
    return this.#system?.source;
  }

  /** Packets dropped because there was no interface. */
  get dropped(): number {
    return this.#nobody.dropped;
  }

  get #first(): NetworkInterface | undefined {
    return this.#system ?? this.#userspace;
  }

  /**
   * Adds one, which is stopped with this one: a userspace one, or any other beside that. It is started
   * when this one was.
   *
   * @throws {OmertaError} `interface-open` when there is one of its kind.
   */
  attach(link: NetworkInterface): void {
    const isUserspace = link instanceof UserspaceInterface;
    const there = isUserspace ? this.#userspace : this.#system;
    if (there !== undefined) {
      throw new OmertaError(
        "interface-open",
        `Cannot open interface ${link.name}: ${there.name} is open already`,
      );
    }
    if (isUserspace) this.#userspace = link;
    else this.#system = link;
    this.#beside = this.#system && this.#userspace;
    this.#target = this.#first?.inbound ?? this.#nobody;
    if (this.#outbound !== undefined) link.start(this.#outbound);
  }

  /** See {@link NetworkInterface.start}. */
  start(outbound: PacketSink): void {
    this.#outbound = outbound;
    this.#system?.start(outbound);
    this.#userspace?.start(outbound);
  }

  /** See {@link NetworkInterface.begin}. */
  begin(now: number): void {
    this.#system?.begin(now);
    this.#userspace?.begin(now);
  }

  /** See {@link PacketSink.buffer}. */
  get buffer(): Uint8Array {
    return this.#target.buffer;
  }

  /** See {@link PacketSink.reserve}. */
  reserve(size: number): number {
    return this.#at = this.#target.reserve(size);
  }

  /** See {@link PacketSink.commit}. */
  commit(length: number): void {
    const beside = this.#beside;
    const target = this.#target;
    if (beside !== undefined && beside.owns(target.buffer, this.#at, length)) {
      beside.input(target.buffer, this.#at, length);
    } else target.commit(length);
  }

  /** See {@link PacketSink.flush}. */
  flush(): void {
    this.#target.flush();
    this.#beside?.inbound.flush();
  }

  /** See {@link NetworkInterface.drain}. */
  drain(): boolean {
    return this.#system?.drain() ?? true;
  }

  /** See {@link NetworkInterface.dialTcp}. */
  dialTcp(
    to: number,
    port: number,
    handler: TcpHandler,
    options?: TcpOptions,
  ): TcpConnection | ConnectFault | undefined {
    return this.#userspace?.dialTcp(to, port, handler, options);
  }

  /** See {@link NetworkInterface.tick}. */
  tick(now: number): number {
    const due = this.#system?.tick(now) ?? Infinity;
    return Math.min(due, this.#userspace?.tick(now) ?? Infinity);
  }

  /** See {@link NetworkInterface.stop}: what comes after it is dropped. */
  stop(): void {
    // From the last: what the stack has to say still goes out.
    using both = new DisposableStack();
    both.use(this.#system);
    both.use(this.#userspace);
    this.#userspace = this.#system = this.#beside = undefined;
    this.#target = this.#nobody;
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.stop();
  }
}
