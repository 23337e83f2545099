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
 * What arrives waits until the end of the batch, when `flush` of the stack tells the owners, in the
 * order in which it came. Beyond {@link WAITING_BYTES} or {@link WAITING} in one batch it is dropped
 * and counted. What is sent goes to the sink at once, in fragments when it is larger than the MTU.
 *
 * @module
 */

import { viewOf } from "../wire/bytes.ts";
import { foldSum, nativePseudoSum, nativeSum } from "../wire/checksum.ts";
import { UNREACHABLE } from "../wire/icmp_error.ts";
import { IPV4_HEADER_LEN, IPV4_MF, PROTOCOL } from "../wire/ipv4.ts";
import {
  UDP_CHECKSUM,
  UDP_DESTINATION_PORT,
  UDP_HEADER_LEN,
  UDP_LENGTH,
  UDP_SOURCE_PORT,
  writeUdp,
} from "../wire/udp.ts";
import { fromIpAddress, type IpAddress, isUnicast, toIpAddress } from "./address.ts";
import type { Icmp } from "./icmp.ts";
import type { IpPacket } from "./ip_in.ts";
import type { IpOutput } from "./ip_out.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { IcmpError, Protocol } from "./protocol.ts";
import type { Stack } from "./stack.ts";

/** Datagrams and errors that wait for the end of a batch. */
export const WAITING = 1024;
/** Bytes of theirs. */
export const WAITING_BYTES = 1024 * 1024;
/** Sockets when nothing else is said. */
const DEFAULT_SOCKETS = 4096;
/** Longest payload: an IPv4 packet without its headers (bytes). */
export const MAX_UDP_PAYLOAD = 65535 - IPV4_HEADER_LEN - UDP_HEADER_LEN;

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

/** Why there is no socket. */
export type BindFault = "in-use" | "no-port" | "too-many-sockets";

/** What became of a datagram that was to be sent. */
export type SendResult = "sent" | "no-room" | "too-long" | "bad-address" | "closed";

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

/** A bound port. */
export class UdpPort {
  /** Its number. */
  readonly port: number;
  readonly #udp: Udp;

  /** Made by {@link Udp.bind}. */
  constructor(udp: Udp, port: number) {
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
}

/** What {@link Udp} stands on. */
export interface UdpParts {
  /** The stack that it is registered with. */
  readonly stack: Pick<Stack, "ip" | "icmp">;
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

const ERROR_KINDS = ["unreachable", "too-big", "time-exceeded"] as const;

/** UDP of a stack. */
export class Udp implements Protocol {
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
  readonly #address: IpAddress;
  readonly #mtu: number;
  readonly #most: number;
  readonly #firstPort: number;
  readonly #random: (length: number) => Uint8Array;
  readonly #sockets = new Map<number, { readonly socket: UdpPort; readonly handler: UdpHandler }>();
  /** What waits: the bytes, one after the other, and where they belong. */
  #bytes: Uint8Array | undefined;
  #used = 0;
  #count = 0;
  #told = 0;
  readonly #at = new Int32Array(WAITING);
  /** Its length; of an error -1 - the number of its kind. */
  readonly #length = new Int32Array(WAITING);
  readonly #local = new Int32Array(WAITING);
  readonly #remote = new Int32Array(WAITING);
  readonly #remotePort = new Int32Array(WAITING);

