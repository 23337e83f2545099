/**
 * Stream sockets on Linux: non-blocking, and waited for by one `epoll(7)`, whose descriptor is what
 * the loop's `poll` sees. So thousands of idle connections cost the loop nothing.
 *
 * It is level-triggered: whoever is watched for something is told by every `serve` while that lasts.
 * A failure is told whatever is watched for. At most {@link BATCH} sockets are told in one `serve`;
 * the kernel begins the next one behind them. There is no cap here but the process's on descriptors.
 *
 * It is one file because sockets and listeners are entries of one table, by which events find them.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import { OTHERS_MASK, removeSocketFile } from "./_socket_file.ts";
import { addressIn, faultOf, kernelAddress, SOCKADDR_LEN } from "./_stream_address_linux.ts";
import { Span } from "./_span.ts";
import { cInt, ERRNO, errnoName, Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import type { Watchable } from "./packet_socket.ts";
import {
  listenFailed,
  noAddress,
  STREAM,
  type StreamAddress,
  type StreamFault,
  streamInUse,
  type StreamListener,
  type StreamOwner,
  type Streams,
  type StreamSocket,
} from "./stream_socket.ts";

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_LINGER = 13;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SHUT_WR = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const EPOLL_CLOEXEC = 0x80000;
const EPOLL_CTL = { add: 1, del: 2, mod: 3 } as const;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const EPOLLERR = 8;
/** Connections that wait to be accepted; the kernel lowers it to its own limit. */
const BACKLOG = 4096;
/** Sockets that are told in one turn. */
const BATCH = 256;
/** Accepted connections that may be gone already before `accept` says that there is none. */
const MAX_ABORTED = 64;
const LINGER_RESET = fixedBytes(8);
LINGER_RESET[0] = 1;

// `struct epoll_event` is packed on x86-64, and only there.
const EVENT_DATA = Deno.build.arch === "x86_64" ? 4 : 8;
const EVENT_SIZE = EVENT_DATA + 8;

/**
 * Stream sockets by `epoll`.
 *
 * @throws {OmertaError} `ffi-unavailable`, `reactor-failed`.
 */
export function openStreamsLinux(): Streams {
  const c = needLibc("open stream sockets");
  const number = c.call.epoll_create1(EPOLL_CLOEXEC);
  if (number < 0) {
    const why = errnoName(c.errno());
    throw new OmertaError("reactor-failed", `Cannot wait for stream sockets: ${why}`);
  }
  return new LinuxStreams(c, new Fd(c, number));
}

/** Something `epoll` reports on. */
interface Entry {
  /** Tells these sockets apart from those that had their place before. */
  readonly generation: number;
  /** Called with what `epoll` says. */
  onEvents(events: number): void;
}

class LinuxStreams implements Streams {
  readonly waiting = 0;
  onReadable: (() => void) | undefined;
  readonly c: Libc;
  readonly span = new Span();
  readonly #epoll: Fd;
  readonly #entries: (Entry | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #events = fixedBytes(BATCH * EVENT_SIZE);
  readonly #eventsView = new DataView(this.#events.buffer);
  readonly #event = fixedBytes(16);
  readonly #eventView = new DataView(this.#event.buffer);
  #generation = 0;

  constructor(c: Libc, epoll: Fd) {
    this.c = c;
    this.#epoll = epoll;
  }

  get fd(): number {
    return this.#epoll.number;
  }

