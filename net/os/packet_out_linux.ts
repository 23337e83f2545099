/**
 * Puts whole frames on an interface of the host, by a packet(7) socket that receives nothing.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { addressOf, errnoName, Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOCK_NONBLOCK = 0x800;
/** Bytes of `struct sockaddr_ll`. */
const SOCKADDR_LL_LEN = 20;
const IOVEC_LEN = 16;

/** The way out of one interface. */
export class PacketOut implements Disposable {
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #iovec = fixedBytes(IOVEC_LEN);
  readonly #view = new DataView(this.#iovec.buffer);

  /**
   * Opens a socket.
   *
   * @param ifindex Number of the interface.
   * @param frame Memory that frames are sent from.
   * @throws {OmertaError} `interface-failed`.
   */
  constructor(ifindex: number, frame: Uint8Array<ArrayBuffer>) {
    const c = needLibc("send frames");
    using undo = new DisposableStack();
    const fail = (): OmertaError =>
      new OmertaError(
        "interface-failed",
        `Cannot send frames by interface ${ifindex}: ${errnoName(c.errno())}`,
      );
    const number = c.call.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (number < 0) throw fail();
    this.#c = c;
    this.#fd = undo.use(new Fd(c, number));
    const name = fixedBytes(SOCKADDR_LL_LEN);
    new DataView(name.buffer).setUint16(0, AF_PACKET, true);
    new DataView(name.buffer).setInt32(4, ifindex, true);
    if (c.call.bind(number, name, SOCKADDR_LL_LEN) !== 0) throw fail();
    this.#view.setBigUint64(0, addressOf(frame), true);
    undo.move();
  }

  /** Sends the first `length` bytes of the memory; lost like any frame when there is no room. */
  send(length: number): void {
    this.#view.setUint32(8, length, true);
    this.#c.call.writev(this.#fd.number, this.#iovec, 1);
  }

  /** Closes the socket. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}
