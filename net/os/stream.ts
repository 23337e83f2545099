/**
 * Stream sockets: the fast ones where the C library can be called, the portable ones elsewhere.
 *
 * @module
 */

import { libc } from "./libc.ts";
import { openStreamsLinux } from "./stream_linux.ts";
import { openStreamsPortable } from "./stream_portable.ts";
import type { Streams } from "./stream_socket.ts";

/** Stream sockets for the loop of this thread. */
export function openStreams(): Streams {
  return libc() === undefined ? openStreamsPortable() : openStreamsLinux();
}
