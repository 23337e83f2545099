/**
 * Address, MTU and state of a network interface, by the ioctls of netdevice(7).
 *
 * ```
 * struct ifreq: 0 name[16]   16 flags u16 | mtu i32 | index i32 | struct sockaddr_in
 * ```
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { parseIpv4 } from "../wire/ip_address.ts";
import { errnoName, Fd, fixedBytes, type Libc } from "./libc.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const SIOCGIFFLAGS = 0x8913n;
const SIOCSIFFLAGS = 0x8914n;
const SIOCSIFADDR = 0x8916n;
const SIOCSIFNETMASK = 0x891cn;
const SIOCSIFMTU = 0x8922n;
const SIOCGIFINDEX = 0x8933n;
const IFF_UP = 1;

/** Bytes of a `struct ifreq`. */
const IFREQ_LEN = 40;
/** `IFNAMSIZ`, with the final zero. */
const NAME_SIZE = 16;
const VALUE = 16;

/** A `struct ifreq` for `name`, the rest zero. */
export function interfaceRequest(name: string): Uint8Array<ArrayBuffer> {
  // As dev_valid_name() of the kernel has it, and no '%', which it would replace by a number.
  if (!/^[^\s/:%]{1,15}$/.test(name) || name === "." || name === "..") {
    throw new OmertaError(
      "bad-interface-name",
      `Cannot use interface name "${name}": want 1 to ${NAME_SIZE - 1} characters, none of / : %`,
    );
  }
  const bytes = new TextEncoder().encode(name);
  const out = fixedBytes(IFREQ_LEN);
  out.set(bytes.subarray(0, NAME_SIZE - 1));
  return out;
}

/** Address, MTU and state to give an interface. */
export interface InterfaceSettings {
  /** IPv4 address with prefix length, e.g. `10.0.0.1/16`; none leaves the interface without. */
  readonly address?: string;
  /** Largest packet, in bytes. */
  readonly mtu: number;
}

/** Whether an interface of this name exists in the caller's network namespace. */
export function interfaceExists(c: Libc, name: string): boolean {
  using socket = controlSocket(c);
  return c.call.ioctl(socket.number, SIOCGIFINDEX, interfaceRequest(name)) === 0;
}

/**
 * Sets address and MTU and brings the interface up.
 *
 * @throws {OmertaError} `bad-address`, `interface-failed`.
 */
export function configureInterface(c: Libc, name: string, settings: InterfaceSettings): void {
  using socket = controlSocket(c);
  const set = (what: string, request: bigint, fill: (view: DataView) => void): void => {
    const bytes = interfaceRequest(name);
    fill(new DataView(bytes.buffer));
    if (c.call.ioctl(socket.number, request, bytes) === 0) return;
    throw new OmertaError(
      "interface-failed",
      `Cannot set ${what} of interface ${name}: ${errnoName(c.errno())}`,
    );
  };
  set(`MTU ${settings.mtu}`, SIOCSIFMTU, (view) => view.setInt32(VALUE, settings.mtu, true));
  if (settings.address !== undefined) {
    const { address, mask } = parseInterfaceAddress(settings.address);
    set(`address ${settings.address}`, SIOCSIFADDR, (view) => sockaddrIn(view, address));
    set(`netmask of ${settings.address}`, SIOCSIFNETMASK, (view) => sockaddrIn(view, mask));
  }
  const flags = interfaceRequest(name);
  c.call.ioctl(socket.number, SIOCGIFFLAGS, flags);
  const now = new DataView(flags.buffer).getUint16(VALUE, true);
  set("state", SIOCSIFFLAGS, (view) => view.setUint16(VALUE, now | IFF_UP, true));
}

/**
 * An address with its prefix length, `10.0.0.1/16`, as unsigned 32-bit numbers.
 *
 * @throws {OmertaError} `bad-address`.
 */
export function parseInterfaceAddress(text: string): { address: number; mask: number } {
  const [literal = "", bits = ""] = text.split("/", 2);
  const address = parseIpv4(literal);
  if (address === undefined || !/^(?:[1-9]|[12][0-9]|3[0-2])$/.test(bits)) {
    throw new OmertaError(
      "bad-address",
      `Cannot use address "${text}": want an IPv4 address with a prefix length, e.g. 10.0.0.1/16`,
    );
  }
  return { address, mask: (0xffffffff << (32 - Number(bits))) >>> 0 };
}

function sockaddrIn(view: DataView, address: number): void {
  view.setUint16(VALUE, AF_INET, true);
  view.setUint32(VALUE + 4, address);
}

function controlSocket(c: Libc): Fd {
  const fd = c.call.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) return new Fd(c, fd);
  throw new OmertaError(
    "interface-failed",
    `Cannot open a socket to configure interfaces: ${errnoName(c.errno())}`,
  );
}
