/**
 * An interface of the operating system: its programs use its sockets, its kernel's TCP/IP stack makes
 * the packets. Making one needs root.
 *
 * @module
 */

import { parseInterfaceAddress } from "../os/interface_config.ts";
import type { SocketCounters, Watchable } from "../os/packet_socket.ts";
import type { PacketSink } from "../os/sink.ts";
import { openTun } from "../os/tun.ts";
import type { TunDevice, TunOptions } from "../os/tun_device.ts";
import { checkMtu } from "./_options.ts";
import type { NetworkInterface } from "./network_interface.ts";

/** Reads in one turn, each of which may be up to 64 KiB of one TCP flow. */
export const TUN_READS = 8;

/** What it is made of. */
export interface TunInterfaceOptions {
  /** Name of the interface, e.g. `omerta0`; at most 15 characters. */
  readonly name: string;
  /** Its IPv4 address with prefix length, e.g. `10.0.0.1/16`. */
  readonly address: string;
  /** Largest packet, in bytes. */
  readonly mtu: number;
}

/** A TUN device. */
export class TunInterface implements NetworkInterface {
  /** See {@link NetworkInterface.name}. */
  readonly name: string;
  /** See {@link NetworkInterface.address}. */
  readonly address: number;
  /** See {@link NetworkInterface.mtu}. */
  readonly mtu: number;
  /** See {@link NetworkInterface.inbound}. */
  readonly inbound: PacketSink;
  /** See {@link NetworkInterface.source}. */
  readonly source: Watchable;
  readonly #device: TunDevice;
  #outbound: PacketSink | undefined;
  #stopped = false;

  /**
   * Makes the device and brings it up.
   *
   * @param open Makes it.
   * @throws {OmertaError} `bad-address`, `bad-mtu`, `interface-in-use`, `tun-needs-root`,
   * `tun-missing`, `interface-failed`, `ffi-unavailable`.
   */
  constructor(options: TunInterfaceOptions, open: (options: TunOptions) => TunDevice = openTun) {
    const { address, mtu } = options;
    this.address = parseInterfaceAddress(address).address;
    checkMtu(mtu);
    this.mtu = mtu;
    this.#device = open(options);
    this.name = this.#device.name;
    this.inbound = this.#device.out;
    this.source = this.#device;
  }

  /** What went through; packets as the kernel took or gave them, so up to 64 KiB each. */
  get counters(): Readonly<SocketCounters> {
    return this.#device.counters;
  }

  /** See {@link NetworkInterface.start}. */
  start(outbound: PacketSink): void {
    this.#outbound = outbound;
  }

  /** See {@link NetworkInterface.begin}: the kernel has its own clock. */
  begin(_now: number): void {}

  /** See {@link NetworkInterface.drain}: false when somebody has removed the interface. */
  drain(): boolean {
    if (this.#outbound === undefined) return true;
    return this.#device.drainInto(this.#outbound, TUN_READS) >= 0;
  }

  /** See {@link NetworkInterface.dialTcp}: programs use the sockets of the operating system. */
  dialTcp(): undefined {
    return undefined;
  }

  /** See {@link NetworkInterface.tick}: the kernel has its own timers. */
  tick(_now: number): number {
    return Infinity;
  }

  /** See {@link NetworkInterface.stop}: the interface goes. Nothing may be written after it. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#outbound = undefined;
    this.#device[Symbol.dispose]();
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.stop();
  }
}
