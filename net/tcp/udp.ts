/**
 * UDP over a stack (RFC 768, RFC 1122 section 4.1).
 *
 * ```ts
 * const udp = new Udp({ stack, address, mtu, random });
 * stack.register(PROTOCOL.udp, udp);
 * const socket = udp.bind({ handler });
 * if (typeof socket !== "string") socket.sendTo(to, 53, question);
 * ```
 *
 * A bound port is one of the stack's own address. What comes to any other port or address of a
 * promiscuous stack goes to the one who listens ({@link Udp.listen}), if there is one.
 *
 * What arrives waits until the end of the batch, when `flush` of the stack tells the owners, in the
 * order in which it came. What is more than may wait in one batch (_udp_queue.ts) is dropped and
 * counted. What is sent goes to the sink at once, in fragments when it is larger than the MTU.
 *
 * @module
 */

import { viewOf } from "../wire/bytes.ts";
import { foldSum, nativePseudoSum, nativeSum } from "../wire/checksum.ts";
import { UNREACHABLE } from "../wire/icmp_error.ts";
import { IPV4_HEADER_LEN, PROTOCOL } from "../wire/ipv4.ts";
import {
  UDP_CHECKSUM,
  UDP_DESTINATION_PORT,
  UDP_HEADER_LEN,
  UDP_LENGTH,
  UDP_SOURCE_PORT,
  writeUdp,
} from "../wire/udp.ts";
import { UdpQueue } from "./_udp_queue.ts";
import { fromIpAddress, type IpAddress, isUnicast, toIpAddress } from "./address.ts";
import type { Icmp } from "./icmp.ts";
import type { IpPacket } from "./ip_in.ts";
import type { IpOutput } from "./ip_out.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { IcmpError, Protocol } from "./protocol.ts";
import type { Stack } from "./stack.ts";
import {
  type SendResult,
  type UdpHandler,
  UdpListener,
  type UdpListeners,
  type UdpListenHandler,
  UdpPort,
  type UdpPorts,
} from "./udp_socket.ts";

/** Sockets when nothing else is said. */
const DEFAULT_SOCKETS = 4096;
/** Longest payload: an IPv4 packet without its headers (bytes). */
export const MAX_UDP_PAYLOAD = 65535 - IPV4_HEADER_LEN - UDP_HEADER_LEN;

/** Why there is no socket. */
export type BindFault = "in-use" | "no-port" | "too-many-sockets";

/** What UDP has seen and refused. */
export interface UdpCounters {
  /** In: datagrams handed on. */
  datagramsIn: number;
  /** Out: datagrams. */
  datagramsOut: number;
  /** In: a length that cannot be. */
  badLength: number;
  /** In: a wrong checksum. */
  badChecksum: number;
  /** In: nobody has this port. */
  noSocket: number;
  /** In: more than may wait. */
  dropped: number;
}

/** Why nobody can listen: somebody does, or the stack takes packets for its own address only. */
export type UdpListenFault = "in-use" | "not-promiscuous";

/** What {@link Udp} stands on. */
export interface UdpParts {
  /** The stack that it is registered with. */
  readonly stack: Pick<Stack, "ip" | "icmp" | "promiscuous">;
  /** Address of the stack, unsigned 32 bits. */
  readonly address: number;
  /** Largest packet, in bytes. */
  readonly mtu: number;
  /** Most sockets. Beyond: `too-many-sockets`. @default {4096} */
  readonly sockets?: number;
  /** Lowest port that is given out when none is asked for. @default {DEFAULT_LIMITS.firstPort} */
  readonly firstPort?: number;
  /** Random bytes, for ports that nobody guesses (RFC 6056). */
  readonly random: (length: number) => Uint8Array;
}

/** UDP of a stack. */
export class Udp implements Protocol, UdpPorts, UdpListeners {
  /** What it has seen. */
  readonly counters: UdpCounters = {
    datagramsIn: 0,
    datagramsOut: 0,
    badLength: 0,
    badChecksum: 0,
    noSocket: 0,
    dropped: 0,
  };
  readonly #ip: IpOutput;
  readonly #icmp: Icmp;
  readonly #promiscuous: boolean;
  readonly #address: IpAddress;
  readonly #mtu: number;
  readonly #most: number;
  readonly #firstPort: number;
  readonly #random: (length: number) => Uint8Array;
  readonly #sockets = new Map<number, { readonly socket: UdpPort; readonly handler: UdpHandler }>();
  #listening: { readonly listener: UdpListener; readonly handler: UdpListenHandler } | undefined;
  /** Time of the flush, in ms. */
  #now = 0;
  /** A datagram that is longer than the MTU. */
  #long: Uint8Array | undefined;
  readonly #queue = new UdpQueue();

