/**
 * A TAP device on Linux: an interface behind which whole Ethernet frames are read and written, one
 * per system call.
 *
 * @module
 */

import { configureDevice, IFF, openDevice } from "./_tuntap.ts";
import { addressOf, type Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import { type PacketHandler, type PacketSocket, SocketCounters } from "./packet_socket.ts";
import type { PacketSink } from "./sink.ts";
import type { TunOptions } from "./tun_device.ts";

const IOVEC = 16;
/** Longest frame (bytes). */
const TAP_SLOT = 2048;

/**
 * Makes a TAP device, which carries Ethernet frames, and brings it up.
 *
 * @throws {OmertaError} `interface-in-use`, `tun-needs-root`, `tun-missing`, `bad-address`, `interface-failed`.
 */
export function openTapLinux(options: TunOptions): PacketSocket {
  const c = needLibc(`make interface ${options.name}`);
  using owned = new DisposableStack();
  const fd = owned.use(openDevice(c, options.name, IFF.TAP | IFF.NO_PI));
  configureDevice(c, options);
  owned.move();
  return new LinuxTap(c, fd);
}

class LinuxTap implements PacketSocket {
  readonly out: PacketSink;
  readonly counters = new SocketCounters();
  readonly waiting = 0;
  onReadable: (() => void) | undefined;
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #buffer = fixedBytes(TAP_SLOT);
  readonly #iovec = fixedBytes(IOVEC);

  constructor(c: Libc, fd: Fd) {
    this.#c = c;
    this.#fd = fd;
    const view = new DataView(this.#iovec.buffer);
    view.setBigUint64(0, addressOf(this.#buffer), true);
    view.setBigUint64(8, BigInt(TAP_SLOT), true);
    this.out = new TapSink(c, fd, this.counters);
  }

  get fd(): number {
    return this.#fd.number;
  }

  drain(handler: PacketHandler, limit: number): number {
    let total = 0;
    for (; total < limit; total++) {
      const length = this.#c.call.readv(this.#fd.number, this.#iovec, 1);
      if (length <= 0) break;
      this.counters.receiveCalls++;
      this.counters.received++;
      this.counters.receivedBytes += length;
      handler.receive(this.#buffer, 0, length);
    }
    return total;
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

class TapSink implements PacketSink {
  readonly buffer = fixedBytes(TAP_SLOT);
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #counters: SocketCounters;
  readonly #iovec = fixedBytes(IOVEC);
  readonly #view = new DataView(this.#iovec.buffer);

  constructor(c: Libc, fd: Fd, counters: SocketCounters) {
    this.#c = c;
    this.#fd = fd;
    this.#counters = counters;
    this.#view.setBigUint64(0, addressOf(this.buffer), true);
  }

  reserve(size: number): number {
    return size > TAP_SLOT ? -1 : 0;
  }

  commit(length: number): void {
    this.#view.setUint32(8, length, true);
    this.#counters.sendCalls++;
    if (this.#c.call.writev(this.#fd.number, this.#iovec, 1) > 0) {
      this.#counters.sent++;
      this.#counters.sentBytes += length;
    } else this.#counters.refused++;
  }

  flush(): void {
    // Every commit is a write.
  }
}
