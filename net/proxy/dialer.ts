/**
 * How proxies reach what is inside of the tunnel. Names belong to whoever knows them: a proxy hands
 * on what its client asked for, and nothing is ever looked up outside.
 *
 * @module
 */

import type { ConnectFault } from "../tcp/tcp.ts";
import type { TcpConnection, TcpHandler, TcpOptions } from "../tcp/connection.ts";
import type { Stack } from "../tcp/stack.ts";
import type { ProxyLoop } from "./proxy_loop.ts";

/** Why no connection was even tried. */
export type DialFault = ConnectFault | "unknown-host" | "unreachable";

/** Opens connections to the inside. */
export interface Dialer {
  /**
   * Opens one to a name or an IPv4 literal. `handler` is told how it went, never from within this
   * call.
   */
  dial(host: string, port: number, handler: TcpHandler): TcpConnection | DialFault;
}

/** How long a proxy tries to open a connection, in ms. */
export const DIAL_MS = 30_000;

/**
 * Settings of a connection that has its bytes from a socket: they have been gathered already, or were
 * not to be, and those that do not go out soon stay in the socket.
 */
export const PROXY_OPTIONS: TcpOptions = { noDelay: true, unsentBytes: 256 * 1024 };

/** Dials by a stack. */
export class StackDialer implements Dialer {
  readonly #loop: Pick<ProxyLoop, "now">;
  readonly #stack: Pick<Stack, "connect">;
  readonly #resolve: (host: string) => number | undefined;
  readonly #isInside: (address: number) => boolean;

  /**
   * A dialer.
   *
   * @param loop Knows the time: that of a silent stack stands still.
   * @param resolve The IPv4 address of a name or literal, unsigned 32 bits; undefined: nobody's.
   * @param isInside Whether a packet to this address gets anywhere: what is sent elsewhere would be
   * waited for as long as for a silent host. Asked for each connection. @default {all do}
   */
  constructor(
    loop: Pick<ProxyLoop, "now">,
    stack: Pick<Stack, "connect">,
    resolve: (host: string) => number | undefined,
    isInside: (address: number) => boolean = () => true,
  ) {
    this.#loop = loop;
    this.#stack = stack;
    this.#resolve = resolve;
    this.#isInside = isInside;
  }

  /** See {@link Dialer.dial}. */
  dial(host: string, port: number, handler: TcpHandler): TcpConnection | DialFault {
    const to = this.#resolve(host);
    if (to === undefined) return "unknown-host";
    // A client of SOCKS5 can name port 0, at which nobody can listen.
    if (port === 0 || !this.#isInside(to)) return "unreachable";
    const options = { ...PROXY_OPTIONS, connectMs: DIAL_MS };
    return this.#stack.connect({ to, port, handler, options, now: this.#loop.now });
  }
}
