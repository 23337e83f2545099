/**
 * Datagrams: the fast sockets where the C library can be called, the portable ones elsewhere.
 *
 * @module
 */

import type { Datagrams } from "./datagram_socket.ts";
import { openDatagramsLinux } from "./datagrams_linux.ts";
import { openDatagramsPortable } from "./datagrams_portable.ts";
import { libc } from "./libc.ts";

/** Sockets of IPv4 datagrams that share memory. */
export function openDatagrams(): Datagrams {
  return libc() === undefined ? openDatagramsPortable() : openDatagramsLinux();
}
