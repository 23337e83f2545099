/**
 * What another program may import: a whole node, the filter at the end of a guest's cable, the
 * WireGuard device, the TCP/IP stack, and the configuration. The WireGuard device, the filter and the
 * stack do no I/O.
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
export type { CloseReason, TcpConnection, TcpHandler, TcpOptions } from "./net/tcp/connection.ts";
export type { ListenOptions, TcpListener } from "./net/tcp/listener.ts";
export { Inlet } from "./net/tcp/inlet.ts";
export type { DatagramSink, PacketSink } from "./net/os/sink.ts";
export { Endpoint } from "./net/os/endpoint.ts";
