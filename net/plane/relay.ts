/**
 * A tunnel that is not the node's own, carried through the node's port without being opened:
 *
 * ```
 * client <----> the node's UDP socket <----> uplink
 * ```
 *
 * A client is a WireGuard of this computer (its kernel's, say) whose peer is a borrowed VM, or one in
 * a borrowed VM whose peer is a server of the borrower's. Either way the uplink sees the node's
 * address and port only, so that one NAT mapping and one entry in a lender's filter serve it too.
 *
 * What passes: WireGuard messages from the client's exact address and port, which go to the uplink;
 * and messages from the uplink's exact address and port that are meant for the client's key or answer
 * one of its handshakes (wireguard_switch.ts). Everything else is treated as if there were no relay.
 *
 * @module
 */

import type { Endpoint } from "../os/endpoint.ts";
import type { DatagramSink } from "../os/sink.ts";
import { copyBytes } from "../wire/bytes.ts";
import type { PlaneRelayStats } from "./stats.ts";
import { SwitchPort, type WireguardSwitch } from "./wireguard_switch.ts";

/** What belongs to an entry of the node's switch: takes messages from its uplink. */
export interface SwitchOwner {
  /** Whether it waits for {@link SwitchOwner.flush} at the end of the turn. */
  pending: boolean;
  /** Takes one datagram from its uplink: `length` bytes at `at`, from the name at `nameAt`. */
  fromUplink(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void;
  /** Hands what it took to the kernel. */
  flush(): void;
}

/** What a {@link Relay} is made of. */
export interface RelayOptions {
  /** Names it in commands and statistics. */
  readonly id: string;
  /** Where the client is. */
  readonly client: Endpoint;
  /** The client's WireGuard public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Where the client's peer is. */
  readonly uplink: Endpoint;
  /** The node's socket. */
  readonly out: DatagramSink;
  /** Learns the indices of its sessions. */
  readonly table: WireguardSwitch<SwitchOwner>;
}

/** One relay. */
export class Relay implements SwitchOwner, Disposable {
  /** Names it. */
  readonly id: string;
  /** See {@link SwitchOwner}. */
  pending = false;
  readonly #client: Endpoint;
  readonly #uplink: Endpoint;
  readonly #out: DatagramSink;
  readonly #table: WireguardSwitch<SwitchOwner>;
  readonly #port: SwitchPort<SwitchOwner>;
  #toUplink = 0;
  #toClient = 0;

  /** Puts the relay into the switch. */
  constructor({ id, client, publicKey, uplink, out, table }: RelayOptions) {
    this.id = id;
    this.#client = client;
    this.#uplink = uplink;
    this.#out = out;
    this.#table = table;
    this.#port = new SwitchPort<SwitchOwner>(this, publicKey, uplink);
    table.add(this.#port);
  }

  /** Whether the `sockaddr_in6` at `nameAt` is the client's. */
  isClient(names: Uint8Array, nameAt: number): boolean {
    return this.#client.equalsSockaddr(names, nameAt);
  }

  /** Takes a WireGuard message of the client's: `length` bytes at `at`. */
  fromClient(buffer: Uint8Array, at: number, length: number): void {
    this.#table.learn(this.#port, buffer, at, length);
    if (this.#copy(buffer, at, length, this.#uplink)) this.#toUplink += length;
  }

  /** Takes a message for the client; see {@link SwitchOwner.fromUplink}. */
  fromUplink(buffer: Uint8Array, at: number, length: number): void {
    if (this.#copy(buffer, at, length, this.#client)) this.#toClient += length;
  }

  /** Nothing: it writes to the node's socket, which is flushed at the end of each turn. */
  flush(): void {}

  #copy(buffer: Uint8Array, at: number, length: number, to: Endpoint): boolean {
    const place = this.#out.reserve(length);
    if (place < 0) return false; // full: lost, as datagrams may be
    copyBytes(buffer, at, this.#out.buffer, place, length);
    this.#out.commit(length, to);
    return true;
  }

  /** What was counted. */
  stats(): PlaneRelayStats {
    return {
      id: this.id,
      client: String(this.#client),
      uplink: String(this.#uplink),
      bytesToUplink: this.#toUplink,
      bytesToClient: this.#toClient,
    };
  }

  /** Takes the relay out of the switch. */
  [Symbol.dispose](): void {
    this.#table.remove(this.#port);
  }
}