  listen(address: StreamAddress, onConnection: () => void): StreamListener {
    const { c } = this;
    const kernel = kernelAddress(address);
    if (kernel === undefined) throw noAddress(address);
    using owned = new DisposableStack();
    const number = c.call.socket(kernel.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (number < 0) throw listenFailed(address, errnoName(c.errno()));
    const fd = owned.use(new Fd(c, number));
    c.call.setsockopt(number, SOL_SOCKET, SO_REUSEADDR, cInt(1), 4);
    if (address.kind === "unix") removeSocketFile(address.path);
    if (c.call.bind(number, kernel.bytes, kernel.bytes.length) !== 0) {
      const errno = c.errno();
      if (errno === ERRNO.EADDRINUSE) throw streamInUse(address);
      throw listenFailed(address, errnoName(errno));
    }
    // Before `listen`: until then nobody can connect.
    if (address.kind === "unix") Deno.chmodSync(address.path, 0o777 & ~OTHERS_MASK);
    if (c.call.listen(number, BACKLOG) !== 0) {
      const errno = c.errno();
      if (errno === ERRNO.EADDRINUSE) throw streamInUse(address);
      throw listenFailed(address, errnoName(errno));
    }
    let port = 0;
    if (address.kind === "tcp") {
      const name = fixedBytes(SOCKADDR_LEN);
      c.call.getsockname(number, name, cInt(name.length));
      port = ((name[2] ?? 0) << 8) | (name[3] ?? 0);
    }
    const path = address.kind === "unix" ? address.path : undefined;
    const listener = new LinuxListener(this, fd, port, path, onConnection);
    owned.move();
    return listener;
  }

  connect(address: StreamAddress, owner: StreamOwner): StreamSocket | StreamFault {
    const { c } = this;
    const kernel = kernelAddress(address);
    if (kernel === undefined) return "bad-address";
    const number = c.call.socket(kernel.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (number < 0) return faultOf(c.errno());
    using owned = new DisposableStack();
    const fd = owned.use(new Fd(c, number));
    if (address.kind === "tcp") this.noDelay(number);
    const done = c.call.connect(number, kernel.bytes, kernel.bytes.length) === 0;
    if (!done) {
      const errno = c.errno();
      // Interrupted, it goes on by itself (connect(2)).
      if (errno !== ERRNO.EINPROGRESS && errno !== ERRNO.EINTR) return faultOf(errno);
    }
    const socket = LinuxSocket.open(this, fd, owner, true);
    if (socket === undefined) return "no-descriptors";
    owned.move();
    return socket;
  }

  add(source: Watchable, ready: () => void): Disposable | undefined {
    return LinuxSource.open(this, source, ready);
  }

  noDelay(fd: number): void {
    this.c.call.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ONE, 4);
  }

  serve(): void {
    const count = this.c.call.epoll_wait(this.#epoll.number, this.#events, BATCH, 0);
    const view = this.#eventsView;
    for (let i = 0; i < count; i++) {
      const at = i * EVENT_SIZE;
      const entry = this.#entries[view.getUint32(at + EVENT_DATA, true)];
      // Another one of this batch may have closed it, and a new one have its place.
      if (entry?.generation !== view.getUint32(at + EVENT_DATA + 4, true)) continue;
      entry.onEvents(view.getUint32(at, true));
    }
  }

  /** A number that tells an entry apart from all before it. */
  nextGeneration(): number {
    this.#generation = (this.#generation + 1) >>> 0;
    return this.#generation;
  }

  /** A place for an entry. */
  place(entry: Entry): number {
    const slot = this.#free.pop() ?? this.#entries.length;
    this.#entries[slot] = entry;
    return slot;
  }

  leave(slot: number): void {
    this.#entries[slot] = undefined;
    this.#free.push(slot);
  }

  /** Tells `epoll` what to look for; false when the kernel refuses. */
  control(
    operation: number,
    fd: number,
    mask: number,
    slot: number,
    generation: number,
  ): boolean {
    const view = this.#eventView;
    view.setUint32(0, mask, true);
    view.setUint32(EVENT_DATA, slot, true);
    view.setUint32(EVENT_DATA + 4, generation, true);
    return this.c.call.epoll_ctl(this.#epoll.number, operation, fd, this.#event) === 0;
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
  }
}

const ONE = cInt(1);

class LinuxSocket implements StreamSocket, Entry {
  owner: StreamOwner | undefined;
  connecting: boolean;
  fault: StreamFault | undefined;
  readonly generation: number;
  readonly #streams: LinuxStreams;
  readonly #fd: Fd;
  readonly #slot: number;
  #mask = 0;
  #wanted = 0;
  /** Whether `epoll` knows it. */
  #watched = false;

  private constructor(
    streams: LinuxStreams,
    fd: Fd,
    owner: StreamOwner | undefined,
    connecting: boolean,
  ) {
    this.#streams = streams;
    this.#fd = fd;
    this.owner = owner;
    this.connecting = connecting;
    this.generation = streams.nextGeneration();
    this.#slot = streams.place(this);
  }

  /** Takes a descriptor over; undefined when the kernel can wait for no more of them. */
  static open(
    streams: LinuxStreams,
    fd: Fd,
    owner: StreamOwner | undefined,
    connecting: boolean,
  ): LinuxSocket | undefined {
    const socket = new LinuxSocket(streams, fd, owner, connecting);
    socket.#apply(connecting ? EPOLLOUT : 0);
    if (socket.#watched) return socket;
    streams.leave(socket.#slot);
    return undefined;
  }

  get remoteAddress(): string | undefined {
    return this.#addressOf("getpeername");
  }

  get localAddress(): string | undefined {
    return this.#addressOf("getsockname");
  }

  #addressOf(side: "getpeername" | "getsockname"): string | undefined {
    const name = fixedBytes(SOCKADDR_LEN);
    const { call } = this.#streams.c;
    if (call[side](this.#fd.number, name, cInt(name.length)) !== 0) return undefined;
    return addressIn(name);
  }

  watch(read: boolean, write: boolean): void {
    this.#wanted = (read ? EPOLLIN : 0) | (write ? EPOLLOUT : 0);
    if (this.connecting || this.fault !== undefined || this.#fd.number < 0) return;
    if (this.#wanted !== this.#mask || !this.#watched) this.#apply(this.#wanted);
  }

  #apply(mask: number): void {
    const operation = this.#watched ? EPOLL_CTL.mod : EPOLL_CTL.add;
    this.#mask = mask;
    const { number } = this.#fd;
    this.#watched = this.#streams.control(operation, number, mask, this.#slot, this.generation);
  }

  #unwatch(): void {
    if (!this.#watched) return;
    this.#watched = false;
    this.#streams.control(EPOLL_CTL.del, this.#fd.number, 0, this.#slot, this.generation);
  }

  onEvents(events: number): void {
    if (this.connecting) {
      this.connecting = false;
      this.#takeError();
      if (this.fault === undefined) this.#apply(this.#wanted);
    } else if ((events & EPOLLERR) !== 0) this.#takeError();
    else if ((events & this.#mask) === 0) {
      // Closed in both directions, which is told for ever, and nobody wants to know yet.
      this.#unwatch();
      return;
    }
    if (this.fault !== undefined) this.#unwatch();
    this.owner?.onStream(this);
  }

  #takeError(): void {
    const value = cInt(0);
    this.#streams.c.call.getsockopt(this.#fd.number, SOL_SOCKET, SO_ERROR, value, cInt(4));
    const errno = new DataView(value.buffer).getInt32(0, true);
    if (errno !== 0) this.fault = faultOf(errno);
  }

  read(into: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.fault !== undefined || this.#fd.number < 0) return STREAM.error;
    if (this.connecting) return 0;
    const { span, c } = this.#streams;
    const wanted = Math.min(length, into.length - at);
    const movable = span.isMovable(into);
    if (movable) span.set(span.small, 0, wanted);
    else span.set(into, at, wanted);
    while (true) {
      const count = c.call.readv(this.#fd.number, span.iovec, 1);
      if (count > 0 && movable) into.set(span.small.subarray(0, count), at);
      if (count > 0) return count;
      if (count === 0) return STREAM.end;
      const errno = c.errno();
      if (errno === ERRNO.EAGAIN) return 0;
      if (errno !== ERRNO.EINTR) return this.#fail(errno);
    }
  }

  write(from: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.fault !== undefined || this.#fd.number < 0) return STREAM.error;
    if (this.connecting) return 0;
    const { span, c } = this.#streams;
    const wanted = Math.min(length, from.length - at);
    if (span.isMovable(from)) {
      span.small.set(from.subarray(at, at + wanted));
      span.set(span.small, 0, wanted);
    } else span.set(from, at, wanted);
    while (true) {
      const flags = MSG_NOSIGNAL | MSG_DONTWAIT;
      const count = c.call.sendmsg(this.#fd.number, span.message, flags);
      if (count >= 0) return count;
      const errno = c.errno();
      if (errno === ERRNO.EAGAIN) return 0;
      if (errno !== ERRNO.EINTR) return this.#fail(errno);
    }
  }

  #fail(errno: number): number {
    this.fault = faultOf(errno);
    this.#unwatch();
    return STREAM.error;
  }

  shutdownWrite(): void {
    if (this.#fd.number >= 0) this.#streams.c.call.shutdown(this.#fd.number, SHUT_WR);
  }

  abort(): void {
    const { number } = this.#fd;
    if (number < 0) return;
    this.#streams.c.call.setsockopt(number, SOL_SOCKET, SO_LINGER, LINGER_RESET, 8);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#fd.number < 0) return;
    this.owner = undefined;
    this.#streams.leave(this.#slot);
    // `epoll` forgets a descriptor that is closed.
    this.#fd[Symbol.dispose]();
  }
}

/** Somebody else's descriptor. */
class LinuxSource implements Entry, Disposable {
  readonly generation: number;
  readonly onEvents: () => void;
  readonly #streams: LinuxStreams;
  readonly #fd: number;
  readonly #slot: number;
  #over = false;

  private constructor(streams: LinuxStreams, source: Watchable, ready: () => void) {
    this.#streams = streams;
    this.#fd = source.fd;
    this.onEvents = ready;
    this.generation = streams.nextGeneration();
    this.#slot = streams.place(this);
  }

  static open(
    streams: LinuxStreams,
    source: Watchable,
    ready: () => void,
  ): LinuxSource | undefined {
    const made = new LinuxSource(streams, source, ready);
    if (made.#control(EPOLL_CTL.add)) return made;
    streams.leave(made.#slot);
    return undefined;
  }

  #control(operation: number): boolean {
    const { generation } = this;
    return this.#streams.control(operation, this.#fd, EPOLLIN, this.#slot, generation);
  }

  [Symbol.dispose](): void {
    if (this.#over) return;
    this.#over = true;
    this.#control(EPOLL_CTL.del);
    this.#streams.leave(this.#slot);
  }
}

class LinuxListener implements StreamListener, Entry {
  readonly port: number;
  exhausted = false;
  readonly generation: number;
  readonly #streams: LinuxStreams;
  readonly #fd: Fd;
  readonly #path: string | undefined;
  readonly #onConnection: () => void;
  readonly #slot: number;
  #watched = false;

  constructor(
    streams: LinuxStreams,
    fd: Fd,
    port: number,
    path: string | undefined,
    onConnection: () => void,
  ) {
    this.#streams = streams;
    this.#fd = fd;
    this.port = port;
    this.#path = path;
    this.#onConnection = onConnection;
    this.generation = streams.nextGeneration();
    this.#slot = streams.place(this);
  }

  watch(on: boolean): void {
    if (on === this.#watched || this.#fd.number < 0) return;
    const operation = on ? EPOLL_CTL.add : EPOLL_CTL.del;
    const done = this.#streams.control(
      operation,
      this.#fd.number,
      EPOLLIN,
      this.#slot,
      this.generation,
    );
    if (done) this.#watched = on;
  }

  onEvents(): void {
    this.#onConnection();
  }

  accept(): StreamSocket | undefined {
    const streams = this.#streams;
    const { c } = streams;
    this.exhausted = false;
    for (let i = 0; i < MAX_ABORTED && this.#fd.number >= 0; i++) {
      const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
      const number = c.call.accept4(this.#fd.number, null, null, flags);
      if (number >= 0) {
        if (this.#path === undefined) streams.noDelay(number);
        const fd = new Fd(c, number);
        const socket = LinuxSocket.open(streams, fd, undefined, false);
        if (socket !== undefined) return socket;
        fd[Symbol.dispose]();
        this.exhausted = true;
        return undefined;
      }
      const errno = c.errno();
      if (errno === ERRNO.EAGAIN) return undefined;
      this.exhausted = faultOf(errno) === "no-descriptors";
      if (this.exhausted) return undefined;
      // Anything else is an error of the connection that was to be accepted (accept(2)).
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    if (this.#fd.number < 0) return;
    this.#streams.leave(this.#slot);
    this.#fd[Symbol.dispose]();
    if (this.#path !== undefined) removeSocketFile(this.#path);
  }
}
