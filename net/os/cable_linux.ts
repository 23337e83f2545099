/**
 * A guest's cable on Linux: a unix datagram socket (unix(7)), one Ethernet frame per datagram, in
 * batches of `recvmmsg` and `sendmmsg`.
 *
 * The kernel lets only `net.unix.max_dgram_qlen` datagrams wait at a receiver: 10 by default, 512 once
 * systemd has started. Where it is less and this process may, it is raised to what systemd sets. A
 * longer burst is handed over in portions: when the other side is full, sending sleeps for less than
 * it takes the other side to wake up.
 *
 * Whoever sleeps here keeps all the others waiting, so sleep has to be earned: {@link PATIENCE} of
 * them are there at first, and {@link FRAMES_PER_SLEEP} frames that the other side takes earn one. A
 * guest that takes nothing costs 3 ms once; one that is slower than what comes for it loses the rest
 * of the burst, and what comes in the same turn is refused before anything is spent on it.
 *
 * Frames leave through a socket of their own, which is connected: the kernel would otherwise look up
 * the other side's path for each frame, which takes half as long as sending it. The one that is bound
 * stays unconnected, so that whoever takes the guest's place at its path is heard at once. The other
 * side must not connect its own socket, which would then hear nobody but the bound one.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";
import type { CableOptions } from "./cable_options.ts";
import { cString, ERRNO, errnoName, Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import { MessageBatch } from "./message_batch.ts";
import { type PacketHandler, type PacketSocket, SocketCounters } from "./packet_socket.ts";
import type { PacketSink } from "./sink.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const SOCKET_BUFFER = 1 << 20;
/** `sizeof sun_path`, with the final zero. */
const MAX_PATH = 108;
const SOCKADDR_UN_LEN = 110;

const QUEUE_LIMIT_PATH = "/proc/sys/net/unix/max_dgram_qlen";
/** What systemd sets (src/core/main.c, bump_unix_max_dgram_qlen). */
const QUEUE_LIMIT = 512;

const SLOTS = 64;
/** Longest frame: 1500 bytes, Ethernet header and tags, with room to spare. */
const SLOT_SIZE = 2048;
/** Sleep while the other side's queue is full (us); with the timer's slack it takes about 75. */
const FULL_SLEEP_US = 20;
/** Sleeps in a row, at the most. */
const PATIENCE = 40;
/** Frames the other side takes for each sleep more. */
const FRAMES_PER_SLEEP = 16;

/**
 * Binds a cable. A socket that a killed process left at the path is replaced.
 *
 * @throws {OmertaError} `cable-failed`, naming the path.
 */
export function openCableLinux(options: CableOptions): PacketSocket {
  const c = needLibc("open a guest's cable");
  const local = sockaddrUn(options.localPath);
  const peer = sockaddrUn(options.peerPath);
  raiseQueueLimit();
  using owned = new DisposableStack();
  const fd = owned.use(openSocket(c, options.localPath));
  const sender = owned.use(openSocket(c, options.localPath));
  removeSocket(options.localPath);
  if (c.call.bind(fd.number, local, SOCKADDR_UN_LEN) !== 0) {
    throw failed("bind", options.localPath, errnoName(c.errno()));
  }
  Deno.chmodSync(options.localPath, 0o600);
  owned.move();
  return new LinuxCable(c, fd, sender, options.localPath, peer);
}

function openSocket(c: Libc, path: string): Fd {
  const number = c.call.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (number < 0) throw notOpened(path, c.errno());
  const size = fixedBytes(4);
  new DataView(size.buffer).setInt32(0, SOCKET_BUFFER, true);
  if (c.call.setsockopt(number, SOL_SOCKET, SO_SNDBUFFORCE, size, 4) !== 0) {
    c.call.setsockopt(number, SOL_SOCKET, SO_SNDBUF, size, 4);
  }
  return new Fd(c, number);
}

/** For sockets made from now on, on both sides of the cable. */
function raiseQueueLimit(): void {
  try {
    if (Number(Deno.readTextFileSync(QUEUE_LIMIT_PATH)) >= QUEUE_LIMIT) return;
    Deno.writeTextFileSync(QUEUE_LIMIT_PATH, String(QUEUE_LIMIT));
  } catch {
    // Not root: bursts go in smaller portions.
  }
}

function failed(what: string, path: string, why: string): OmertaError {
  return new OmertaError("cable-failed", `Cannot ${what} the socket ${path}: ${why}`);
}

function notOpened(path: string, errno: number): OmertaError {
  const why = `Cannot open the socket ${path}: ${errnoName(errno)}`;
  if (errno !== ERRNO.EMFILE && errno !== ERRNO.ENFILE) return new OmertaError("cable-failed", why);
  return new OmertaError("cable-failed", why, {
    next: "Allow this program more open files (ulimit -n), or lend fewer VMs",
  });
}

function sockaddrUn(path: string): Uint8Array<ArrayBuffer> {
  const text = cString(path);
  if (text.length > MAX_PATH) {
    throw failed("bind", path, `its path is ${text.length - 1} bytes, at most ${MAX_PATH - 1} fit`);
  }
  const out = fixedBytes(SOCKADDR_UN_LEN);
  out[0] = AF_UNIX;
  out.set(text, 2);
  return out;
}

