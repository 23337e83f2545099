/**
 * An interface whose programs send and receive whole packets, from queues in memory: for tests, and
 * for programs that make or read packets themselves.
 *
 * ```ts
 * const memory = new MemoryInterface({ address: "10.0.0.1", mtu: 1400 });
 * memory.send(packet);        // goes to the sink of start() with the next drain()
 * memory.receive();           // what was written to `inbound`, oldest first
 * ```
 *
 * A queue that is full drops what comes; see packet_queue.ts.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import { interfaceAddress, type InterfaceOptions } from "./_options.ts";
import type { NetworkInterface } from "./network_interface.ts";
import { PacketQueue, type PacketQueueOptions } from "./packet_queue.ts";

/** Packets in one turn. */
const TURN = 256;

/** What it is made of. */
export interface MemoryInterfaceOptions extends InterfaceOptions, PacketQueueOptions {}

/** Queues in memory. */
export class MemoryInterface implements NetworkInterface {
  /** See {@link NetworkInterface.name}. */
  readonly name = "memory";
  /** See {@link NetworkInterface.address}. */
  readonly address: number;
  /** See {@link NetworkInterface.mtu}. */
  readonly mtu: number;
  /** See {@link NetworkInterface.inbound}: what {@link receive} gives. Its `onReadable` is free. */
  readonly inbound: PacketQueue;
  /** See {@link NetworkInterface.source}: what was sent; a sink, for whoever sends in batches. */
  readonly source: PacketQueue;
  #outbound: PacketSink | undefined;
  #stopped = false;

  /**
   * Empty queues.
   *
   * @throws {OmertaError} `bad-address`, `bad-mtu`.
   */
  constructor(options: MemoryInterfaceOptions) {
    this.address = interfaceAddress(options);
    this.mtu = options.mtu;
    this.inbound = new PacketQueue(options);
    this.source = new PacketQueue(options);
  }

  /** Sends one packet. @returns False when it is longer than the MTU, or the queue is full. */
  send(packet: Uint8Array): boolean {
    return !this.#stopped && packet.length <= this.mtu && this.source.put(packet);
  }

  /** The oldest packet that has come; undefined when there is none. */
  receive(): Uint8Array | undefined {
    return this.inbound.take();
  }

  /** See {@link NetworkInterface.start}. */
  start(outbound: PacketSink): void {
    this.#outbound = outbound;
  }

  /** See {@link NetworkInterface.begin}: it has no clock. */
  begin(_now: number): void {}

  /** See {@link NetworkInterface.drain}. */
  drain(): boolean {
    if (this.#outbound !== undefined) this.source.drainInto(this.#outbound, TURN);
    return true;
  }

  /** See {@link NetworkInterface.dialTcp}: it has no sockets. */
  dialTcp(): undefined {
    return undefined;
  }

  /** See {@link NetworkInterface.tick}: it has no timers. */
  tick(_now: number): number {
    return Infinity;
  }

  /** See {@link NetworkInterface.stop}: what was not drained is not sent; `receive` goes on. */
  stop(): void {
    this.#stopped = true;
    this.#outbound = undefined;
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.stop();
  }
}
