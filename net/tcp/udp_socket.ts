/**
 * What owners of UDP hold, a bound port or everything else, and what they are told.
 *
 * @module
 */

import type { IcmpError } from "./protocol.ts";

/** What the owner of a socket is told; from `flush`, so it may do anything. */
export interface UdpHandler {
  /** A datagram: `length` bytes of `buffer` at `at`, valid during the call. */
  onDatagram(
    socket: UdpPort,
    buffer: Uint8Array,
    at: number,
    length: number,
    fromAddress: number,
    fromPort: number,
  ): void;
  /** What was sent to this address and port did not arrive; soft, as it may be forged or pass. */
  onError?(socket: UdpPort, kind: IcmpError["kind"], toAddress: number, toPort: number): void;
}

/** What whoever listens everywhere is told; from `flush`, so it may do anything. */
export interface UdpListenHandler {
  /**
   * A datagram to an address and port that nobody here has: `length` bytes of `buffer` at `at`, valid
   * during the call.
   */
  onDatagram(
    listener: UdpListener,
    buffer: Uint8Array,
    at: number,
    length: number,
    toAddress: number,
    toPort: number,
    fromAddress: number,
    fromPort: number,
  ): void;
}

/** What became of a datagram that was to be sent. */
export type SendResult = "sent" | "no-room" | "too-long" | "bad-address" | "closed";

/** Whose ports these are. */
export interface UdpPorts {
  /** See {@link UdpPort.sendTo}. */
  send(
    socket: UdpPort,
    address: number,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): SendResult;
  /** See {@link UdpPort.close}. */
  close(socket: UdpPort): void;
}

/** A bound port. */
export class UdpPort implements Disposable {
  /** Its number. */
  readonly port: number;
  readonly #udp: UdpPorts;

  /** Made by `Udp.bind`. */
  constructor(udp: UdpPorts, port: number) {
    this.#udp = udp;
    this.port = port;
  }

  /** Sends `length` bytes of `from` at `at` as one datagram. */
  sendTo(
    address: number,
    port: number,
    from: Uint8Array,
    at = 0,
    length: number = from.length - at,
  ): SendResult {
    return this.#udp.send(this, address, port, from, at, length);
  }

  /** Frees the port; what waits for it is forgotten. */
  close(): void {
    this.#udp.close(this);
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Who lets somebody listen everywhere. */
export interface UdpListeners {
  /** See {@link UdpListener.sendFrom}. */
  sendFrom(
    listener: UdpListener,
    fromAddress: number,
    fromPort: number,
    toAddress: number,
    toPort: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): SendResult;
  /** See {@link UdpListener.refuse}. */
  refuse(
    listener: UdpListener,
    toAddress: number,
    toPort: number,
    fromAddress: number,
    fromPort: number,
    length: number,
  ): void;
  /** See {@link UdpListener.close}. */
  unlisten(listener: UdpListener): void;
}

/** Takes what no bound port takes, and speaks as any address and port. */
export class UdpListener implements Disposable {
  readonly #udp: UdpListeners;

  /** Made by `Udp.listen`. */
  constructor(udp: UdpListeners) {
    this.#udp = udp;
  }

  /** Sends `length` bytes of `bytes` at `at` as one datagram that comes from anybody. */
  sendFrom(
    fromAddress: number,
    fromPort: number,
    toAddress: number,
    toPort: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): SendResult {
    return this.#udp.sendFrom(
      this,
      fromAddress,
      fromPort,
      toAddress,
      toPort,
      bytes,
      at,
      length,
    );
  }

  /**
   * Answers a datagram of `length` bytes with ICMP "host unreachable", within the stack's limit; from
   * within {@link UdpListenHandler.onDatagram}.
   */
  refuse(
    toAddress: number,
    toPort: number,
    fromAddress: number,
    fromPort: number,
    length: number,
  ): void {
    this.#udp.refuse(this, toAddress, toPort, fromAddress, fromPort, length);
  }

  /** Listens no more; what waits is forgotten. */
  close(): void {
    this.#udp.unlisten(this);
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }
}
