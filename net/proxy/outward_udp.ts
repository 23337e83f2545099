/**
 * The way out for UDP: what those inside send to any address leaves by sockets of this computer, and
 * the answers go back in, as a NAT of {@link https://www.rfc-editor.org/rfc/rfc4787 | RFC 4787} does it.
 *
 * ```
 * inside address and port ---> mapping: one socket here ---> anybody (REQ-1)
 *          <--- from addresses that it has sent to (REQ-8) <---
 * ```
 *
 * - A mapping lasts for {@link OutwardUdpOptions.idleMs} after the last datagram that leaves (REQ-5);
 *   what comes in does not prolong it (REQ-6), so nobody outside can keep one open.
 * - Who was never sent to, by that mapping, is not heard: dropped and counted. Ports do not matter. A
 *   mapping remembers {@link MAX_PEERS} addresses, those that were sent to last.
 * - Two mappings reach each other by this computer's addresses (REQ-9).
 *
 * Caps: {@link OutwardUdpOptions.mappings}, and {@link OutwardUdpOptions.perSource} of one address
 * inside. At either, and when this process may open no more descriptors, what would need a new mapping
 * is dropped and counted; mappings that are there go on, and make room when they have been idle.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { Datagrams, DatagramSocket, DatagramTaker } from "../os/datagram_socket.ts";
import type { Udp } from "../tcp/udp.ts";
import type { UdpListener, UdpListenHandler } from "../tcp/udp_socket.ts";
import type { Deadline, ProxyLoop } from "./proxy_loop.ts";

/** How long a mapping lasts, in ms: the least that RFC 4787 REQ-5 allows. */
const IDLE_MS = 120_000;
/** Mappings at a time. */
const MAPPINGS = 4096;
/** Mappings of one address inside. */
const PER_SOURCE = 256;
/** Addresses that may answer a mapping; the one that was sent to longest ago makes room. */
export const MAX_PEERS = 512;
/** Datagrams that come in by one mapping before others have their turn. */
const TURN_DATAGRAMS = 64;

/** Limits of UDP outward. */
export interface OutwardUdpOptions {
  /**
   * Whether `from` may send to port `port` of `to`; addresses are unsigned 32 bits. Who may not gets
   * ICMP "host unreachable". @default {everybody everywhere}
   */
  readonly allow?: (to: number, port: number, from: number) => boolean;
  /** How long a mapping lasts after the last datagram that left, in ms. @default {120000} */
  readonly idleMs?: number;
  /** Mappings at a time. @default {4096} */
  readonly mappings?: number;
  /** Mappings of one address inside. @default {256} */
  readonly perSource?: number;
}

/** What UDP has carried and what it has not. Numbers only grow. */
export class OutwardUdpCounters {
  /** Mappings that were begun. */
  mappings = 0;
  /** Out: datagrams that the system has taken. */
  datagramsOut = 0;
  /** Out: their bytes, without headers. */
  bytesOut = 0;
  /** In: datagrams. */
  datagramsIn = 0;
  /** In: their bytes, without headers. */
  bytesIn = 0;
  /** Out: to where the sender may not send. */
  refused = 0;
  /** Out: no mapping and no room for another, or no descriptor. */
  tooMany = 0;
  /** Out: no way leads there. */
  unreachable = 0;
  /** Dropped: the socket's queue was full, or the way to the inside. */
  full = 0;
  /** In: from an address that the mapping has not sent to. */
  strangers = 0;
}

/** Carries datagrams out, and answers in. Stopping it closes all of its sockets. */
export class OutwardUdp implements UdpListenHandler, Deadline, Disposable {
  /** What went through it. */
  readonly counters: OutwardUdpCounters = new OutwardUdpCounters();
  readonly #loop: ProxyLoop;
  readonly #datagrams: Datagrams;
  readonly #listener: UdpListener;
  readonly #allow: OutwardUdpOptions["allow"];
  readonly #idleMs: number;
  readonly #most: number;
  readonly #perSource: number;
  /** By inside address and port: see {@link keyOf}. */
  readonly #mappings = new Map<number, Mapping>();
  /** Mappings of each address inside that has any. */
  readonly #bySource = new Map<number, number>();

  /**
   * Begins to take datagrams to every address and port that nobody else has.
   *
   * @throws {OmertaError} `port-in-use` when somebody does already; `not-promiscuous`.
   */
  constructor(
    loop: ProxyLoop,
    udp: Pick<Udp, "listen">,
    datagrams: Datagrams,
    options: OutwardUdpOptions = {},
  ) {
    this.#loop = loop;
    this.#datagrams = datagrams;
    this.#allow = options.allow;
    this.#idleMs = options.idleMs ?? IDLE_MS;
    this.#most = options.mappings ?? MAPPINGS;
    this.#perSource = options.perSource ?? PER_SOURCE;
    const listener = udp.listen(this);
    if (typeof listener === "string") throw cannotListen(listener);
    this.#listener = listener;
    loop.addDeadline(this);
  }

  /** Mappings now. */
  get mappings(): number {
    return this.#mappings.size;
  }

