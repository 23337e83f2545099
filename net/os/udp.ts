/**
 * The node's UDP socket: the fast one where the C library can be called, the portable one elsewhere.
 *
 * @module
 */

import { libc } from "./libc.ts";
import type { UdpSocket } from "./packet_socket.ts";
import { openUdpLinux } from "./udp_linux.ts";
import type { UdpOptions } from "./udp_options.ts";
import { openUdpPortable } from "./udp_portable.ts";

/**
 * Opens a UDP socket that sends and receives IPv4 and IPv6.
 *
 * @throws {OmertaError} `port-in-use`, `socket-failed`.
 */
export function openUdp(options: UdpOptions): UdpSocket {
  return libc() === undefined ? openUdpPortable(options) : openUdpLinux(options);
}
