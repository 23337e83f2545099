/**
 * The way out for TCP: every connection of those inside to any address is dialled from this computer,
 * with its own sockets, so that neither side needs root, routes or address translation. Together with
 * UDP and pings it is a gateway (gateway.ts).
 *
 * ```ts
 * const inside = new UserspaceInterface({ address, mtu, promiscuous: true });
 * const outward = new Outward(proxies, inside.stack, { allow: (to) => !isMine(to) });
 * ```
 *
 * The stack must be promiscuous. It takes no packet for loopback, multicast, broadcast or reserved
 * addresses, so none of those is ever dialled; every other address is, this computer's own included,
 * unless {@link OutwardOptions.allow} says otherwise.
 *
 * Listeners of the stack that are more exact come first: a port that is forwarded stays so.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { Stack } from "../tcp/stack.ts";
import { ipv4ToString } from "../wire/ip_address.ts";
import { DialFirst } from "./_dial_first.ts";
import type { ProxyLoop } from "./proxy_loop.ts";

/** Connections of one address inside. */
const PER_SOURCE = 1024;

/** Who may go where. */
export interface OutwardOptions {
  /**
   * Whether `from` may be connected to port `port` of `to`; addresses are unsigned 32 bits. Who may
   * not gets ICMP "host unreachable". @default {everybody everywhere}
   */
  readonly allow?: (to: number, port: number, from: number) => boolean;
  /** Connections of one address inside. Beyond: reset. @default {1024} */
  readonly perSource?: number;
}

/** Dials outside what those inside want to reach. Stopping it resets all of its connections. */
export class Outward extends DialFirst {
  /**
   * Begins to listen on every address and port that nobody else listens on.
   *
   * @throws {OmertaError} `port-in-use` when there is another one on this stack.
   */
  constructor(loop: ProxyLoop, stack: Pick<Stack, "listen">, options: OutwardOptions = {}) {
    super(loop, {
      listen: (onSyn) => {
        const listener = stack.listen({ onSyn });
        if (listener !== undefined) return listener;
        throw new OmertaError(
          "port-in-use",
          "Cannot lead connections out: another listener takes every address and port",
        );
      },
      route: ({ localAddress, localPort, remoteAddress }) =>
        options.allow?.(localAddress, localPort, remoteAddress) === false
          ? "unreachable"
          : { kind: "tcp", address: ipv4ToString(localAddress), port: localPort },
      perSource: options.perSource ?? PER_SOURCE,
    });
  }
}