  /** See {@link UdpListenHandler.onDatagram}: from the inside. */
  onDatagram(
    listener: UdpListener,
    buffer: Uint8Array,
    at: number,
    length: number,
    toAddress: number,
    toPort: number,
    fromAddress: number,
    fromPort: number,
  ): void {
    const { counters } = this;
    if (this.#allow?.(toAddress, toPort, fromAddress) === false) {
      counters.refused++;
      listener.refuse(toAddress, toPort, fromAddress, fromPort, length);
      return;
    }
    const key = keyOf(fromAddress, fromPort);
    const mapping = this.#mappings.get(key) ?? this.#begin(key, fromAddress, fromPort);
    if (mapping === undefined) {
      counters.tooMany++;
      return;
    }
    mapping.lastAt = this.#loop.now;
    mapping.meet(toAddress);
    switch (mapping.socket.send(toAddress, toPort, buffer, at, length)) {
      case undefined:
        counters.datagramsOut++;
        counters.bytesOut += length;
        break;
      case "full":
        counters.full++;
        break;
      case "unreachable":
        counters.unreachable++;
        listener.refuse(toAddress, toPort, fromAddress, fromPort, length);
    }
  }

  #begin(key: number, address: number, port: number): Mapping | undefined {
    const count = this.#bySource.get(address) ?? 0;
    if (this.#mappings.size >= this.#most || count >= this.#perSource) return undefined;
    const socket = this.#datagrams.openUdp();
    if (socket === undefined) return undefined;
    const mapping = new Mapping(socket, this.#listener, this.counters, address, port);
    const watch = this.#loop.streams.add(socket, () => void socket.drain(mapping, TURN_DATAGRAMS));
    if (watch === undefined) {
      socket[Symbol.dispose]();
      return undefined;
    }
    mapping.watch = watch;
    this.#mappings.set(key, mapping);
    this.#bySource.set(address, count + 1);
    this.counters.mappings++;
    return mapping;
  }

  /** See {@link Deadline.sweep}. */
  sweep(now: number): void {
    for (const [key, mapping] of this.#mappings) {
      if (now - mapping.lastAt >= this.#idleMs) this.#end(key, mapping);
    }
  }

  #end(key: number, mapping: Mapping): void {
    this.#mappings.delete(key);
    const left = (this.#bySource.get(mapping.address) ?? 1) - 1;
    if (left > 0) this.#bySource.set(mapping.address, left);
    else this.#bySource.delete(mapping.address);
    mapping[Symbol.dispose]();
  }

  /** Stops: takes no more datagrams, and closes every mapping. */
  [Symbol.dispose](): void {
    this.#listener.close();
    this.#loop.removeDeadline(this);
    for (const [key, mapping] of this.#mappings) this.#end(key, mapping);
  }
}

/** One number, below 2^48, for an address and a port. */
function keyOf(address: number, port: number): number {
  return address * 65536 + port;
}

function cannotListen(fault: "in-use" | "not-promiscuous"): OmertaError {
  return fault === "in-use"
    ? new OmertaError(
      "port-in-use",
      "Cannot lead datagrams out: somebody else takes every address and port",
    )
    : new OmertaError(
      "not-promiscuous",
      "Cannot lead datagrams out: the stack takes packets for its own address only",
    );
}

/** The socket of one address and port inside. */
class Mapping implements DatagramTaker, Disposable {
  readonly socket: DatagramSocket;
  readonly address: number;
  /** When something left last, in ms. */
  lastAt = 0;
  watch: Disposable | undefined;
  readonly #listener: UdpListener;
  readonly #counters: OutwardUdpCounters;
  readonly #port: number;
  /** Addresses that were sent to, the last one last. */
  readonly #peers = new Set<number>();
  #last = -1;

  constructor(
    socket: DatagramSocket,
    listener: UdpListener,
    counters: OutwardUdpCounters,
    address: number,
    port: number,
  ) {
    this.socket = socket;
    this.address = address;
    this.#listener = listener;
    this.#counters = counters;
    this.#port = port;
  }

  /** From now on this address may answer. */
  meet(address: number): void {
    if (address === this.#last) return;
    this.#last = address;
    if (!this.#peers.delete(address) && this.#peers.size >= MAX_PEERS) this.#forgetOldest();
    this.#peers.add(address);
  }

  #forgetOldest(): void {
    for (const oldest of this.#peers) {
      this.#peers.delete(oldest);
      return;
    }
  }

  /** See {@link DatagramTaker.take}: from outside. */
  take(buffer: Uint8Array, at: number, length: number, address: number, port: number): void {
    const counters = this.#counters;
    if (!this.#peers.has(address)) {
      counters.strangers++;
      return;
    }
    switch (
      this.#listener.sendFrom(address, port, this.address, this.#port, buffer, at, length)
    ) {
      case "sent":
        counters.datagramsIn++;
        counters.bytesIn += length;
        break;
      case "no-room":
        counters.full++;
    }
  }

  [Symbol.dispose](): void {
    this.watch?.[Symbol.dispose]();
    this.socket[Symbol.dispose]();
  }
}
