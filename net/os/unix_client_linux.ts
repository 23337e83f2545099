/**
 * A connection to a unix socket that can be handed over to another process (unix(7), `SCM_RIGHTS`):
 * what this process would copy both ways, the other one then reads and writes by itself.
 *
 * Its calls block their thread: it is for a program that does nothing else.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { kernelAddress } from "./_stream_address_linux.ts";
import { Span } from "./_span.ts";
import { addressOf, errnoName, Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import { UNIX_PATH_MAX } from "./stream_socket.ts";

const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** `struct msghdr`: where its control message is, and how long. */
const HEADER_CONTROL = 32;
const HEADER_CONTROL_LEN = 40;
/** `struct cmsghdr` (length, level, type), a descriptor, and padding. */
const CONTROL_LEVEL = 8;
const CONTROL_TYPE = 12;
const CONTROL_DATA = 16;
const CONTROL_LEN = 20;
const CONTROL_SPACE = 24;

/** The connection. */
export class UnixClient implements Disposable {
  readonly #c: Libc;
  readonly #fd: Fd;

  private constructor(c: Libc, fd: Fd) {
    this.#c = c;
    this.#fd = fd;
  }

  /**
   * Connects.
   *
   * @throws {OmertaError} `connect-failed`, `ffi-unavailable`.
   */
  static connect(path: string): UnixClient {
    const c = needLibc("connect to a unix socket");
    const fail = (why: string): never => {
      throw new OmertaError("connect-failed", `Cannot connect to ${path}: ${why}`);
    };
    const kernel = kernelAddress({ kind: "unix", path });
    if (kernel === undefined) return fail(`want a path of 1 to ${UNIX_PATH_MAX} bytes`);
    using owned = new DisposableStack();
    const number = c.call.socket(kernel.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const fd = owned.use(new Fd(c, number));
    if (number < 0 || c.call.connect(number, kernel.bytes, kernel.bytes.length) !== 0) {
      return fail(errnoName(c.errno()));
    }
    owned.move();
    return new UnixClient(c, fd);
  }

  /** Its descriptor. */
  get fd(): number {
    return this.#fd.number;
  }

  /** Reads what is there, waiting for it. @returns How many bytes; null at the end, and when it failed. */
  read(bytes: Uint8Array<ArrayBuffer>): Promise<number | null> {
    const count = this.#c.call.read(this.fd, bytes, BigInt(bytes.length));
    return Promise.resolve(count > 0 ? count : null);
  }

  /**
   * Writes.
   *
   * @throws {OmertaError} `write-failed`.
   */
  write(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
    const count = this.#c.call.write(this.fd, bytes, BigInt(bytes.length));
    if (count >= 0) return Promise.resolve(count);
    throw new OmertaError("write-failed", `Cannot write: ${errnoName(this.#c.errno())}`);
  }

  /**
   * Gives whoever is at the other end of unix socket `fd` a descriptor of this connection, with one
   * byte as the protocol of ssh's ProxyUseFdpass has it. False when `fd` is none.
   */
  handOver(fd: number): boolean {
    const control = fixedBytes(CONTROL_SPACE);
    const view = new DataView(control.buffer);
    view.setBigUint64(0, BigInt(CONTROL_LEN), true);
    view.setInt32(CONTROL_LEVEL, SOL_SOCKET, true);
    view.setInt32(CONTROL_TYPE, SCM_RIGHTS, true);
    view.setInt32(CONTROL_DATA, this.fd, true);
    const byte = fixedBytes(1);
    const span = new Span();
    span.set(byte, 0, 1);
    const header = new DataView(span.message.buffer);
    header.setBigUint64(HEADER_CONTROL, addressOf(control), true);
    header.setBigUint64(HEADER_CONTROL_LEN, BigInt(CONTROL_SPACE), true);
    return this.#c.call.sendmsg(fd, span.message, 0) === 1;
  }

  /** Closes it; who was handed it keeps it. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}
