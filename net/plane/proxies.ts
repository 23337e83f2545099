/**
 * The ways from programs of this computer into the tunnels, through the stack: a unix socket for
 * `omerta nc`, forwarded ports, SOCKS5.
 *
 * At most {@link MAX_PROXIES} at a time; net/proxy has the limits of each.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import type { Reactor } from "../os/reactor.ts";
import { streamAddressText } from "../os/stream_socket.ts";
import { StackDialer } from "../proxy/dialer.ts";
import { forwardLocal, ReverseForward } from "../proxy/forward.ts";
import { openPipe } from "../proxy/pipe.ts";
import { type ProxyCounters, ProxyLoop } from "../proxy/proxy_loop.ts";
import { openSocks } from "../proxy/socks_server.ts";
import { MAX_ASSOCIATIONS, type SocksUdpParts } from "../proxy/socks_udp.ts";
import type { Stack } from "../tcp/stack.ts";
import type { ProxySettings } from "./_messages.ts";
import type { ProxyStats } from "./stats.ts";

/** Proxies at a time: the 256 that lib/node opens for its user, and the pipe. */
export const MAX_PROXIES = 257;

/** What all kinds of proxies have. */
interface Proxy extends Disposable {
  readonly port?: number;
  readonly connections: number;
  readonly counters: ProxyCounters;
}

/** What {@link Proxies} stand on. */
export interface ProxiesParts {
  /** Reaches the inside. */
  readonly stack: Stack;
  /** UDP of that stack. */
  readonly udp: SocksUdpParts["udp"];
  /** Address of a name or literal, unsigned 32 bits; undefined: nobody's. */
  readonly resolve: (host: string) => number | undefined;
  /** Whether there is a way to an address, unsigned 32 bits; asked for each connection. */
  readonly isInside: (address: number) => boolean;
  /** Waits for the sockets of this computer. */
  readonly reactor: Reactor;
  /** Called when sockets had their turn: begins a batch. @returns Time of now, in ms. */
  readonly begin: () => number;
}

/** The proxies of a node. */
export class Proxies implements Disposable {
  readonly #parts: ProxiesParts;
  readonly #loop: ProxyLoop;
  readonly #dialer: StackDialer;
  readonly #socksUdp: SocksUdpParts;
  readonly #open = new Map<string, { readonly settings: ProxySettings; readonly proxy: Proxy }>();

  /** None yet. */
  constructor(parts: ProxiesParts, now: number) {
    this.#parts = parts;
    this.#loop = new ProxyLoop({ now });
    this.#dialer = new StackDialer(this.#loop, parts.stack, parts.resolve, parts.isInside);
    const { reactor, resolve, udp } = parts;
    const inTurn = (work: (now: number) => void) => (): void => {
      const at = parts.begin();
      work(at);
      parts.stack.flush(at);
    };
    reactor.add(this.#loop.streams, inTurn((now) => this.#loop.serve(now)));
    let associations = 0;
    const waiter: SocksUdpParts["reactor"] = {
      add: (source, ready) => {
        // Guests' cables need room in the reactor too, however many servers there are.
        if (associations >= MAX_ASSOCIATIONS) {
          throw new OmertaError("too-many-clients", "Cannot serve UDP to another client");
        }
        reactor.add(source, inTurn(ready));
        associations++;
      },
      remove: (source) => {
        associations--;
        reactor.remove(source);
      },
    };
    this.#socksUdp = { udp, resolve, reactor: waiter };
  }

  /** Says what time it is, before the stack calls handlers. */
  set now(now: number) {
    this.#loop.now = now;
  }

  /**
   * Opens one.
   *
   * @returns The port that it listens on, here or, when reverse, inside; 0 for the pipe.
   * @throws {OmertaError} `proxy-exists`, `too-many-proxies`, `port-in-use`, `listen-failed`.
   */
  open(id: string, settings: ProxySettings): number {
    if (this.#open.has(id)) {
      throw new OmertaError("proxy-exists", `Cannot open proxy ${id}: there is one of that name`);
    }
    if (this.#open.size >= MAX_PROXIES) {
      throw new OmertaError(
        "too-many-proxies",
        `Cannot open another: ${MAX_PROXIES} is the limit`,
        {
          exit: EXIT.refused,
          next: "See 'omerta forward list'",
        },
      );
    }
    const proxy = this.#make(settings);
    this.#open.set(id, { settings, proxy });
    return portOf(settings, proxy);
  }

  /** Closes one and resets its connections. @returns Whether there was one. */
  close(id: string): boolean {
    const found = this.#open.get(id);
    this.#open.delete(id);
    found?.proxy[Symbol.dispose]();
    return found !== undefined;
  }

  /** Looks at deadlines; when to call again, in ms. The stack must be flushed after it. */
  tick(now: number): number {
    return this.#loop.tick(now);
  }

  /** All of them, in the order in which they were opened. */
  stats(): ProxyStats[] {
    return Array.from(this.#open, ([id, { settings, proxy }]): ProxyStats => ({
      id,
      ...describe(settings, portOf(settings, proxy)),
      active: proxy.connections,
      ...proxy.counters,
    }));
  }

  #make(settings: ProxySettings): Proxy {
    const loop = this.#loop;
    switch (settings.kind) {
      case "pipe":
        return openPipe(loop, this.#dialer, settings.path);
      case "forward":
        return forwardLocal(loop, this.#dialer, settings);
      case "reverse":
        return new ReverseForward(loop, this.#parts.stack, settings);
      case "socks": {
        const { listen, credentials } = settings;
        return openSocks(loop, this.#dialer, {
          listen,
          udp: this.#socksUdp,
          ...(credentials === undefined ? {} : { credentials }),
        });
      }
    }
  }

  /** Closes all. */
  [Symbol.dispose](): void {
    for (const id of Array.from(this.#open.keys())) this.close(id);
    this.#parts.reactor.remove(this.#loop.streams);
    this.#loop[Symbol.dispose]();
  }
}

function portOf(settings: ProxySettings, proxy: Proxy): number {
  return settings.kind === "reverse" ? settings.port : proxy.port ?? 0;
}

/** Where it listens and where that leads, in words. */
function describe(
  settings: ProxySettings,
  port: number,
): Pick<ProxyStats, "kind" | "listen" | "to"> {
  const { kind } = settings;
  switch (settings.kind) {
    case "pipe":
      return { kind, listen: settings.path, to: undefined };
    case "reverse":
      return { kind, listen: `${port}`, to: streamAddressText(settings.to) };
    case "forward":
    case "socks": {
      const listen = streamAddressText({ ...settings.listen, port });
      if (settings.kind === "socks") return { kind, listen, to: undefined };
      const { host: address, port: there } = settings;
      return { kind, listen, to: streamAddressText({ kind: "tcp", address, port: there }) };
    }
  }
}
