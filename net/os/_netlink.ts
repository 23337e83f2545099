/**
 * Messages to and from the kernel's routing socket: rtnetlink(7), one request at a time.
 *
 * ```
 * struct nlmsghdr  0 length u32 | 4 type u16 | 6 flags u16 | 8 sequence u32 | 12 port u32
 * attribute        0 length u16 | 2 type u16 | value, padded to 4
 * ```
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { errnoName, Fd, fixedBytes, needLibc } from "./libc.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const HEADER_LEN = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
/** Longest answer that is read at once, in bytes. */
const ANSWER_LEN = 65_536;
/** The kernel answers while it is asked; this is for one that does not, in s. */
const PATIENCE_S = 5n;

/** Flags of requests. */
export const NLM_F = { request: 1, ack: 4, dump: 0x300, excl: 0x200, create: 0x400 } as const;

/** A request that the kernel refused. */
export class NetlinkError extends OmertaError {
  /** Number of the error. */
  readonly errno: number;

  /** @param what What was asked for. */
  constructor(what: string, errno: number) {
    super("netlink-failed", `Cannot ${what}: ${errnoName(errno)}`);
    this.errno = errno;
  }
}

/** An attribute. */
export function attribute(type: number, value: Uint8Array): Uint8Array {
  const out = new Uint8Array((4 + value.length + 3) & ~3);
  const view = new DataView(out.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  out.set(value, 4);
  return out;
}

/** A number as the value of an attribute. */
export function u32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}

/** Text as the value of an attribute, with a final zero. */
export function text(value: string): Uint8Array {
  return new Uint8Array([...new TextEncoder().encode(value), 0]);
}

/** Several pieces as one. */
export function joined(...pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** The attributes in `bytes`, by type; the last of a type counts. */
export function attributesOf(bytes: Uint8Array): Map<number, Uint8Array> {
  const out = new Map<number, Uint8Array>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) break;
    // The highest bits say "nested" and "in network order".
    out.set(view.getUint16(at + 2, true) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return out;
}

/** The value of a number attribute; undefined when it is missing. */
export function numberOf(value: Uint8Array | undefined): number | undefined {
  if (value === undefined || value.length < 4) return undefined;
  return new DataView(value.buffer, value.byteOffset).getUint32(0, true);
}

/** The value of a text attribute; undefined when it is missing. */
export function textOf(value: Uint8Array | undefined): string | undefined {
  return value && new TextDecoder().decode(value).replace(/\0.*$/s, "");
}

/**
 * Asks the kernel and returns the bodies of its answers, of which an acknowledgement has none.
 *
 * @param what For the error: "find the route to 192.0.2.1".
 * @throws {NetlinkError} With the kernel's error number.
 */
export function ask(what: string, type: number, flags: number, body: Uint8Array): Uint8Array[] {
  const c = needLibc(what);
  const number = c.call.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (number < 0) throw new NetlinkError(what, c.errno());
  using fd = new Fd(c, number);
  const patience = fixedBytes(16);
  new DataView(patience.buffer).setBigInt64(0, PATIENCE_S, true);
  c.call.setsockopt(fd.number, SOL_SOCKET, SO_RCVTIMEO, patience, patience.length);
  const request = fixedBytes(HEADER_LEN + body.length);
  const head = new DataView(request.buffer);
  head.setUint32(0, request.length, true);
  head.setUint16(4, type, true);
  head.setUint16(6, NLM_F.request | flags, true);
  head.setUint32(8, 1, true);
  request.set(body, HEADER_LEN);
  if (Number(c.call.write(fd.number, request, BigInt(request.length))) < 0) {
    throw new NetlinkError(what, c.errno());
  }
  const isDump = (flags & NLM_F.dump) === NLM_F.dump;
  const answers: Uint8Array[] = [];
  const buffer = fixedBytes(ANSWER_LEN);
  for (;;) {
    const length = Number(c.call.read(fd.number, buffer, BigInt(buffer.length)));
    if (length <= 0) throw new NetlinkError(what, c.errno());
    const view = new DataView(buffer.buffer, 0, length);
    for (let at = 0; at + HEADER_LEN <= length;) {
      const size = view.getUint32(at, true);
      if (size < HEADER_LEN || at + size > length) break;
      const kind = view.getUint16(at + 4, true);
      if (kind === NLMSG_DONE) return answers;
      if (kind === NLMSG_ERROR) {
        const errno = -view.getInt32(at + HEADER_LEN, true);
        if (errno !== 0) throw new NetlinkError(what, errno);
        return answers;
      }
      answers.push(buffer.slice(at + HEADER_LEN, at + size));
      at += (size + 3) & ~3;
    }
    if (!isDump && (flags & NLM_F.ack) === 0) return answers;
  }
}
