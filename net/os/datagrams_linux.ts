/**
 * Datagrams on Linux: AF_INET sockets, one `sendmsg` for each datagram and a `recvmmsg` for up to
 * {@link SLOTS}. Echo requests go by the sockets of icmp(7), which need no privilege, but a group that
 * `net.ipv4.ping_group_range` of their network namespace allows: the kernel makes the identifier, and
 * hands over echo replies with it.
 *
 * Queues in the kernel are as long as the system has them by default: with thousands of sockets more
 * would be a way to use its memory up.
 *
 * @module
 */

import { readU16, readU32, writeU16, writeU32 } from "../wire/bytes.ts";
import { Span } from "./_span.ts";
import type { DatagramFault, Datagrams, DatagramSocket, DatagramTaker } from "./datagram_socket.ts";
import { cInt, ERRNO, Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import { MessageBatch } from "./message_batch.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const IPPROTO_UDP = 17;
const IPPROTO_ICMP = 1;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of `struct sockaddr_in`, and where its fields are. */
const SOCKADDR_IN = 16;
const PORT = 2;
const ADDRESS = 4;
/** Messages for each `recvmmsg`, each of the longest datagram there is. */
const SLOTS = 16;
const SLOT_SIZE = 65536;

/**
 * Datagrams by the C library.
 *
 * @throws {OmertaError} `ffi-unavailable`.
 */
export function openDatagramsLinux(): Datagrams {
  return new LinuxDatagrams(needLibc("open datagram sockets"));
}

class LinuxDatagrams implements Datagrams {
  readonly c: Libc;
  readonly batch = new MessageBatch(SLOTS, fixedBytes(SLOTS * SLOT_SIZE), SOCKADDR_IN);
  /** What is sent, and to whom. */
  readonly #out = fixedBytes(SLOT_SIZE);
  readonly #name = fixedBytes(SOCKADDR_IN);
  readonly #span = new Span();

  constructor(c: Libc) {
    this.c = c;
    for (let i = 0; i < SLOTS; i++) this.batch.setData(i, i * SLOT_SIZE, SLOT_SIZE);
    this.#name[0] = AF_INET;
    this.#span.setName(this.#name);
  }

  openUdp(): DatagramSocket | undefined {
    return this.#open(IPPROTO_UDP);
  }

  openPing(): DatagramSocket | undefined {
    return this.#open(IPPROTO_ICMP);
  }

  #open(protocol: number): DatagramSocket | undefined {
    const { call } = this.c;
    const number = call.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (number < 0) return undefined;
    using owned = new DisposableStack();
    const fd = owned.use(new Fd(this.c, number));
    // Never DF: what is too long for the path goes in fragments.
    call.setsockopt(number, IPPROTO_IP, IP_MTU_DISCOVER, NO_DISCOVERY, 4);
    const name = fixedBytes(SOCKADDR_IN);
    name[0] = AF_INET;
    if (call.bind(number, name, SOCKADDR_IN) !== 0) return undefined;
    call.getsockname(number, name, cInt(SOCKADDR_IN));
    owned.move();
    return new LinuxDatagramSocket(this, fd, readU16(name, PORT));
  }

  send(
    fd: number,
    address: number,
    port: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): DatagramFault | undefined {
    if (length > SLOT_SIZE) return "unreachable";
    this.#out.set(bytes.subarray(at, at + length));
    this.#span.set(this.#out, 0, length);
    writeU16(this.#name, PORT, port);
    writeU32(this.#name, ADDRESS, address);
    while (true) {
      const sent = this.c.call.sendmsg(fd, this.#span.message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) return undefined;
      switch (this.c.errno()) {
        case ERRNO.EINTR:
          continue;
        case ERRNO.EAGAIN:
        case ERRNO.ENOBUFS:
        case ERRNO.ENOMEM:
          return "full";
        default:
          // No route, a firewall, or (EACCES) a network's broadcast address.
          return "unreachable";
      }
    }
  }
}

const NO_DISCOVERY = cInt(0);

class LinuxDatagramSocket implements DatagramSocket {
  readonly port: number;
  readonly waiting = 0;
  onReadable: (() => void) | undefined;
  readonly #datagrams: LinuxDatagrams;
  readonly #fd: Fd;

  constructor(datagrams: LinuxDatagrams, fd: Fd, port: number) {
    this.#datagrams = datagrams;
    this.#fd = fd;
    this.port = port;
  }

  get fd(): number {
    return this.#fd.number;
  }

  send(
    address: number,
    port: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): DatagramFault | undefined {
    return this.#datagrams.send(this.#fd.number, address, port, bytes, at, length);
  }

  drain(taker: DatagramTaker, limit: number): number {
    const { batch, c } = this.#datagrams;
    const { arena, names } = batch;
    let total = 0;
    while (total < limit && this.#fd.number >= 0) {
      const want = Math.min(SLOTS, limit - total);
      batch.prepareReceive(want, false);
      const got = c.call.recvmmsg(this.#fd.number, batch.headers, want, MSG_DONTWAIT, null);
      // EAGAIN: empty.
      if (got <= 0) break;
      for (let i = 0; i < got; i++) {
        const name = i * SOCKADDR_IN;
        const address = readU32(names, name + ADDRESS);
        taker.take(arena, i * SLOT_SIZE, batch.received(i), address, readU16(names, name + PORT));
      }
      total += got;
      if (got < want) break;
    }
    return total;
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}
