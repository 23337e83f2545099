/**
 * An interface without the operating system: the TCP/IP stack of net/tcp with TCP, UDP and pings, in
 * this thread. It needs no root.
 *
 * ```ts
 * const link = new UserspaceInterface({ address: "10.0.0.1", mtu: 1400 });
 * link.start(device.outbound);
 * link.dialTcp(to, 22, handler);
 * link.stack.listen({ port: 80, onSyn: (pending) => void pending.accept(handler) });
 * link.udp.bind({ handler: ... });
 * ```
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import type { TcpConnection, TcpHandler, TcpOptions } from "../tcp/connection.ts";
import { Inlet } from "../tcp/inlet.ts";
import type { Limits } from "../tcp/limits.ts";
import { type PingAnswer, Pinger, type PingFault, type PingOptions } from "../tcp/ping.ts";
import type { CongestionName } from "../tcp/congestion/control.ts";
import { Stack } from "../tcp/stack.ts";
import type { ConnectFault } from "../tcp/tcp.ts";
import { Udp } from "../tcp/udp.ts";
import { PROTOCOL } from "../wire/ipv4.ts";
import { interfaceAddress, type InterfaceOptions } from "./_options.ts";
import type { NetworkInterface } from "./network_interface.ts";

/** What it is made of. */
export interface UserspaceInterfaceOptions extends InterfaceOptions {
  /** The time, in ms, by the clock of `begin` and `tick`. @default {performance.now()} */
  readonly now?: number;
  /** Limits of the stack other than the default ones. */
  readonly limits?: Partial<Limits>;
  /** Whether packets to any address are for it, as on a gateway. @default {false} */
  readonly promiscuous?: boolean;
  /** Congestion control of connections that name none. @default {the stack's} */
  readonly congestion?: CongestionName;
}

/** Never has room: the stack keeps what is to be sent and tries again. */
const NOWHERE: PacketSink = {
  buffer: new Uint8Array(0),
  reserve: () => -1,
  commit(): void {},
  flush(): void {},
};

/** A stack with everything that is registered with it. */
export class UserspaceInterface implements NetworkInterface {
  /** See {@link NetworkInterface.name}. */
  readonly name = "userspace";
  /** See {@link NetworkInterface.address}. */
  readonly address: number;
  /** See {@link NetworkInterface.mtu}. */
  readonly mtu: number;
  /** See {@link NetworkInterface.inbound}. */
  readonly inbound: Inlet;
  /** See {@link NetworkInterface.source}: its packets leave by themselves. */
  readonly source = undefined;
  /** The stack: to listen by, and for its counters. */
  readonly stack: Stack;
  /** Its UDP. */
  readonly udp: Udp;
  readonly #pinger: Pinger;
  #now: number;
  #stopped = false;

  /**
   * A stack without connections.
   *
   * @throws {OmertaError} `bad-address`, `bad-mtu`.
   */
  constructor(options: UserspaceInterfaceOptions) {
    const address = this.address = interfaceAddress(options);
    const { mtu, limits = {}, promiscuous = false, congestion, now = performance.now() } = options;
    const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
    this.mtu = mtu;
    this.#now = now;
    const control = congestion === undefined ? {} : { congestion };
    const settings = { random, now, limits, promiscuous, ...control };
    this.stack = new Stack({ address, mtu, out: NOWHERE, ...settings });
    const parts = { stack: this.stack, address, mtu, random };
    const { firstPort } = limits;
    this.udp = new Udp({ ...parts, ...(firstPort === undefined ? {} : { firstPort }) });
    this.#pinger = new Pinger(parts);
    this.stack.register(PROTOCOL.udp, this.udp);
    this.stack.register(PROTOCOL.icmp, this.#pinger);
    this.inbound = new Inlet(this.stack);
    this.inbound.now = now;
  }

  /** See {@link NetworkInterface.start}. */
  start(outbound: PacketSink): void {
    this.stack.redirect(outbound);
  }

  /** See {@link NetworkInterface.begin}. */
  begin(now: number): void {
    this.#now = now;
    this.inbound.now = now;
  }

  /** See {@link NetworkInterface.drain}: nothing waits for it. */
  drain(): boolean {
    return true;
  }

  /**
   * Whether a packet belongs to a connection, listener, socket or ping of its own; see
   * {@link Stack.owns}.
   */
  owns(buffer: Uint8Array, at: number, length: number): boolean {
    return this.stack.owns(buffer, at, length);
  }

  /** Takes one packet from anybody's memory, as {@link inbound} does from its own. */
  input(buffer: Uint8Array, at: number, length: number): void {
    this.stack.input(buffer, at, length, this.#now);
  }

  /** See {@link NetworkInterface.dialTcp}. */
  dialTcp(
    to: number,
    port: number,
    handler: TcpHandler,
    options: TcpOptions = {},
  ): TcpConnection | ConnectFault | undefined {
    if (this.#stopped) return undefined;
    return this.stack.connect({ to, port, handler, options, now: this.#now });
  }

  /**
   * Sends one echo request, whose time counts from the last {@link begin}; `done` is called once, by
   * {@link tick} or the end of a batch.
   *
   * @param to Their address, unsigned 32 bits.
   * @returns Why not; undefined: it was sent.
   */
  ping(
    to: number,
    options: PingOptions,
    done: (answer: PingAnswer) => void,
  ): PingFault | undefined {
    return this.#stopped ? "no-room" : this.#pinger.send(to, options, this.#now, done);
  }

  /** See {@link NetworkInterface.tick}. */
  tick(now: number): number {
    if (this.#stopped) return Infinity;
    this.begin(now);
    this.stack.flush(now);
    return this.stack.tick(now);
  }

  /**
   * See {@link NetworkInterface.stop}: pings that wait end as after their time. Of what handlers throw
   * the first error comes out, when all of them have been told.
   */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    const errors: unknown[] = [];
    try {
      this.stack.abort();
      insist(() => this.stack.flush(this.#now), errors);
      insist(() => this.#pinger.tick(Infinity), errors);
    } finally {
      this.stack.redirect(NOWHERE);
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.stop();
  }
}

/** Tells owners until all are told: an error that one throws leaves the others for the next call. */
function insist(tell: () => void, errors: unknown[]): void {
  for (;;) {
    try {
      tell();
      return;
    } catch (error) {
      errors.push(error);
    }
  }
}
