/**
 * A TUN device: an interface of this computer behind which packets are read and written by us.
 *
 * @module
 */

import type { TunDevice, TunOptions } from "./tun_device.ts";
import { openTunLinux } from "./tun_linux.ts";

/**
 * Makes a TUN device and brings it up.
 *
 * @throws {OmertaError} `interface-in-use`, `tun-needs-root`, `tun-missing`, `bad-address`,
 * `interface-failed`, `ffi-unavailable`.
 */
export function openTun(options: TunOptions): TunDevice {
  return openTunLinux(options);
}
