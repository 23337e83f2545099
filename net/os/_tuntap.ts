/**
 * What making a TUN and a TAP device have in common: `TUNSETIFF`, and the errors in words.
 *
 * The interface is not persistent: the kernel removes it when the descriptor is closed, also by a
 * kill.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { configureInterface, interfaceExists, interfaceRequest } from "./interface_config.ts";
import { cString, ERRNO, errnoName, Fd, type Libc } from "./libc.ts";
import type { TunOptions } from "./tun_device.ts";

const O_RDWR = 2;
const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x80000;
const TUNSETIFF = 0x400454can;
const IFREQ_FLAGS = 16;
const DEFAULT_MTU = 1400;

/** Flags of `TUNSETIFF` (linux/if_tun.h). */
export const IFF = { TUN: 0x0001, TAP: 0x0002, NO_PI: 0x1000, VNET_HDR: 0x4000 } as const;

/** Sets address and MTU of a new device and brings it up. */
export function configureDevice(c: Libc, options: TunOptions): void {
  configureInterface(c, options.name, {
    mtu: options.mtu ?? DEFAULT_MTU,
    ...(options.address === undefined ? {} : { address: options.address }),
  });
}

/** Makes the interface `name`; the descriptor is its owner. */
export function openDevice(c: Libc, name: string, flags: number): Fd {
  const request = interfaceRequest(name);
  // A persistent device of this name would be taken over without an error.
  if (interfaceExists(c, name)) throw inUse(name);
  using owned = new DisposableStack();
  const number = c.call.open(cString("/dev/net/tun"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (number < 0) throw deviceFailed(name, "open /dev/net/tun", c.errno());
  const fd = owned.use(new Fd(c, number));
  new DataView(request.buffer).setUint16(IFREQ_FLAGS, flags, true);
  if (c.call.ioctl(number, TUNSETIFF, request) !== 0) {
    const errno = c.errno();
    if (errno === ERRNO.EBUSY || errno === ERRNO.EEXIST) throw inUse(name);
    throw deviceFailed(name, "make it", errno);
  }
  owned.move();
  return fd;
}

function inUse(name: string): OmertaError {
  return new OmertaError(
    "interface-in-use",
    `Cannot make interface ${name}: one of that name exists`,
    { next: `See "ip -d link show ${name}"; choose another name, or stop the program that has it` },
  );
}

/** The error for an interface that could not be made. */
export function deviceFailed(name: string, what: string, errno: number): OmertaError {
  const message = `Cannot make interface ${name}: cannot ${what}: ${errnoName(errno)}`;
  if (errno === ERRNO.EPERM || errno === ERRNO.EACCES) {
    return new OmertaError("tun-needs-root", message, {
      exit: EXIT.missing,
      next: "Run as root, or leave the interface out: the userspace network needs no rights",
    });
  }
  if (errno === ERRNO.ENOENT || errno === ERRNO.ENODEV) {
    return new OmertaError("tun-missing", message, {
      exit: EXIT.missing,
      next: "Load the kernel's tun module (modprobe tun)",
    });
  }
  return new OmertaError("interface-failed", message);
}
