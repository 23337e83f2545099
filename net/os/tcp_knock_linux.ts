/**
 * Knocks at a TCP port from within a network namespace: is somebody there, and what do they say.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { writeU16, writeU32 } from "../wire/bytes.ts";
import { ERRNO, Fd, fixedBytes, needLibc } from "./libc.ts";
import { insideNamespace } from "./namespace_linux.ts";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOCKADDR_IN = 16;
/** Longest word of whoever answers, in bytes. */
const WORD_MAX = 256;
const POLL_MS = 5;

/** Where to knock, and from where. */
export interface Knock {
  /** Path of the namespace. */
  readonly path: string;
  /** IPv4 address, unsigned 32 bits. */
  readonly address: number;
  /** TCP port. */
  readonly port: number;
  /** How long to wait, in ms. */
  readonly timeoutMs: number;
}

/**
 * The first bytes that the other side says; `refused` when nobody listens there, and undefined when
 * nothing came in time.
 */
export async function knockTcp(knock: Knock): Promise<Uint8Array | "refused" | undefined> {
  const c = needLibc("knock at a TCP port");
  using fd = insideNamespace(knock.path, () => {
    return new Fd(c, c.call.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  });
  const address = fixedBytes(SOCKADDR_IN);
  new DataView(address.buffer).setUint16(0, AF_INET, true);
  writeU16(address, 2, knock.port);
  writeU32(address, 4, knock.address);
  if (c.call.connect(fd.number, address, SOCKADDR_IN) !== 0) {
    const errno = c.errno();
    if (errno === ERRNO.ECONNREFUSED) return "refused";
    if (errno !== ERRNO.EINPROGRESS) return undefined;
  }
  const deadline = performance.now() + knock.timeoutMs;
  const buffer = fixedBytes(WORD_MAX);
  while (performance.now() < deadline) {
    const length = c.call.read(fd.number, buffer, BigInt(WORD_MAX));
    if (length >= 0) return buffer.slice(0, length);
    if (c.errno() === ERRNO.ECONNREFUSED) return "refused";
    await pause(POLL_MS);
  }
  return undefined;
}
