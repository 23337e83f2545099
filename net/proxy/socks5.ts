/**
 * The server's side of SOCKS5: {@link https://www.rfc-editor.org/rfc/rfc1928 | RFC 1928}, and user and
 * password by {@link https://www.rfc-editor.org/rfc/rfc1929 | RFC 1929}.
 *
 * ```
 * greeting (section 3)     request (section 4)                    user/password (RFC 1929 section 2)
 * +---+---+---------+      +---+---+---+----+----------+----+     +---+---+------+---+------+
 * |VER|n  |METHODS n|      |VER|CMD|RSV|ATYP|DST.ADDR  |PORT|     |VER|n  |UNAME |n  |PASSWD|
 * | 5 |   |         |      | 5 |   | 0 |    |4, 1+n, 16| 2  |     | 1 |   |      |   |      |
 * +---+---+---------+      +---+---+---+----+----------+----+     +---+---+------+---+------+
 * ```
 *
 * Lengths are in bytes, ports are big-endian. It holds at most {@link MAX_HELD} bytes, which is more
 * than the longest message; whoever sends less waits, whoever sends more is not read.
 *
 * CONNECT to an IPv4 address or a name, and UDP ASSOCIATE where there is UDP (socks_udp.ts). BIND is
 * answered with "command not supported", IPv6 with "address type not supported".
 *
 * @module
 */

import { readU16, readU32, writeU16, writeU32 } from "../wire/bytes.ts";
import { ipv4ToString, parseIpv4, parseIpv6 } from "../wire/ip_address.ts";
import type { TcpConnection } from "../tcp/connection.ts";
import type { Conversation, Turn } from "./proxy_server.ts";
import { socksName } from "./socks_udp_header.ts";
import type { OpenFault } from "./splice.ts";

/** Bytes that are held at most. */
export const MAX_HELD = 1024;

const VERSION = 5;
const AUTH_VERSION = 1;
const METHOD = { none: 0, userPassword: 2, unacceptable: 0xff } as const;
const COMMAND = { connect: 1, udpAssociate: 3 } as const;
const ADDRESS_TYPE = { ipv4: 1, name: 3, ipv6: 4 } as const;
const REQUEST_ADDRESS = 4;

/** Reply codes (RFC 1928 section 6). */
export const REPLY = {
  /** Connected. */
  succeeded: 0,
  /** General failure. */
  failure: 1,
  /** Host unreachable. */
  hostUnreachable: 4,
  /** Connection refused. */
  refused: 5,
  /** "TTL expired": what comes closest to a time that ran out, and what others say for it. */
  timedOut: 6,
  /** Command not supported. */
  commandNotSupported: 7,
  /** Address type not supported. */
  addressTypeNotSupported: 8,
} as const;

/** The reply for each way not to be connected. */
const REPLY_OF: Readonly<Record<OpenFault, number>> = {
  "unknown-host": REPLY.hostUnreachable,
  "no-port": REPLY.failure,
  "in-use": REPLY.failure,
  "too-many-connections": REPLY.failure,
  refused: REPLY.refused,
  reset: REPLY.refused,
  unreachable: REPLY.hostUnreachable,
  timeout: REPLY.timedOut,
  aborted: REPLY.failure,
};

/** Who may use a proxy. */
export interface SocksCredentials {
  /** User name, 1 to 255 bytes of UTF-8. */
  readonly user: string;
  /** Password, 1 to 255 bytes of UTF-8. */
  readonly password: string;
}

/** The conversation with one client. */
export class Socks5Conversation implements Conversation {
  readonly #bytes = new Uint8Array(new ArrayBuffer(MAX_HELD));
  readonly #user: Uint8Array | undefined;
  readonly #password: Uint8Array | undefined;
  readonly #udp: boolean;
  #length = 0;
  #state: "greeting" | "password" | "request" | "over" = "greeting";

  /**
   * Nothing was said yet.
   *
   * @param credentials Who may use it; undefined: everybody, and no password is asked for.
   * @param udp Whether there is UDP for clients.
   */
  constructor(credentials: SocksCredentials | undefined, udp = false) {
    this.#udp = udp;
    if (credentials === undefined) return;
    this.#user = new TextEncoder().encode(credentials.user);
    this.#password = new TextEncoder().encode(credentials.password);
  }

  /** See {@link Conversation.room}. */
  get room(): number {
    return MAX_HELD - this.#length;
  }

  /** See {@link Conversation.feed}. */
  feed(bytes: Uint8Array, at: number, length: number): void {
    const count = Math.min(length, this.room);
    this.#bytes.set(bytes.subarray(at, at + count), this.#length);
    this.#length += count;
  }

  /** See {@link Conversation.next}. */
  next(): Turn {
    switch (this.#state) {
      case "greeting":
        return this.#greeting();
      case "password":
        return this.#passwordMessage();
      case "request":
        return this.#request();
      case "over":
        return MORE;
    }
  }

