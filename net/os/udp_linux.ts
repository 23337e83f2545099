/**
 * UDP on Linux: `recvmmsg` with UDP_GRO, `sendmmsg` with UDP_SEGMENT (udp(7)).
 *
 * One AF_INET6 socket serves both families. Receiving takes up to 32 messages per call, each of which
 * may hold up to 64 datagrams of one sender that the kernel has put together. Sending does the
 * reverse: consecutive datagrams of equal length to one address become one message that the kernel,
 * or the network card, cuts up again; only the last one may be shorter. When the kernel's queue is
 * full, what is committed is kept, and whoever commits more should wait: `blocked` says so.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { Endpoint, SOCKADDR_LEN } from "./endpoint.ts";
import { cInt, ERRNO, errnoName, Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import { MessageBatch } from "./message_batch.ts";
import { type DatagramHandler, SocketCounters, type UdpSocket } from "./packet_socket.ts";
import type { DatagramSink } from "./sink.ts";
import { portInUse, type UdpOptions } from "./udp_options.ts";

const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const IPV6_V6ONLY = 26;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
/** Bytes asked for the queue of what has arrived: a burst must find room while others have turns. */
const RECEIVE_BUFFER = 8 << 20;
/**
 * Bytes asked for the queue of what is to be sent; the kernel doubles it. Everything that leaves this
 * node stands in that queue, so its length is what a heartbeat waits behind a guest that fills the
 * line: 84 ms at 100 Mbit/s. It holds 1 ms, after which a full queue is tried again, at 8 Gbit/s.
 */
const SEND_BUFFER = 512 << 10;
/** Messages per `recvmmsg`; each slot holds the longest coalesced message there is. */
const RECEIVE_SLOTS = 32;
const SLOT_SIZE = 65536;
/** Messages per `sendmmsg` and bytes that they share. */
const SEND_MESSAGES = 128;
const SEND_ARENA = 1 << 20;
/** UDP_MAX_SEGMENTS of the kernel. */
const MAX_SEGMENTS = 64;
/** Longest coalesced message: 65535 less IP and UDP headers, with room to spare (bytes). */
const MAX_COALESCED = 65000;

/**
 * Opens a UDP socket.
 *
 * @throws {OmertaError} `port-in-use`, `socket-failed`, `ffi-unavailable`.
 */
