/**
 * A guest's cable: the fast one where the C library can be called, the portable one elsewhere.
 *
 * @module
 */

import { openCableLinux } from "./cable_linux.ts";
import type { CableOptions } from "./cable_options.ts";
import { openCablePortable } from "./cable_portable.ts";
import { libc } from "./libc.ts";
import type { PacketSocket } from "./packet_socket.ts";

/**
 * Binds this side's end of a cable. The other end may come and go: frames for nobody are counted.
 *
 * @throws {OmertaError} `cable-failed`.
 */
export function openCable(options: CableOptions): PacketSocket {
  return libc() === undefined ? openCablePortable(options) : openCableLinux(options);
}