  #greeting(): Turn {
    if (this.#length < 1) return MORE;
    // SOCKS4 and HTTP have no answer in this protocol.
    if (this.#bytes[0] !== VERSION) return this.#refuse();
    if (this.#length < 2) return MORE;
    const end = 2 + this.#at(1);
    if (this.#length < end) return MORE;
    const wanted = this.#user === undefined ? METHOD.none : METHOD.userPassword;
    const offered = this.#bytes.subarray(2, end).includes(wanted);
    this.#drop(end);
    if (!offered) return this.#refuse(VERSION, METHOD.unacceptable);
    this.#state = this.#user === undefined ? "request" : "password";
    return say(VERSION, wanted);
  }

  #passwordMessage(): Turn {
    if (this.#length < 1) return MORE;
    if (this.#bytes[0] !== AUTH_VERSION) return this.#refuse(AUTH_VERSION, 1);
    if (this.#length < 2) return MORE;
    const userEnd = 2 + this.#at(1);
    if (this.#length < userEnd + 1) return MORE;
    const end = userEnd + 1 + this.#at(userEnd);
    if (this.#length < end) return MORE;
    const user = isSame(this.#bytes.subarray(2, userEnd), this.#user);
    const password = isSame(this.#bytes.subarray(userEnd + 1, end), this.#password);
    this.#bytes.fill(0, 0, end);
    this.#drop(end);
    if (!user || !password) return this.#refuse(AUTH_VERSION, 1);
    this.#state = "request";
    return say(AUTH_VERSION, 0);
  }

  #request(): Turn {
    if (this.#length < REQUEST_ADDRESS + 1) return MORE;
    if (this.#bytes[0] !== VERSION) return this.#refuse(...reply(REPLY.failure));
    const type = this.#at(3);
    const nameLength = this.#at(REQUEST_ADDRESS);
    let portAt = REQUEST_ADDRESS;
    if (type === ADDRESS_TYPE.ipv4) portAt += 4;
    else if (type === ADDRESS_TYPE.name) portAt += 1 + nameLength;
    else if (type === ADDRESS_TYPE.ipv6) portAt += 16;
    else return this.#refuse(...reply(REPLY.addressTypeNotSupported));
    if (this.#length < portAt + 2) return MORE;
    const bytes = this.#bytes;
    const command = this.#at(1);
    const port = readU16(bytes, portAt);
    const host = type === ADDRESS_TYPE.ipv4
      ? ipv4ToString(readU32(bytes, REQUEST_ADDRESS))
      : socksName(bytes.subarray(REQUEST_ADDRESS + 1, portAt));
    this.#drop(portAt + 2);
    if (command === COMMAND.udpAssociate && this.#udp) {
      // What it says of its own address is not needed: its first datagram says it better.
      this.#state = "over";
      return { kind: "associate", reply: (to) => associated(to.address, to.port) };
    }
    if (command !== COMMAND.connect) return this.#refuse(...reply(REPLY.commandNotSupported));
    if (type === ADDRESS_TYPE.ipv6) return this.#refuse(...reply(REPLY.addressTypeNotSupported));
    if (host === undefined) return this.#refuse(...reply(REPLY.hostUnreachable));
    this.#state = "over";
    return { kind: "dial", host, port };
  }

  /** See {@link Conversation.rest}. */
  rest(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  /** See {@link Conversation.opened}: with the address inside that the connection comes from. */
  opened(connection: TcpConnection): Uint8Array<ArrayBuffer> {
    return reply(REPLY.succeeded, connection.localAddress, connection.localPort);
  }

  /** See {@link Conversation.failed}. */
  failed(fault: OpenFault): Uint8Array<ArrayBuffer> {
    return reply(REPLY_OF[fault]);
  }

  #at(i: number): number {
    return this.#bytes[i] ?? 0;
  }

  #drop(count: number): void {
    this.#bytes.copyWithin(0, count, this.#length);
    this.#length -= count;
  }

  #refuse(...bytes: number[]): Turn {
    this.#state = "over";
    return { kind: "refuse", bytes: Uint8Array.from(bytes) };
  }
}

const MORE: Turn = { kind: "more" };

function say(...bytes: number[]): Turn {
  return { kind: "say", bytes: Uint8Array.from(bytes) };
}

function reply(code: number, address = 0, port = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(10));
  bytes[0] = VERSION;
  bytes[1] = code;
  bytes[3] = ADDRESS_TYPE.ipv4;
  writeU32(bytes, 4, address);
  writeU16(bytes, 8, port);
  return bytes;
}

/** The reply to UDP ASSOCIATE: where to send datagrams. */
function associated(address: string, port: number): Uint8Array<ArrayBuffer> {
  const v6 = parseIpv6(address);
  if (v6 === undefined) return reply(REPLY.succeeded, parseIpv4(address), port);
  const bytes = new Uint8Array(new ArrayBuffer(22));
  bytes[0] = VERSION;
  bytes[3] = ADDRESS_TYPE.ipv6;
  bytes.set(v6, 4);
  writeU16(bytes, 20, port);
  return bytes;
}

/** Takes as long for every `given` of one length. */
function isSame(given: Uint8Array, wanted: Uint8Array | undefined): boolean {
  if (wanted === undefined) return false;
  let difference = given.length ^ wanted.length;
  for (let i = 0; i < given.length; i++) difference |= (given[i] ?? 0) ^ (wanted[i] ?? 0);
  return difference === 0;
}