  /** UDP without sockets. */
  constructor({ stack, address, mtu, sockets, firstPort, random }: UdpParts) {
    this.#ip = stack.ip;
    this.#icmp = stack.icmp;
    this.#promiscuous = stack.promiscuous;
    this.#address = toIpAddress(address);
    this.#mtu = mtu;
    this.#most = sockets ?? DEFAULT_SOCKETS;
    this.#firstPort = firstPort ?? DEFAULT_LIMITS.firstPort;
    this.#random = random;
  }

  /** Sockets that are open. */
  get sockets(): number {
    return this.#sockets.size;
  }

  /** Takes a port, any when none is named; or says why not. */
  bind(options: {
    /** The port, 1 to 65535; undefined: a free one. */
    readonly port?: number;
    /** Who is told. */
    readonly handler: UdpHandler;
  }): UdpPort | BindFault {
    if (this.#sockets.size >= this.#most) return "too-many-sockets";
    const port = options.port ?? this.#freePort();
    if (!Number.isInteger(port) || port < 1 || port > 65535) return "no-port";
    if (this.#sockets.has(port)) return "in-use";
    const socket = new UdpPort(this, port);
    this.#sockets.set(port, { socket, handler: options.handler });
    return socket;
  }

  /** See {@link UdpPort.close}. */
  close(socket: UdpPort): void {
    if (this.#sockets.get(socket.port)?.socket !== socket) return;
    this.#sockets.delete(socket.port);
    // Somebody else may have the port by the time what waits is told.
    this.#queue.forget((local, port) => local === this.#address && port === socket.port);
  }

  /** Takes what no bound port takes, of a promiscuous stack; or says why not. */
  listen(handler: UdpListenHandler): UdpListener | UdpListenFault {
    if (!this.#promiscuous) return "not-promiscuous";
    if (this.#listening !== undefined) return "in-use";
    const listener = new UdpListener(this);
    this.#listening = { listener, handler };
    return listener;
  }

  /** See {@link UdpListener.close}. */
  unlisten(listener: UdpListener): void {
    if (this.#listening?.listener !== listener) return;
    this.#listening = undefined;
    this.#queue.forget((local, port) => !this.#isBound(local, port));
  }

  /** Whether a socket has this address and port. */
  #isBound(local: IpAddress, port: number): boolean {
    return local === this.#address && this.#sockets.has(port);
  }

  /** See {@link UdpPort.sendTo}. */
  send(
    socket: UdpPort,
    address: number,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): SendResult {
    if (this.#sockets.get(socket.port)?.socket !== socket) return "closed";
    return this.#send(this.#address, socket.port, toIpAddress(address), port, from, at, length);
  }

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
  ): SendResult {
    if (this.#listening?.listener !== listener) return "closed";
    const from = toIpAddress(fromAddress);
    if (!isUnicast(from) || fromPort < 1 || fromPort > 65535) return "bad-address";
    return this.#send(from, fromPort, toIpAddress(toAddress), toPort, bytes, at, length);
  }

  /** See {@link UdpListener.refuse}. */
  refuse(
    listener: UdpListener,
    toAddress: number,
    toPort: number,
    fromAddress: number,
    fromPort: number,
    length: number,
  ): void {
    if (this.#listening?.listener !== listener) return;
    const from = toIpAddress(fromAddress);
    const to = toIpAddress(toAddress);
    const { host } = UNREACHABLE;
    this.#icmp.unreachableDatagram(from, fromPort, to, toPort, length, host, this.#now);
  }

  #send(
    source: IpAddress,
    sourcePort: number,
    to: IpAddress,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): SendResult {
    if (length > MAX_UDP_PAYLOAD) return "too-long";
    const isOurs = to === this.#address || to === source;
    if (!isUnicast(to) || isOurs || port < 1 || port > 65535) return "bad-address";
    const total = IPV4_HEADER_LEN + UDP_HEADER_LEN + length;
    const sent = total <= this.#mtu
      ? this.#sendWhole(source, sourcePort, to, port, from, at, length)
      : this.#sendLong(source, sourcePort, to, port, from, at, length);
    if (!sent) return "no-room";
    this.counters.datagramsOut++;
    return "sent";
  }

  /** See {@link Protocol.owns}. */
  owns(local: IpAddress, localPort: number): boolean {
    return this.#listening !== undefined || this.#isBound(local, localPort);
  }

  /** See {@link Protocol.input}. */
  input(packet: IpPacket, now: number): void {
    const { counters } = this;
    const { view, payloadAt: at, end } = packet;
    const length = end - at < UDP_HEADER_LEN ? 0 : view.getUint16(at + UDP_LENGTH);
    if (length < UDP_HEADER_LEN || at + length > end) {
      counters.badLength++;
      return;
    }
    if (view.getUint16(at + UDP_CHECKSUM) !== 0) {
      const sum = nativeSum(view, at, length) + nativePseudoSum(view, packet.at, length);
      if (foldSum(sum) !== 0xffff) {
        counters.badChecksum++;
        return;
      }
    }
    const port = view.getUint16(at + UDP_DESTINATION_PORT);
    const local = packet.destination;
    const isTaken = this.#isBound(local, port) || (this.#listening !== undefined && port !== 0);
    if (!isTaken) {
      counters.noSocket++;
      this.#icmp.unreachable(packet, UNREACHABLE.port, now);
      return;
    }
    const payload = length - UDP_HEADER_LEN;
    const from = view.getUint16(at + UDP_SOURCE_PORT);
    const { buffer, source } = packet;
    if (this.#queue.add(buffer, at + UDP_HEADER_LEN, payload, local, port, source, from)) {
      counters.datagramsIn++;
    } else counters.dropped++;
  }

  /** See {@link Protocol.error}. */
  error(error: IcmpError): void {
    const port = error.view.getUint16(error.at + UDP_SOURCE_PORT);
    const { local } = error;
    if (!this.#isBound(local, port)) return;
    const remotePort = error.view.getUint16(error.at + UDP_DESTINATION_PORT);
    if (!this.#queue.addError(error.kind, local, port, error.remote, remotePort)) {
      this.counters.dropped++;
    }
  }

  /** Tells the owners. An error that one throws comes out; the next call goes on behind it. */
  flush(now: number): void {
    this.#now = now;
    while (this.#queue.next()) this.#tell(this.#queue);
  }

  #tell({ bytes, at, length, error, local, localPort, remote, remotePort }: UdpQueue): void {
    const from = fromIpAddress(remote);
    const found = local === this.#address ? this.#sockets.get(localPort) : undefined;
    if (error !== undefined) found?.handler.onError?.(found.socket, error, from, remotePort);
    else if (found !== undefined) {
      found.handler.onDatagram(found.socket, bytes, at, length, from, remotePort);
    } else if (this.#listening !== undefined) {
      const { listener, handler } = this.#listening;
      const to = fromIpAddress(local);
      handler.onDatagram(listener, bytes, at, length, to, localPort, from, remotePort);
    }
  }

  #freePort(): number {
    const random = viewOf(this.#random(2)).getUint16(0);
    const count = 65536 - this.#firstPort;
    for (let i = 0; i < count; i++) {
      const port = this.#firstPort + (random + i) % count;
      if (!this.#sockets.has(port)) return port;
    }
    return 0;
  }

  #sendWhole(
    source: IpAddress,
    sourcePort: number,
    to: IpAddress,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    const total = IPV4_HEADER_LEN + UDP_HEADER_LEN + length;
    const out = this.#ip.reserve(total);
    if (out < 0) return false;
    const { buffer } = this.#ip;
    write(buffer, out + IPV4_HEADER_LEN, source, sourcePort, to, port, from, at, length);
    this.#ip.send(out, source, to, PROTOCOL.udp, total);
    return true;
  }

  #sendLong(
    source: IpAddress,
    sourcePort: number,
    to: IpAddress,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    const whole = this.#long ??= new Uint8Array(UDP_HEADER_LEN + MAX_UDP_PAYLOAD);
    write(whole, 0, source, sourcePort, to, port, from, at, length);
    const size = UDP_HEADER_LEN + length;
    return this.#ip.sendPieces(whole, size, source, to, PROTOCOL.udp, this.#mtu);
  }
}

function write(
  buffer: Uint8Array,
  out: number,
  source: IpAddress,
  sourcePort: number,
  to: IpAddress,
  port: number,
  from: Uint8Array,
  at: number,
  length: number,
): void {
  buffer.set(from.subarray(at, at + length), out + UDP_HEADER_LEN);
  writeUdp(buffer, out, fromIpAddress(source), sourcePort, fromIpAddress(to), port, length);
}
