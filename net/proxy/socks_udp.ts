/**
 * UDP for clients of a SOCKS5 server ({@link https://www.rfc-editor.org/rfc/rfc1928 | RFC 1928}
 * sections 4, 7): each has a UDP port here and one inside, for as long as its TCP connection lasts.
 * That ends by the loop's idle limit when no datagram has gone either way ({@link Associated.movedAt}).
 *
 * The first datagram that comes to the port here from the client's address says which port the client
 * uses; what comes from anywhere else is dropped. Whatever comes to the port inside goes to the client,
 * whoever sent it. What does not parse, goes to an unknown name or finds no room is dropped.
 *
 * Cap: {@link MAX_ASSOCIATIONS} of all servers of a thread; one more is refused.
 *
 * @module
 */

import { Endpoint } from "../os/endpoint.ts";
import type { DatagramHandler, UdpSocket } from "../os/packet_socket.ts";
import type { Reactor } from "../os/reactor.ts";
import { openUdp } from "../os/udp.ts";
import type { UdpOptions } from "../os/udp_options.ts";
import type { Udp } from "../tcp/udp.ts";
import type { UdpHandler, UdpPort } from "../tcp/udp_socket.ts";
import type { ProxyCounters, ProxyLoop } from "./proxy_loop.ts";
import type { Associated } from "./proxy_server.ts";
import { SOCKS_UDP_IPV4_LEN, SocksUdpHeader, writeSocksUdp } from "./socks_udp_header.ts";

/** Clients of a thread's servers that use UDP at a time. */
export const MAX_ASSOCIATIONS = 256;
/** Datagrams of one client in one turn. */
const TURN_DATAGRAMS = 64;

/** What UDP for clients stands on. */
export interface SocksUdpParts {
  /** UDP of the stack; it must be flushed after the reactor's turn, with the stack. */
  readonly udp: Pick<Udp, "bind">;
  /** The IPv4 address of a name, unsigned 32 bits; undefined: nobody's. */
  readonly resolve: (host: string) => number | undefined;
  /** Waits for the sockets here. */
  readonly reactor: Pick<Reactor, "add" | "remove">;
  /** Opens a socket that the reactor can wait for. @default {openUdp} */
  readonly openUdp?: (options: UdpOptions) => UdpSocket;
}

/** What the UDP port of a client is made of. */
export interface AssociationOptions extends SocksUdpParts {
  /** Knows the time. */
  readonly loop: Pick<ProxyLoop, "now">;
  /** Counts bytes. */
  readonly counters: ProxyCounters;
  /** Address literal that the client's datagrams come from. */
  readonly client: string;
  /** Address literal of this computer that they go to. */
  readonly address: string;
  /** Called when it is closed. */
  readonly onClose: (association: Association) => void;
}

/** The UDP port of one client. */
export class Association implements DatagramHandler, UdpHandler, Associated {
  /** See {@link Associated.movedAt}. */
  movedAt: number;
  readonly #options: AssociationOptions;
  readonly #socket: UdpSocket;
  readonly #header = new SocksUdpHeader();
  #inside: UdpPort | undefined;
  #client: Endpoint | undefined;

  private constructor(options: AssociationOptions) {
    this.#options = options;
    this.movedAt = options.loop.now;
    this.#socket = (options.openUdp ?? openUdp)({ port: 0, address: options.address });
  }

  /** Opens one; undefined when there is no port, here or inside. */
  static open(options: AssociationOptions): Association | undefined {
    using owned = new DisposableStack();
    try {
      const association = new Association(options);
      owned.use(association.#socket);
      const inside = options.udp.bind({ handler: association });
      if (typeof inside === "string") return undefined;
      owned.defer(() => inside.close());
      options.reactor.add(association.#socket, () => association.#drain());
      association.#inside = inside;
      owned.move();
      return association;
    } catch {
      // No descriptors, or too many sources for the reactor.
      return undefined;
    }
  }

  /** The address that the client is to send to. */
  get address(): string {
    return this.#options.address;
  }

  /** The port that the client is to send to. */
  get port(): number {
    return this.#socket.port;
  }

  #drain(): void {
    this.#socket.drain(this, TURN_DATAGRAMS);
  }

  /** See {@link DatagramHandler.receive}: from the client. */
  receive(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    if (!this.#isClient(names, nameAt)) return;
    this.movedAt = this.#options.loop.now;
    const header = this.#header;
    if (header.read(buffer, at, length) !== undefined) return;
    const { name } = header;
    const to = name === undefined ? header.address : this.#options.resolve(name);
    if (to === undefined) return;
    const bytes = length - header.length;
    const result = this.#inside?.sendTo(to, header.port, buffer, at + header.length, bytes);
    if (result === "sent") this.#options.counters.bytesIn += bytes;
  }

  #isClient(names: Uint8Array, nameAt: number): boolean {
    if (this.#client !== undefined) return this.#client.equalsSockaddr(names, nameAt);
    const from = Endpoint.fromSockaddr(names, nameAt);
    if (from.address !== this.#options.client) return false;
    this.#client = from;
    return true;
  }

  /** See {@link UdpHandler.onDatagram}: from the inside. */
  onDatagram(
    _port: UdpPort,
    buffer: Uint8Array,
    at: number,
    length: number,
    fromAddress: number,
    fromPort: number,
  ): void {
    const client = this.#client;
    if (client === undefined || this.#inside === undefined) return;
    this.movedAt = this.#options.loop.now;
    const { out } = this.#socket;
    const to = out.reserve(SOCKS_UDP_IPV4_LEN + length);
    if (to < 0) return;
    writeSocksUdp(out.buffer, to, fromAddress, fromPort);
    out.buffer.set(buffer.subarray(at, at + length), to + SOCKS_UDP_IPV4_LEN);
    out.commit(SOCKS_UDP_IPV4_LEN + length, client);
    out.flush();
    this.#options.counters.bytesOut += length;
  }

  /** Gives both ports back. */
  [Symbol.dispose](): void {
    if (this.#inside === undefined) return;
    this.#inside.close();
    this.#inside = undefined;
    this.#options.reactor.remove(this.#socket);
    this.#socket[Symbol.dispose]();
    this.#options.onClose(this);
  }
}
