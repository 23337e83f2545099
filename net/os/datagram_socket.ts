/**
 * Sockets of IPv4 datagrams for whoever has thousands of them: each is small, because all receive into
 * the same memory. UDP, and echo requests where the system lets everybody send those.
 *
 * ```
 * using streams = openStreams();
 * const datagrams = openDatagrams();
 * const socket = datagrams.openUdp();                       // undefined: no more descriptors
 * using watched = streams.add(socket, () => socket.drain(taker, 64));
 * const fault = socket.send(address, port, bytes, 0, bytes.length);
 * ```
 *
 * A datagram that is too long for its path leaves in fragments. What the broadcast address of a network
 * is, only the system knows: on Linux it refuses to send there.
 *
 * @module
 */

import type { Watchable } from "./packet_socket.ts";

/** Why a datagram was not sent: the socket's queue is full, or no way leads there, or may be taken. */
export type DatagramFault = "full" | "unreachable";

/** Takes what a {@link DatagramSocket} has received. */
export interface DatagramTaker {
  /**
   * A datagram: `length` bytes of `buffer` at `at`, valid during the call, from an address, unsigned
   * 32 bits, and its port. It must not drain another socket.
   */
  take(buffer: Uint8Array, at: number, length: number, address: number, port: number): void;
}

/** One socket. */
export interface DatagramSocket extends Watchable, Disposable {
  /** Its port, of UDP; its identifier, of echo requests. */
  readonly port: number;
  /**
   * Sends `length` bytes of `bytes` at `at` as one datagram; of echo requests the whole message, whose
   * identifier and checksum the system writes, and `port` is 0. Never throws, never waits.
   *
   * @param address Unsigned 32 bits.
   * @returns Why not; undefined: the system has taken it.
   */
  send(
    address: number,
    port: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): DatagramFault | undefined;
  /** Hands at most `limit` datagrams that have arrived to `taker`, and returns how many that were. */
  drain(taker: DatagramTaker, limit: number): number;
  /** Closes it. A second time does nothing. */
  [Symbol.dispose](): void;
}

/** Opens sockets that share memory. */
export interface Datagrams {
  /** A UDP socket with a port that the system chooses; undefined when there is none, or no descriptor. */
  openUdp(): DatagramSocket | undefined;
  /**
   * A socket for echo requests, which receives the answers to its own only (icmp(7)); undefined where
   * that is not allowed, or unknown to the system.
   */
  openPing(): DatagramSocket | undefined;
}
