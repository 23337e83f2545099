/**
 * Addresses of stream sockets as the kernel takes them (ip(7), ipv6(7), unix(7)), and its errors in
 * our words.
 *
 * @module
 */

import { readU32, writeU16, writeU32 } from "../wire/bytes.ts";
import { ipv4ToString, parseIpv4, parseIpv6 } from "../wire/ip_address.ts";
import { Endpoint } from "./endpoint.ts";
import { ERRNO, fixedBytes } from "./libc.ts";
import { type StreamAddress, type StreamFault, UNIX_PATH_MAX } from "./stream_socket.ts";

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const PORT = 2;
const IPV4_ADDRESS = 4;
const SOCKADDR_IN = 16;
const IPV6_ADDRESS = 8;
const SOCKADDR_IN6 = 28;
const UNIX_PATH = 2;

/** A family and a `struct sockaddr` of it. */
export interface KernelAddress {
  /** `AF_UNIX`, `AF_INET` or `AF_INET6`. */
  readonly family: number;
  /** The structure. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** An address for the kernel; undefined when it is none. */
export function kernelAddress(address: StreamAddress): KernelAddress | undefined {
  if (address.kind === "unix") {
    const path = new TextEncoder().encode(address.path);
    if (path.length === 0 || path.length > UNIX_PATH_MAX || path.includes(0)) return undefined;
    const bytes = fixedBytes(UNIX_PATH + path.length + 1);
    bytes.set(path, UNIX_PATH);
    return withFamily(AF_UNIX, bytes);
  }
  const { port } = address;
  if (!Number.isInteger(port) || port < 0 || port > 65535) return undefined;
  const v4 = parseIpv4(address.address);
  const v6 = v4 === undefined ? parseIpv6(address.address) : undefined;
  if (v4 === undefined && v6 === undefined) return undefined;
  const bytes = fixedBytes(v4 === undefined ? SOCKADDR_IN6 : SOCKADDR_IN);
  writeU16(bytes, PORT, port);
  if (v4 !== undefined) writeU32(bytes, IPV4_ADDRESS, v4);
  if (v6 !== undefined) bytes.set(v6, IPV6_ADDRESS);
  return withFamily(v4 === undefined ? AF_INET6 : AF_INET, bytes);
}

function withFamily(family: number, bytes: Uint8Array<ArrayBuffer>): KernelAddress {
  new DataView(bytes.buffer).setUint16(0, family, true);
  return { family, bytes };
}

/** Longest `struct sockaddr` of IP, in bytes. */
export const SOCKADDR_LEN = SOCKADDR_IN6;

/** The address in a `struct sockaddr`; undefined when it is not one of IP. An IPv4 address is written so. */
export function addressIn(bytes: Uint8Array<ArrayBuffer>): string | undefined {
  const family = new DataView(bytes.buffer).getUint16(0, true);
  if (family === AF_INET) return ipv4ToString(readU32(bytes, IPV4_ADDRESS));
  return family === AF_INET6 ? Endpoint.fromSockaddr(bytes, 0).address : undefined;
}

/** What a kernel error means for a socket. */
export function faultOf(errno: number): StreamFault {
  switch (errno) {
    // A unix socket whose file is gone, or whose queue is full, is nobody's to us.
    case ERRNO.ECONNREFUSED:
    case ERRNO.ENOENT:
    case ERRNO.EAGAIN:
      return "refused";
    case ERRNO.EHOSTUNREACH:
    case ERRNO.ENETUNREACH:
    case ERRNO.EADDRNOTAVAIL:
      return "unreachable";
    case ERRNO.ETIMEDOUT:
      return "timeout";
    case ERRNO.ECONNRESET:
    case ERRNO.EPIPE:
      return "reset";
    case ERRNO.EMFILE:
    case ERRNO.ENFILE:
    case ERRNO.ENOMEM:
    case ERRNO.ENOBUFS:
      return "no-descriptors";
    default:
      return "failed";
  }
}
