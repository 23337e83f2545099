/**
 * A gateway without root, routes or address translation of the system's: what those inside send to any
 * address leaves by sockets of this computer. TCP ({@link Outward}), UDP ({@link OutwardUdp}) and pings
 * ({@link OutwardEcho}); of IPv4.
 *
 * ```ts
 * const inside = new UserspaceInterface({ address: "10.0.2.2", mtu: 1500, promiscuous: true });
 * const proxies = new ProxyLoop({ now: performance.now() });
 * using gateway = new Gateway(proxies, inside, { allow: (to) => !isMine(to) });
 * ```
 *
 * Whoever runs the loop serves and ticks the proxies and flushes the stack after it, as for any proxy.
 * Packets for loopback, multicast, broadcast and reserved addresses are refused by the stack; what
 * listens, or is bound, on the stack comes first; and pings to the stack's own address are its own.
 *
 * @module
 */

import type { Datagrams } from "../os/datagram_socket.ts";
import { openDatagrams } from "../os/datagrams.ts";
import type { UserspaceInterface } from "../vlan/userspace_interface.ts";
import { Outward } from "./outward.ts";
import { OutwardEcho } from "./outward_echo.ts";
import { OutwardUdp, type OutwardUdpOptions } from "./outward_udp.ts";
import type { ProxyLoop } from "./proxy_loop.ts";

/** Who may go where, and how much of it. */
export interface GatewayOptions {
  /**
   * Whether `from` may reach port `port` of `to`; addresses are unsigned 32 bits, and the port of a
   * ping is 0. Who may not gets ICMP "host unreachable". Must not throw. @default {everybody everywhere}
   */
  readonly allow?: (to: number, port: number, from: number) => boolean;
  /** TCP connections of one address inside. Beyond: reset. @default {1024} */
  readonly connectionsPerSource?: number;
  /** Limits of UDP. @default {120 s idle, 4096 mappings, 256 of one address inside} */
  readonly udp?: Omit<OutwardUdpOptions, "allow">;
  /** Sockets of this computer for UDP and pings. @default {openDatagrams()} */
  readonly datagrams?: Datagrams;
}

/** Leads everything out. Stopping it resets connections and closes every socket. */
export class Gateway implements Disposable {
  /** Connections. */
  readonly tcp: Outward;
  /** Datagrams. */
  readonly udp: OutwardUdp;
  /** Pings; `echo.available` says whether this computer lets them out. */
  readonly echo: OutwardEcho;
  readonly #owned: DisposableStack;

  /**
   * Begins.
   *
   * @param inside The stack whose packets come from inside; it must be promiscuous.
   * @throws {OmertaError} `port-in-use` when there is another on this stack; `not-promiscuous`.
   */
  constructor(
    loop: ProxyLoop,
    inside: Pick<UserspaceInterface, "stack" | "udp">,
    options: GatewayOptions = {},
  ) {
    const { allow, connectionsPerSource, datagrams = openDatagrams() } = options;
    const rule = allow === undefined ? {} : { allow };
    const share = connectionsPerSource === undefined ? {} : { perSource: connectionsPerSource };
    using owned = new DisposableStack();
    this.udp = owned.use(new OutwardUdp(loop, inside.udp, datagrams, { ...options.udp, ...rule }));
    this.tcp = owned.use(new Outward(loop, inside.stack, { ...share, ...rule }));
    this.echo = owned.use(new OutwardEcho(loop, inside.stack.icmp, datagrams, allow));
    this.#owned = owned.move();
  }

  /** Stops. */
  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}
