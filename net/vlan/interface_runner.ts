/**
 * Runs an interface on the event loop of its program: timers, batches, and where its packets go, for
 * programs without a packet loop of their own.
 *
 * ```ts
 * const link = new UserspaceInterface({ address: "10.0.0.1", mtu: 1400 });
 * using runner = new InterfaceRunner(link, (packet) => transport.send(packet));
 * transport.onPacket = (packet) => runner.write(packet);
 * const { readable, writable } = runner.connect("10.0.0.2", 80);
 * ```
 *
 * All that happens at once is one turn: it is done soon after, by itself, and once for any number of
 * packets and calls. Packets that the program does not take in time wait: 1024 of them, and then the
 * stack keeps what follows.
 *
 * An interface of the operating system is read through a descriptor, which the event loop does not
 * watch: its loop is that of network_interface.ts, with a reactor.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { TcpOptions } from "../tcp/connection.ts";
import type { PingAnswer, PingOptions } from "../tcp/ping.ts";
import { TcpStreams } from "../tcp/streams.ts";
import { addressOf } from "./_options.ts";
import type { NetworkInterface } from "./network_interface.ts";
import { PacketQueue } from "./packet_queue.ts";
import { UserspaceInterface } from "./userspace_interface.ts";

/** Longest time that a timer of the runtime takes (ms). */
const MOST_MS = 2 ** 31 - 1;

/** Runs an interface. */
export class InterfaceRunner implements Disposable {
  readonly #link: NetworkInterface;
  readonly #carry: (packet: Uint8Array) => void;
  readonly #out = new PacketQueue();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #soon: ReturnType<typeof setImmediate> | undefined;
  #stopped = false;

  /**
   * Starts the interface, which is stopped with this.
   *
   * @param carry Takes each packet of this host; it may keep it.
   * @throws {OmertaError} `interface-needs-reactor` for one that is read through a descriptor.
   */
  constructor(link: NetworkInterface, carry: (packet: Uint8Array) => void) {
    const { source } = link;
    if (source !== undefined && source.fd >= 0) {
      throw new OmertaError(
        "interface-needs-reactor",
        `Cannot run interface ${link.name} on the event loop: it is read through a descriptor`,
        { next: "Wait for its source with a reactor" },
      );
    }
    this.#link = link;
    this.#carry = carry;
    link.start(this.#out);
    if (source !== undefined) source.onReadable = (): void => this.wake();
    this.wake();
  }

  /** Takes one packet for this host. @returns False when there is no room for it. */
  write(packet: Uint8Array): boolean {
    if (this.#stopped) return false;
    const { inbound } = this.#link;
    this.#link.begin(performance.now());
    const at = inbound.reserve(packet.length);
    if (at < 0) return false;
    inbound.buffer.set(packet, at);
    inbound.commit(packet.length);
    this.wake();
    return true;
  }

  /**
   * Says that something was called: a connection, a listener, a socket. What it caused is sent soon.
   * `TcpStreams` of connections that were accepted are to be given this.
   */
  wake(): void {
    if (!this.#stopped) this.#soon ??= setImmediate(() => this.#turn());
  }

  /**
   * Opens a TCP connection as web streams; `opened` says how that went.
   *
   * @param to Their IPv4 address.
   * @throws {OmertaError} `bad-address`; `dial-failed` when the interface has no sockets of its own, or
   * no more of them.
   */
  connect(to: string, port: number, options: TcpOptions = {}): TcpStreams {
    const address = addressOf(to);
    this.#link.begin(performance.now());
    const streams = new TcpStreams(() => this.wake());
    const made = this.#link.dialTcp(address, port, streams, options);
    if (made === undefined || typeof made === "string") {
      throw new OmertaError(
        "dial-failed",
        `Cannot connect to ${to}: ${made ?? `interface ${this.#link.name} has no sockets`}`,
      );
    }
    streams.attach(made);
    this.wake();
    return streams;
  }

  /**
   * Asks for an echo.
   *
   * @param to Their IPv4 address.
   * @returns What became of it; `timeout` when the interface is stopped before.
   * @throws {OmertaError} `bad-address`; `ping-failed` when the interface sends no pings of its own, or
   * not this one.
   */
  async ping(to: string, options: PingOptions): Promise<PingAnswer> {
    const address = addressOf(to);
    const link = this.#link;
    link.begin(performance.now());
    const { promise, resolve } = Promise.withResolvers<PingAnswer>();
    const fault = link instanceof UserspaceInterface
      ? link.ping(address, options, resolve)
      : `interface ${link.name} sends no pings`;
    if (fault !== undefined) throw new OmertaError("ping-failed", `Cannot ping ${to}: ${fault}`);
    this.wake();
    return await promise;
  }

  #turn(): void {
    clearTimeout(this.#timer);
    if (this.#soon !== undefined) clearImmediate(this.#soon);
    this.#soon = undefined;
    if (this.#stopped) return;
    const now = performance.now();
    this.#link.begin(now);
    this.#link.drain();
    // Of what a handler throws the rest is left to do.
    let due = now;
    try {
      this.#link.inbound.flush();
      due = this.#link.tick(now);
    } finally {
      this.#sleep(due - now);
    }
    this.#send();
    if ((this.#link.source?.waiting ?? 0) > 0) this.wake();
  }

  #sleep(forMs: number): void {
    if (forMs === Infinity || this.#stopped) return;
    this.#timer = setTimeout(() => this.#turn(), Math.min(MOST_MS, Math.max(0, forMs)));
  }

  #send(): void {
    for (let packet = this.#out.take(); packet !== undefined; packet = this.#out.take()) {
      this.#carry(packet);
    }
  }

  /** Stops the interface: resets are still sent. */
  [Symbol.dispose](): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (this.#soon !== undefined) clearImmediate(this.#soon);
    try {
      this.#link.stop();
    } finally {
      this.#send();
    }
  }
}
