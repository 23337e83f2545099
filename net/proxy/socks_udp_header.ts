/**
 * What stands in front of each datagram between a client and a SOCKS5 server:
 * {@link https://www.rfc-editor.org/rfc/rfc1928#section-7 | RFC 1928 section 7}.
 *
 * ```
 * +---+---+----+----+----------+----+--------
 * |  RSV  |FRAG|ATYP|DST.ADDR  |PORT| DATA
 * | 0 | 0 | 0  |    |4, 1+n, 16| 2  |
 * +---+---+----+----+----------+----+--------
 * ```
 *
 * Lengths are in bytes, ports are big-endian. Fragments are not put together: RFC 1928 lets a server
 * drop them.
 *
 * @module
 */

import { copyBytes, readU16, readU32, writeU16, writeU32 } from "../wire/bytes.ts";

const FRAGMENT = 2;
const TYPE = 3;
const ADDRESS = 4;
const ADDRESS_TYPE = { ipv4: 1, name: 3, ipv6: 4 } as const;

/** Longest name, in bytes. */
const MAX_NAME = 255;

/** Length of the header in front of what comes from an IPv4 address. */
export const SOCKS_UDP_IPV4_LEN = 10;

/** Why a datagram of a client was refused. */
export type SocksUdpFault = "truncated" | "fragment" | "address-type" | "bad-name";

/** The header of one datagram after the other. */
export class SocksUdpHeader {
  /** The IPv4 address that it goes to, unsigned 32 bits, when it is no name. */
  address = 0;
  /** The name that it goes to, in lower case; undefined: see {@link address}. */
  name: string | undefined;
  /** The port that it goes to. */
  port = 0;
  /** Length of the header, in bytes. */
  length = 0;
  /** The last name as it came. Most datagrams go where the one before them went: no string for them. */
  readonly #known = new Uint8Array(MAX_NAME);
  #knownLength = -1;
  #knownName: string | undefined;

  /** Reads what is in front of a datagram of `length` bytes; undefined when that is fine. */
  read(bytes: Uint8Array, at: number, length: number): SocksUdpFault | undefined {
    if (length <= ADDRESS) return "truncated";
    if ((bytes[at + FRAGMENT] ?? 0) !== 0) return "fragment";
    const type = bytes[at + TYPE] ?? 0;
    const nameLength = bytes[at + ADDRESS] ?? 0;
    let portAt = ADDRESS;
    if (type === ADDRESS_TYPE.ipv4) portAt += 4;
    else if (type === ADDRESS_TYPE.name) portAt += 1 + nameLength;
    else return "address-type";
    if (length < portAt + 2) return "truncated";
    this.name = undefined;
    if (type === ADDRESS_TYPE.ipv4) this.address = readU32(bytes, at + ADDRESS);
    else {
      const nameAt = at + ADDRESS + 1;
      if (!this.#isKnown(bytes, nameAt, nameLength)) {
        const name = socksName(bytes.subarray(nameAt, nameAt + nameLength));
        if (name === undefined) return "bad-name";
        copyBytes(bytes, nameAt, this.#known, 0, nameLength);
        this.#knownLength = nameLength;
        this.#knownName = name.toLowerCase();
      }
      this.name = this.#knownName;
    }
    this.port = readU16(bytes, at + portAt);
    this.length = portAt + 2;
    return undefined;
  }

  #isKnown(bytes: Uint8Array, at: number, length: number): boolean {
    if (length !== this.#knownLength) return false;
    for (let i = 0; i < length; i++) if (bytes[at + i] !== this.#known[i]) return false;
    return true;
  }
}

/** Writes the header in front of what came from an IPv4 address. */
export function writeSocksUdp(out: Uint8Array, at: number, address: number, port: number): void {
  out[at] = 0;
  out[at + 1] = 0;
  out[at + FRAGMENT] = 0;
  out[at + TYPE] = ADDRESS_TYPE.ipv4;
  writeU32(out, at + ADDRESS, address);
  writeU16(out, at + ADDRESS + 4, port);
}

/** Printable ASCII without spaces; undefined when it is anything else. */
export function socksName(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0 || bytes.some((byte) => byte < 0x21 || byte > 0x7e)) return undefined;
  return String.fromCharCode(...bytes);
}
