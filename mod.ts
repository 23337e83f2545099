/**
 * What another program may import: a whole node, the filter at the end of a guest's cable, the
 * WireGuard device, network interfaces with or without the operating system, the TCP/IP stack under
 * them and the gateway out of it, and the configuration. Device, filter and stack do no I/O.
 *
 * @example A WireGuard key pair
 * ```ts
 * import assert from "node:assert/strict";
 * import { formatKey, generatePrivateKey, publicKeyOf } from "@omerta/omerta";
 *
 * const publicKey = publicKeyOf(generatePrivateKey());
 * assert.equal(formatKey(publicKey).length, 44);
 * ```
 *
 * @example TCP between two interfaces in userspace, as web streams
 * ```ts
 * import assert from "node:assert/strict";
 * import { InterfaceRunner, TcpStreams, UserspaceInterface } from "@omerta/omerta";
 *
 * const here = new UserspaceInterface({ address: "10.0.0.1", mtu: 1400 });
 * const there = new UserspaceInterface({ address: "10.0.0.2", mtu: 1400 });
 * // Packets may go by anything: here from the one to the other, in memory.
 * using left = new InterfaceRunner(here, (packet) => right.write(packet));
 * using right = new InterfaceRunner(there, (packet) => left.write(packet));
 *
 * there.stack.listen({
 *   port: 7,
 *   onSyn: (pending) => {
 *     const streams = new TcpStreams(() => right.wake());
 *     pending.accept(streams);
 *     void streams.readable.pipeTo(streams.writable);
 *   },
 * });
 *
 * const { opened, readable, writable } = left.connect("10.0.0.2", 7);
 * await opened;
 * const writer = writable.getWriter();
 * await writer.write(new TextEncoder().encode("hello"));
 * await writer.close();
 * let text = "";
 * for await (const bytes of readable) text += new TextDecoder().decode(bytes);
 * assert.equal(text, "hello");
 * ```
 *
 * @example A gateway without root: whoever is inside reaches what it may, by sockets of this computer
 * ```ts
 * import assert from "node:assert/strict";
 * import { Gateway, InterfaceRunner, ProxyLoop, UserspaceInterface } from "@omerta/omerta";
 *
 * const inside = new UserspaceInterface({ address: "10.0.0.1", mtu: 1400, promiscuous: true });
 * const guest = new UserspaceInterface({ address: "10.0.0.2", mtu: 1400 });
 * using left = new InterfaceRunner(inside, (packet) => right.write(packet));
 * using right = new InterfaceRunner(guest, (packet) => left.write(packet));
 *
 * using proxies = new ProxyLoop({ now: performance.now() });
 * using gateway = new Gateway(proxies, inside, { allow: (_to, port) => port !== 25 });
 *
 * // Nobody may send mail, so this is not dialled. What is dialled takes a loop that waits for the
 * // sockets: a reactor with `proxies.streams`, and `proxies.serve` and `tick`.
 * await assert.rejects(right.connect("192.0.2.7", 25).opened, { reason: "unreachable" });
 * assert.equal(gateway.tcp.counters.failed, 1);
 * ```
 *
 * @module
 */

export { EXIT, OmertaError } from "./lib/core/errors.ts";
export { type Config, identityOf, loadConfig, saveConfig } from "./lib/core/config.ts";
export { initHome } from "./lib/core/init.ts";
export { type Paths, pathsOf } from "./lib/core/paths.ts";
export { Node, type NodeOptions, type NodeStatus } from "./lib/node/node.ts";
export { servePlane } from "./net/plane/worker.ts";
export { FilteredNat, type FilteredNatOptions } from "./net/filter/filtered_nat.ts";
export { FILTER_MODES, type FilterStrategy, strategyOf } from "./net/filter/strategy.ts";
export { type RogueAlarm, RogueDetector, rogueWords } from "./net/filter/rogue.ts";
export { KernelFilter } from "./net/filter/ebpf/kernel_filter.ts";
export { guestLink } from "./net/filter/guest_link.ts";
export { REASONS, VERDICT } from "./net/filter/verdict.ts";
export { Device, type DeviceOptions } from "./net/wireguard/device.ts";
export { formatKey, generatePrivateKey, parseKey, publicKeyOf } from "./net/wireguard/keys.ts";
export { Stack, type StackOptions } from "./net/tcp/stack.ts";
export {
  type CloseReason,
  TcpConnection,
  type TcpHandler,
  type TcpOptions,
} from "./net/tcp/connection.ts";
export { type ListenOptions, type PendingSyn, TcpListener } from "./net/tcp/listener.ts";
export { TcpStreamError, TcpStreams } from "./net/tcp/streams.ts";
export { Udp } from "./net/tcp/udp.ts";
export type { UdpHandler, UdpListener, UdpListenHandler, UdpPort } from "./net/tcp/udp_socket.ts";
export { type PingAnswer, Pinger, type PingOptions } from "./net/tcp/ping.ts";
export type { ConnectFault } from "./net/tcp/tcp.ts";
export { InterfaceRunner } from "./net/vlan/interface_runner.ts";
export { JoinedInterface } from "./net/vlan/joined_interface.ts";
export { MemoryInterface, type MemoryInterfaceOptions } from "./net/vlan/memory_interface.ts";
export type { NetworkInterface } from "./net/vlan/network_interface.ts";
export { PacketQueue } from "./net/vlan/packet_queue.ts";
export { TunInterface, type TunInterfaceOptions } from "./net/vlan/tun_interface.ts";
export {
  UserspaceInterface,
  type UserspaceInterfaceOptions,
} from "./net/vlan/userspace_interface.ts";
export { Gateway, type GatewayOptions } from "./net/proxy/gateway.ts";
export { ProxyLoop, type ProxyLoopOptions } from "./net/proxy/proxy_loop.ts";
export { PROTOCOL } from "./net/wire/ipv4.ts";
export type { DatagramSink, PacketSink } from "./net/os/sink.ts";
export { openReactor, type Reactor } from "./net/os/reactor.ts";
export { Endpoint } from "./net/os/endpoint.ts";
