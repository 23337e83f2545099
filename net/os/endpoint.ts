/**
 * An address and port of the underlay, in the form the kernel takes it.
 *
 * The node's socket is one AF_INET6 socket for both families, so an IPv4 address travels as
 * `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2) in a `struct sockaddr_in6`:
 *
 * ```
 * 0       2       4               8                              24              28
 * +-------+-------+---------------+-- - - - - - - - - - - - - - --+---------------+
 * |family | port  |   flowinfo    |           address             |   scope id    |
 * +-------+-------+---------------+-- - - - - - - - - - - - - - --+---------------+
 * ```
 *
 * Family is in host order, port in network order, lengths in bytes.
 *
 * @module
 */

import { formatIpv6, ipv4ToString, parseIpv4, parseIpv6 } from "../wire/ip_address.ts";

/** Bytes of a `struct sockaddr_in6`. */
export const SOCKADDR_LEN = 28;
const AF_INET6 = 10;
const PORT = 2;
const ADDRESS = 8;

/** Address and port of a host on the underlay. Immutable. */
export class Endpoint {
  /** `struct sockaddr_in6`; IPv4 is mapped. Not to be written to. */
  readonly sockaddr: Uint8Array;

  private constructor(sockaddr: Uint8Array) {
    this.sockaddr = sockaddr;
  }

  /** From an address literal, IPv4 or IPv6, and a port; undefined when either does not parse. */
  static of(address: string, port: number): Endpoint | undefined {
    if (!Number.isInteger(port) || port < 0 || port > 65535) return undefined;
    const bytes = new Uint8Array(SOCKADDR_LEN);
    const v4 = parseIpv4(address);
    if (v4 !== undefined) {
      bytes[ADDRESS + 10] = 0xff;
      bytes[ADDRESS + 11] = 0xff;
      new DataView(bytes.buffer).setUint32(ADDRESS + 12, v4);
    } else {
      const v6 = parseIpv6(address);
      if (v6 === undefined) return undefined;
      bytes.set(v6, ADDRESS);
    }
    bytes[0] = AF_INET6;
    bytes[PORT] = port >>> 8;
    bytes[PORT + 1] = port;
    return new Endpoint(bytes);
  }

  /** Copies the `sockaddr_in6` at `at` that the kernel wrote for a received datagram. */
  static fromSockaddr(names: Uint8Array, at: number): Endpoint {
    return new Endpoint(names.slice(at, at + SOCKADDR_LEN));
  }

  /** Whether the `sockaddr_in6` at `at` is this address and port. Allocates nothing. */
  equalsSockaddr(names: Uint8Array, at: number): boolean {
    const own = this.sockaddr;
    if (own[PORT] !== names[at + PORT] || own[PORT + 1] !== names[at + PORT + 1]) return false;
    // From the end: the bytes that differ first between two IPv4 addresses.
    for (let i = ADDRESS + 15; i >= ADDRESS; i--) if (own[i] !== names[at + i]) return false;
    return true;
  }

  /** Whether both are the same address and port. */
  equals(other: Endpoint): boolean {
    return this.equalsSockaddr(other.sockaddr, 0);
  }

  /** Port, 0 to 65535. */
  get port(): number {
    return ((this.sockaddr[PORT] ?? 0) << 8) | (this.sockaddr[PORT + 1] ?? 0);
  }

  /** Address literal; a mapped IPv4 address is written as IPv4. */
  get address(): string {
    const a = this.sockaddr.subarray(ADDRESS, ADDRESS + 16);
    const mapped = a[10] === 0xff && a[11] === 0xff && a.subarray(0, 10).every((b) => b === 0);
    if (!mapped) return formatIpv6(a);
    return ipv4ToString(new DataView(a.buffer, a.byteOffset).getUint32(12));
  }

  /** `1.2.3.4:51820` or `[fe80::1]:51820`. */
  toString(): string {
    const address = this.address;
    return address.includes(":") ? `[${address}]:${this.port}` : `${address}:${this.port}`;
  }
}