export function openUdpLinux(options: UdpOptions): UdpSocket {
  const c = needLibc("open a UDP socket");
  using owned = new DisposableStack();
  const number = c.call.socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (number < 0) throw socketFailed("open", options.port, c.errno());
  const fd = owned.use(new Fd(c, number));
  c.call.setsockopt(number, IPPROTO_IPV6, IPV6_V6ONLY, cInt(0), 4);
  // Never DF: a path too narrow for the tunnel's packets then carries fragments, where it would
  // otherwise swallow them. The kernel's WireGuard does the same.
  c.call.setsockopt(number, IPPROTO_IP, IP_MTU_DISCOVER, cInt(0), 4);
  c.call.setsockopt(number, IPPROTO_IPV6, IPV6_MTU_DISCOVER, cInt(0), 4);
  raise(c, number, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
  raise(c, number, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER);
  const gro = c.call.setsockopt(number, SOL_UDP, UDP_GRO, cInt(1), 4) === 0;
  const name = fixedBytes(SOCKADDR_LEN);
  const local = Endpoint.of(options.address ?? "::", options.port);
  if (local === undefined) throw socketFailed("bind", options.port, ERRNO.EINVAL);
  name.set(local.sockaddr);
  if (c.call.bind(number, name, SOCKADDR_LEN) !== 0) {
    const errno = c.errno();
    if (errno === ERRNO.EADDRINUSE) throw portInUse(options.port);
    throw socketFailed("bind", options.port, errno);
  }
  c.call.getsockname(number, name, cInt(SOCKADDR_LEN));
  owned.move();
  return new LinuxUdpSocket(c, fd, ((name[2] ?? 0) << 8) | (name[3] ?? 0), gro);
}

function socketFailed(what: string, port: number, errno: number): OmertaError {
  return new OmertaError(
    "socket-failed",
    `Cannot ${what} UDP port ${port}: ${errnoName(errno)}`,
    errno === ERRNO.EACCES ? { next: "Choose a port above 1023" } : {},
  );
}

function raise(c: Libc, fd: number, force: number, plain: number, bytes: number): void {
  const size = cInt(bytes);
  if (c.call.setsockopt(fd, SOL_SOCKET, force, size, 4) === 0) return;
  c.call.setsockopt(fd, SOL_SOCKET, plain, size, 4);
}

class LinuxUdpSocket implements UdpSocket {
  readonly port: number;
  readonly out: LinuxUdpSink;
  readonly counters = new SocketCounters();
  readonly waiting = 0;
  onReadable: (() => void) | undefined;

  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #gro: boolean;
  readonly #batch: MessageBatch;

  constructor(c: Libc, fd: Fd, port: number, gro: boolean) {
    this.#c = c;
    this.#fd = fd;
    this.#gro = gro;
    this.port = port;
    this.#batch = new MessageBatch(
      RECEIVE_SLOTS,
      fixedBytes(RECEIVE_SLOTS * SLOT_SIZE),
      SOCKADDR_LEN,
    );
    for (let i = 0; i < RECEIVE_SLOTS; i++) this.#batch.setData(i, i * SLOT_SIZE, SLOT_SIZE);
    this.out = new LinuxUdpSink(c, fd, this.counters);
  }

  get fd(): number {
    return this.#fd.number;
  }

  get blocked(): boolean {
    return this.out.blocked;
  }

  drain(handler: DatagramHandler, limit: number): number {
    const batch = this.#batch;
    const { arena, names } = batch;
    const counters = this.counters;
    let total = 0;
    while (total < limit) {
      const want = Math.min(RECEIVE_SLOTS, limit - total);
      batch.prepareReceive(want, this.#gro);
      const got = this.#c.call.recvmmsg(
        this.#fd.number,
        batch.headers,
        want,
        MSG_DONTWAIT,
        null,
      );
      // EAGAIN: empty. Anything else is an ICMP error of an earlier datagram, now cleared.
      if (got <= 0) break;
      counters.receiveCalls++;
      for (let i = 0; i < got; i++) {
        const length = batch.received(i);
        if (batch.truncated(i)) {
          counters.truncated++;
          continue;
        }
        counters.receivedBytes += length;
        const segment = batch.control(i, SOL_UDP, UDP_GRO) || length;
        const start = i * SLOT_SIZE;
        const end = start + length;
        const nameAt = i * SOCKADDR_LEN;
        let at = start;
        do {
          handler.receive(arena, at, Math.min(segment, end - at), names, nameAt);
          total++;
          at += segment;
        } while (at < end);
      }
      if (got < want) break;
    }
    counters.received += total;
    return total;
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

class LinuxUdpSink implements DatagramSink {
  readonly buffer: Uint8Array<ArrayBuffer> = fixedBytes(SEND_ARENA);

  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #counters: SocketCounters;
  readonly #batch: MessageBatch;
  // Parallel arrays, one entry per message: where it starts, its length, its segment size.
  readonly #start = new Uint32Array(SEND_MESSAGES);
  readonly #length = new Uint32Array(SEND_MESSAGES);
  readonly #segment = new Uint32Array(SEND_MESSAGES);
  readonly #to: (Endpoint | undefined)[] = new Array(SEND_MESSAGES).fill(undefined);
  // The messages before this one are with the kernel already.
  #next = 0;
  #count = 0;
  #end = 0;
  #blocked = false;
  // Whether the last message may grow: every datagram in it is a full segment.
  #open = false;
  #gso = true;

  constructor(c: Libc, fd: Fd, counters: SocketCounters) {
    this.#c = c;
    this.#fd = fd;
    this.#counters = counters;
    this.#batch = new MessageBatch(SEND_MESSAGES, this.buffer, SOCKADDR_LEN);
  }

  /** Whether the kernel's queue is full; what was committed is kept and goes with the next flush. */
  get blocked(): boolean {
    return this.#blocked;
  }

  reserve(size: number): number {
    if (this.#hasRoom(size)) return this.#end;
    this.flush();
    if (this.#hasRoom(size)) return this.#end;
    this.#counters.full++;
    return -1;
  }

  #hasRoom(size: number): boolean {
    return this.#end + size <= SEND_ARENA && this.#count < SEND_MESSAGES;
  }

  commit(length: number, to: Endpoint): void {
    const at = this.#end;
    this.#end = at + length;
    const last = this.#count - 1;
    if (this.#open && this.#joins(last, length, to)) {
      const total = (this.#length[last] ?? 0) + length;
      this.#length[last] = total;
      const segment = this.#segment[last] ?? 0;
      this.#open = length === segment && total < segment * MAX_SEGMENTS;
      return;
    }
    const i = this.#count++;
    this.#start[i] = at;
    this.#length[i] = length;
    this.#segment[i] = length;
    if (this.#to[i] !== to) {
      this.#to[i] = to;
      this.#batch.names.set(to.sockaddr, i * SOCKADDR_LEN);
    }
    this.#open = this.#gso && length > 0;
    if (this.#count === SEND_MESSAGES) {
      // The table is full; what is committed goes out now.
      this.flush();
    }
  }

  #joins(last: number, length: number, to: Endpoint): boolean {
    const segment = this.#segment[last] ?? 0;
    if (length > segment || length === 0) return false;
    if ((this.#length[last] ?? 0) + length > MAX_COALESCED) return false;
    const before = this.#to[last];
    return before === to || (before !== undefined && before.equals(to));
  }

  flush(): void {
    const count = this.#count;
    if (count === 0) {
      this.#end = 0;
      return;
    }
    const batch = this.#batch;
    let next = this.#next;
    for (let i = next; i < count; i++) {
      const length = this.#length[i] ?? 0;
      const segment = this.#segment[i] ?? 0;
      batch.setData(i, this.#start[i] ?? 0, length);
      if (segment < length) batch.setControl(i, SOL_UDP, UDP_SEGMENT, segment);
      else batch.clearControl(i);
    }
    while (next < count) {
      this.#counters.sendCalls++;
      const taken = this.#c.call.sendmmsg(
        this.#fd.number,
        batch.headersFrom(next),
        count - next,
        MSG_DONTWAIT,
      );
      if (taken > 0) {
        for (let i = next; i < next + taken; i++) this.#countSent(i);
        next += taken;
        continue;
      }
      const errno = this.#c.errno();
      if (errno === ERRNO.EINTR) continue;
      if (errno === ERRNO.EAGAIN || errno === ERRNO.ENOBUFS) {
        // Kept: dropping would hit whoever has the turn, however little they send.
        this.#next = next;
        this.#blocked = true;
        this.#open = false;
        return;
      }
      // The first message of the call is what was refused.
      const coalesced = (this.#segment[next] ?? 0) < (this.#length[next] ?? 0);
      if (coalesced && this.#isGsoRefusal(errno)) this.#sendPlain(next);
      else this.#counters.refused += this.#datagrams(next);
      next++;
    }
    this.#blocked = false;
    this.#next = 0;
    this.#count = 0;
    this.#end = 0;
    this.#open = false;
  }

  #isGsoRefusal(errno: number): boolean {
    // EIO: the card cannot checksum, and never will. EINVAL, EMSGSIZE: the segments do not fit this
    // path, where single datagrams may be fragmented.
    if (errno === ERRNO.EIO) this.#gso = false;
    return errno === ERRNO.EIO || errno === ERRNO.EINVAL || errno === ERRNO.EMSGSIZE;
  }

  /** Sends the datagrams of a message one by one. Rare: allocates. */
  #sendPlain(i: number): void {
    const start = this.#start[i] ?? 0;
    const end = start + (this.#length[i] ?? 0);
    const segment = this.#segment[i] ?? 0;
    const single = this.#batch.headersFrom(i);
    this.#batch.clearControl(i);
    for (let at = start; at < end; at += segment) {
      const length = Math.min(segment, end - at);
      this.#batch.setData(i, at, length);
      this.#counters.sendCalls++;
      if (this.#c.call.sendmmsg(this.#fd.number, single, 1, MSG_DONTWAIT) === 1) {
        this.#counters.sent++;
        this.#counters.sentBytes += length;
      } else if (this.#c.errno() === ERRNO.EAGAIN) this.#counters.full++;
      else this.#counters.refused++;
    }
  }

  #datagrams(i: number): number {
    return Math.max(1, Math.ceil((this.#length[i] ?? 0) / (this.#segment[i] || 1)));
  }

  #countSent(i: number): void {
    this.#counters.sent += this.#datagrams(i);
    this.#counters.sentBytes += this.#length[i] ?? 0;
  }
}