function removeSocket(path: string): void {
  try {
    if (Deno.lstatSync(path).isSocket) Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

class LinuxCable implements PacketSocket {
  readonly out: PacketSink;
  readonly counters = new SocketCounters();
  readonly waiting = 0;
  onReadable: (() => void) | undefined;
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #sender: Fd;
  readonly #path: string;
  readonly #batch: MessageBatch;

  constructor(c: Libc, fd: Fd, sender: Fd, path: string, peer: Uint8Array<ArrayBuffer>) {
    this.#c = c;
    this.#fd = fd;
    this.#sender = sender;
    this.#path = path;
    this.#batch = new MessageBatch(SLOTS, fixedBytes(SLOTS * SLOT_SIZE), 0);
    for (let i = 0; i < SLOTS; i++) this.#batch.setData(i, i * SLOT_SIZE, SLOT_SIZE);
    this.out = new LinuxCableSink(c, sender, peer, this.counters);
  }

  get fd(): number {
    return this.#fd.number;
  }

  drain(handler: PacketHandler, limit: number): number {
    const batch = this.#batch;
    const counters = this.counters;
    let total = 0;
    while (total < limit) {
      const want = Math.min(SLOTS, limit - total);
      batch.prepareReceive(want, false);
      const got = this.#c.call.recvmmsg(this.#fd.number, batch.headers, want, MSG_DONTWAIT, null);
      if (got <= 0) break;
      counters.receiveCalls++;
      total += got;
      for (let i = 0; i < got; i++) {
        const length = batch.received(i);
        if (batch.truncated(i)) {
          counters.truncated++;
          continue;
        }
        counters.received++;
        counters.receivedBytes += length;
        handler.receive(batch.arena, i * SLOT_SIZE, length);
      }
      if (got < want) break;
    }
    return total;
  }

  [Symbol.dispose](): void {
    if (this.#fd.number < 0) return;
    this.#fd[Symbol.dispose]();
    this.#sender[Symbol.dispose]();
    removeSocket(this.#path);
  }
}

class LinuxCableSink implements PacketSink {
  readonly buffer: Uint8Array<ArrayBuffer> = fixedBytes(SLOTS * SLOT_SIZE);
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #counters: SocketCounters;
  readonly #peer: Uint8Array<ArrayBuffer>;
  readonly #batch: MessageBatch;
  readonly #lengths = new Uint32Array(SLOTS);
  #count = 0;
  #patience = PATIENCE;
  // Frames were dropped in this turn: nothing more is taken before it ends.
  #full = false;
  #isConnected = false;

  constructor(c: Libc, fd: Fd, peer: Uint8Array<ArrayBuffer>, counters: SocketCounters) {
    this.#c = c;
    this.#fd = fd;
    this.#counters = counters;
    this.#peer = peer;
    this.#batch = new MessageBatch(SLOTS, this.buffer, 0);
  }

  reserve(size: number): number {
    if (size > SLOT_SIZE) return -1;
    if (this.#count === SLOTS) this.#send();
    return this.#full ? -1 : this.#count * SLOT_SIZE;
  }

  commit(length: number): void {
    this.#batch.setData(this.#count, this.#count * SLOT_SIZE, length);
    this.#lengths[this.#count] = length;
    this.#count++;
  }

  flush(): void {
    this.#send();
    this.#full = false;
  }

  #send(): void {
    const count = this.#count;
    let next = 0;
    while (next < count) {
      if (!this.#isConnected && !this.#connect()) {
        // Nobody there: the rest of the burst would find nobody either.
        this.#counters.noPeer += count - next;
        break;
      }
      this.#counters.sendCalls++;
      const taken = this.#c.call.sendmmsg(
        this.#fd.number,
        this.#batch.headersFrom(next),
        count - next,
        MSG_DONTWAIT,
      );
      if (taken > 0) {
        for (let i = next; i < next + taken; i++) {
          this.#counters.sentBytes += this.#lengths[i] ?? 0;
        }
        this.#counters.sent += taken;
        this.#patience = Math.min(PATIENCE, this.#patience + taken / FRAMES_PER_SLEEP);
        next += taken;
        continue;
      }
      const errno = this.#c.errno();
      if (errno === ERRNO.EINTR) continue;
      if (errno === ERRNO.EAGAIN || errno === ERRNO.ENOBUFS) {
        if (this.#patience >= 1) {
          this.#patience--;
          this.#c.call.usleep(FULL_SLEEP_US);
          continue;
        }
        this.#counters.full += count - next;
        this.#full = true;
        break;
      }
      if (errno === ERRNO.ECONNREFUSED) {
        // Gone; somebody else may be at the path by now.
        this.#isConnected = false;
        continue;
      }
      this.#counters.refused++;
      next++;
    }
    this.#count = 0;
  }

  #connect(): boolean {
    const { number } = this.#fd;
    this.#isConnected = this.#c.call.connect(number, this.#peer, SOCKADDR_UN_LEN) === 0;
    return this.#isConnected;
  }
}
