/**
 * Sees every frame of every interface of a network namespace, and sends frames as they are
 * (packet(7)). For looking on, not for speed: one system call for each frame.
 *
 * @module
 */

import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { interfaceRequest } from "./interface_config.ts";
import { errnoName, Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import { insideNamespace } from "./namespace_linux.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
/** `ETH_P_ALL` in network byte order. */
const ALL_TYPES = 0x0300;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const SIOCGIFINDEX = 0x8933n;
const IFREQ_VALUE = 16;
/** Room for what waits to be looked at, in bytes. */
const RECEIVE_BUFFER = 4 << 20;
/** Longest frame that is read whole: one that is joined from segments. */
const FRAME_MAX = 65536 + 64;
/** `sizeof(struct sockaddr_ll)`, and offsets in it. */
const SOCKADDR_LL = 20;
const SLL_IFINDEX = 4;
const SLL_PKTTYPE = 10;
/** PACKET_OUTGOING: this computer sends it. */
const OUTGOING = 4;

/** Where a frame was seen. */
export interface FramePlace {
  /** Number of the interface. */
  readonly ifindex: number;
  /** Whether this computer sends it there, rather than having received it. */
  readonly isOutgoing: boolean;
}

/** A socket that sees everything in its namespace. */
export class PacketTap implements Disposable {
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #path: string;
  readonly #buffer = fixedBytes(FRAME_MAX);
  readonly #name = fixedBytes(SOCKADDR_LL);
  readonly #nameLength = fixedBytes(4);
  #lost = 0;

  /**
   * Opens one in the namespace at `path`.
   *
   * @throws {OmertaError} `tap-failed`, `namespace-failed`.
   */
  constructor(path: string) {
    this.#c = needLibc("look at frames");
    this.#path = path;
    this.#fd = openPacketSocket(this.#c, path, undefined);
    const size = fixedBytes(4);
    new DataView(size.buffer).setInt32(0, RECEIVE_BUFFER, true);
    this.#c.call.setsockopt(this.#fd.number, SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
  }

  /** Frames that came faster than they were looked at, and were lost. */
  get lost(): number {
    const statistics = fixedBytes(8);
    const length = fixedBytes(4);
    new DataView(length.buffer).setInt32(0, 8, true);
    const { call } = this.#c;
    // Reading the counters sets them to zero.
    if (call.getsockopt(this.#fd.number, SOL_PACKET, PACKET_STATISTICS, statistics, length) === 0) {
      this.#lost += new DataView(statistics.buffer).getUint32(4, true);
    }
    return this.#lost;
  }

  /** Shows every frame that waits, and where; the bytes are gone after `look` has returned. */
  drain(look: (frame: Uint8Array, place: FramePlace) => void): void {
    const name = new DataView(this.#name.buffer);
    const nameLength = new DataView(this.#nameLength.buffer);
    while (true) {
      nameLength.setUint32(0, SOCKADDR_LL, true);
      const length = this.#c.call.recvfrom(
        ...[this.#fd.number, this.#buffer, BigInt(FRAME_MAX), 0] as const,
        ...[this.#name, this.#nameLength] as const,
      );
      if (length < 0) return;
      look(this.#buffer.subarray(0, length), {
        ifindex: name.getInt32(SLL_IFINDEX, true),
        isOutgoing: name.getUint8(SLL_PKTTYPE) === OUTGOING,
      });
    }
  }

  /**
   * Sends frames as they are by an interface of the namespace.
   *
   * @returns How many the kernel took.
   * @throws {OmertaError} `tap-failed`.
   */
  send(name: string, frames: readonly Uint8Array[]): number {
    using fd = openPacketSocket(this.#c, this.#path, name);
    return frames.filter((frame) => {
      const bytes = fixedBytes(frame.length);
      bytes.set(frame);
      return this.#c.call.write(fd.number, bytes, BigInt(bytes.length)) === bytes.length;
    }).length;
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

/** Of one interface, or of all. */
function openPacketSocket(c: Libc, path: string, name: string | undefined): Fd {
  return insideNamespace(path, () => {
    using owned = new DisposableStack();
    const flags = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const number = c.call.socket(AF_PACKET, flags, name === undefined ? ALL_TYPES : 0);
    if (number < 0) throw failed(path, errnoName(c.errno()));
    const fd = owned.use(new Fd(c, number));
    if (name !== undefined) bindTo(c, number, path, name);
    owned.move();
    return fd;
  });
}

function bindTo(c: Libc, number: number, path: string, name: string): void {
  const request = interfaceRequest(name);
  if (c.call.ioctl(number, SIOCGIFINDEX, request) !== 0) {
    throw failed(`${name} in ${path}`, errnoName(c.errno()));
  }
  const index = new DataView(request.buffer).getInt32(IFREQ_VALUE, true);
  const address = fixedBytes(SOCKADDR_LL);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setInt32(4, index, true);
  if (c.call.bind(number, address, SOCKADDR_LL) !== 0) {
    throw failed(`${name} in ${path}`, errnoName(c.errno()));
  }
}

function failed(where: string, why: string): OmertaError {
  return new OmertaError("tap-failed", `Cannot look at the frames of ${where}: ${why}`, {
    exit: EXIT.missing,
    next: "Run it as root",
  });
}
