/**
 * Datagrams without FFI: a socket of udp_portable.ts each, with its promise and its string for every
 * datagram. There are no echo requests, and the runtime does not refuse a network's broadcast address.
 *
 * @module
 */

import { readU16, readU32 } from "../wire/bytes.ts";
import { ipv4ToString } from "../wire/ip_address.ts";
import type { DatagramFault, Datagrams, DatagramSocket, DatagramTaker } from "./datagram_socket.ts";
import { Endpoint } from "./endpoint.ts";
import type { DatagramHandler, UdpSocket } from "./packet_socket.ts";
import { openUdpPortable } from "./udp_portable.ts";

/** Where a `struct sockaddr_in6` has its port and, of a mapped address, the IPv4 one. */
const PORT = 2;
const ADDRESS = 20;

/** Datagrams by promises. */
export function openDatagramsPortable(): Datagrams {
  return {
    openUdp(): DatagramSocket | undefined {
      try {
        return new PortableDatagramSocket(openUdpPortable({ port: 0 }));
      } catch {
        return undefined;
      }
    },
    openPing: () => undefined,
  };
}

class PortableDatagramSocket implements DatagramSocket, DatagramHandler {
  readonly fd = -1;
  readonly port: number;
  readonly #socket: UdpSocket;
  #taker: DatagramTaker | undefined;

  constructor(socket: UdpSocket) {
    this.#socket = socket;
    this.port = socket.port;
  }

  get waiting(): number {
    return this.#socket.waiting;
  }

  get onReadable(): (() => void) | undefined {
    return this.#socket.onReadable;
  }

  set onReadable(hook: (() => void) | undefined) {
    this.#socket.onReadable = hook;
  }

  send(
    address: number,
    port: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): DatagramFault | undefined {
    const { out, counters } = this.#socket;
    const to = Endpoint.of(ipv4ToString(address), port);
    const room = out.reserve(length);
    if (to === undefined || room < 0) return "unreachable";
    const { full } = counters;
    out.buffer.set(bytes.subarray(at, at + length), room);
    out.commit(length, to);
    return counters.full > full ? "full" : undefined;
  }

  drain(taker: DatagramTaker, limit: number): number {
    this.#taker = taker;
    return this.#socket.drain(this, limit);
  }

  /** See {@link DatagramHandler.receive}. */
  receive(buffer: Uint8Array, at: number, length: number, names: Uint8Array, name: number): void {
    const address = readU32(names, name + ADDRESS);
    this.#taker?.take(buffer, at, length, address, readU16(names, name + PORT));
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
