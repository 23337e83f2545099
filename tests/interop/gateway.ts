/**
 * A program for tests and benchmarks: a gateway of one namespace in another. Its TUN device is in the
 * namespace of those who want to get out; its sockets are in the one that it was started in. It is to
 * the TCP/IP stack what slirp4netns and pasta are by themselves. Once it runs it prints a line of JSON,
 * a {@link GatewayReady}; it runs until it is killed.
 *
 * ```
 * gateway.ts '{"namespace": "/run/netns/NAME", "tun": "omt0", "kernel": "10.0.2.100/24", ...}'
 * ```
 *
 * @module
 */

import { insideNamespace } from "../../net/os/namespace_linux.ts";
import { openReactor } from "../../net/os/reactor.ts";
import { Gateway } from "../../net/proxy/gateway.ts";
import { ProxyLoop } from "../../net/proxy/proxy_loop.ts";
import { TunInterface } from "../../net/vlan/tun_interface.ts";
import { UserspaceInterface } from "../../net/vlan/userspace_interface.ts";

/** How to start it. */
export interface GatewayConfig {
  /** Path of the namespace that the TUN device is in. */
  readonly namespace: string;
  /** Name of the TUN device. */
  readonly tun: string;
  /** The kernel's address on it, with prefix length. */
  readonly kernel: string;
  /** The gateway's own address. */
  readonly address: string;
  /** Largest packet, in bytes. */
  readonly mtu: number;
  /** How long a mapping of UDP may be idle, in ms. @default {the gateway's} */
  readonly idleMs?: number;
}

/** What it says first. */
export interface GatewayReady {
  /** Whether pings leave. */
  readonly echo: boolean;
}

/** Runs until it is killed. */
async function main(config: GatewayConfig): Promise<void> {
  const { address, mtu, idleMs } = config;
  const kernel = insideNamespace(
    config.namespace,
    () => new TunInterface({ name: config.tun, address: config.kernel, mtu }),
  );
  const userspace = new UserspaceInterface({ address, mtu, promiscuous: true });
  userspace.start(kernel.inbound);
  kernel.start(userspace.inbound);
  const reactor = openReactor(-1);
  const proxies = new ProxyLoop({ now: performance.now() });
  const udp = idleMs === undefined ? {} : { idleMs };
  using gateway = new Gateway(proxies, userspace, { udp });
  const begin = (): number => {
    const now = performance.now();
    userspace.begin(now);
    return proxies.now = now;
  };
  reactor.add(kernel.source, () => {
    begin();
    kernel.drain();
    userspace.inbound.flush();
  });
  reactor.add(proxies.streams, () => {
    proxies.serve(begin());
    userspace.inbound.flush();
  });
  const ready: GatewayReady = { echo: gateway.echo.available };
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(ready)}\n`));
  while (true) {
    const now = begin();
    const due = Math.min(proxies.tick(now), userspace.tick(now));
    await reactor.wait(Math.min(due - now, 1000));
  }
}

if (import.meta.main) await main(JSON.parse(Deno.args[0] ?? "{}"));