  /** UDP without sockets. */
  constructor({ stack, address, mtu, sockets, firstPort, random }: UdpParts) {
    this.#ip = stack.ip;
    this.#icmp = stack.icmp;
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
    for (let i = this.#told; i < this.#count; i++) {
      if (this.#local[i] === socket.port) this.#local[i] = 0;
    }
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
    if (length > MAX_UDP_PAYLOAD) return "too-long";
    const to = toIpAddress(address);
    if (!isUnicast(to) || to === this.#address || port < 1 || port > 65535) return "bad-address";
    const total = IPV4_HEADER_LEN + UDP_HEADER_LEN + length;
    const sent = total <= this.#mtu
      ? this.#sendWhole(socket.port, to, port, from, at, length)
      : this.#sendCut(socket.port, to, port, from, at, length);
    if (!sent) return "no-room";
    this.counters.datagramsOut++;
    return "sent";
  }

  /** See {@link Protocol.owns}. */
  owns(_local: IpAddress, localPort: number): boolean {
    return this.#sockets.has(localPort);
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
    if (!this.#sockets.has(port)) {
      counters.noSocket++;
      this.#icmp.unreachable(packet, UNREACHABLE.port, now);
      return;
    }
    const payload = length - UDP_HEADER_LEN;
    const bytes = this.#bytes ??= new Uint8Array(WAITING_BYTES);
    if (this.#used + payload > WAITING_BYTES || this.#count === WAITING) {
      counters.dropped++;
      return;
    }
    const from = at + UDP_HEADER_LEN;
    bytes.set(packet.buffer.subarray(from, from + payload), this.#used);
    this.#keep(payload, port, packet.source, view.getUint16(at + UDP_SOURCE_PORT));
    this.#used += payload;
    counters.datagramsIn++;
  }

  /** See {@link Protocol.error}. */
  error(error: IcmpError): void {
    const port = error.view.getUint16(error.at + UDP_SOURCE_PORT);
    if (!this.#sockets.has(port)) return;
    if (this.#count === WAITING) {
      this.counters.dropped++;
      return;
    }
    const remotePort = error.view.getUint16(error.at + UDP_DESTINATION_PORT);
    this.#keep(-1 - ERROR_KINDS.indexOf(error.kind), port, error.remote, remotePort);
  }

  /** Tells the owners. An error that one throws comes out; the next call goes on behind it. */
  flush(): void {
    while (this.#told < this.#count) {
      const i = this.#told++;
      const found = this.#sockets.get(this.#local[i] ?? 0);
      if (found === undefined) continue;
      const length = this.#length[i] ?? 0;
      const remote = fromIpAddress(this.#remote[i] ?? 0);
      const port = this.#remotePort[i] ?? 0;
      const { socket, handler } = found;
      const kind = ERROR_KINDS[-1 - length];
      if (kind !== undefined) handler.onError?.(socket, kind, remote, port);
      else if (this.#bytes) {
        handler.onDatagram(socket, this.#bytes, this.#at[i] ?? 0, length, remote, port);
      }
    }
    this.#told = this.#count = this.#used = 0;
  }

  #keep(length: number, local: number, remote: IpAddress, remotePort: number): void {
    const i = this.#count++;
    this.#at[i] = this.#used;
    this.#length[i] = length;
    this.#local[i] = local;
    this.#remote[i] = remote;
    this.#remotePort[i] = remotePort;
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
    source: number,
    to: IpAddress,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    const total = IPV4_HEADER_LEN + UDP_HEADER_LEN + length;
    const out = this.#ip.reserve(total);
    if (out < 0) return false;
    this.#write(this.#ip.buffer, out + IPV4_HEADER_LEN, source, to, port, from, at, length);
    this.#ip.send(out, this.#address, to, PROTOCOL.udp, total);
    return true;
  }

  /** RFC 791 section 3.2: pieces of a multiple of eight bytes, all with one identification. */
  #sendCut(
    source: number,
    to: IpAddress,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    const whole = new Uint8Array(UDP_HEADER_LEN + length);
    this.#write(whole, 0, source, to, port, from, at, length);
    const piece = (this.#mtu - IPV4_HEADER_LEN) & ~7;
    const id = this.#ip.nextIdentification();
    for (let done = 0; done < whole.length; done += piece) {
      const size = Math.min(piece, whole.length - done);
      const out = this.#ip.reserve(IPV4_HEADER_LEN + size);
      if (out < 0) return false;
      this.#ip.buffer.set(whole.subarray(done, done + size), out + IPV4_HEADER_LEN);
      const more = done + size < whole.length ? IPV4_MF : 0;
      const total = IPV4_HEADER_LEN + size;
      this.#ip.sendFragment(out, this.#address, to, PROTOCOL.udp, total, id, more | (done >>> 3));
    }
    return true;
  }

  #write(
    buffer: Uint8Array,
    out: number,
    source: number,
    to: IpAddress,
    port: number,
    from: Uint8Array,
    at: number,
    length: number,
  ): void {
    buffer.set(from.subarray(at, at + length), out + UDP_HEADER_LEN);
    writeUdp(
      buffer,
      out,
      fromIpAddress(this.#address),
      source,
      fromIpAddress(to),
      port,
      length,
    );
  }
}
