/**
 * A TUN device on Linux (linux: Documentation/networking/tuntap.rst).
 *
 * It is opened with a virtio header and TCP segmentation offload, so one `readv` brings up to 64 KiB
 * of one flow (offload_split.ts) and one `writev` takes as much (offload_join.ts).
 *
 * @module
 */

import { configureDevice, deviceFailed, IFF, openDevice } from "./_tuntap.ts";
import { addressOf, ERRNO, type Fd, fixedBytes, type Libc, needLibc } from "./libc.ts";
import { OffloadJoin, type PieceWriter } from "./offload_join.ts";
import { OffloadSplit } from "./offload_split.ts";
import { SocketCounters } from "./packet_socket.ts";
import type { PacketSink } from "./sink.ts";
import type { TunDevice, TunOptions } from "./tun_device.ts";
import { VNET_LEN } from "./virtio_net.ts";

const TUNSETOFFLOAD = 0x400454d0n;
const TUN_F_CSUM = 1n;
const TUN_F_TSO4 = 2n;

/** Longest packet of the kernel's with its header (bytes). */
const MAX_READ = VNET_LEN + 65535;
/** Where a read lands, so that the IP header behind the virtio header is 4-byte aligned. */
const READ_AT = 6;
const WRITE_ARENA = 256 * 1024;
const IOVEC = 16;
const MAX_PIECES = 256;

/** Makes a TUN device; see {@link openTun}. */
export function openTunLinux(options: TunOptions): TunDevice {
  const c = needLibc(`make interface ${options.name}`);
  using owned = new DisposableStack();
  const fd = owned.use(openDevice(c, options.name, IFF.TUN | IFF.NO_PI | IFF.VNET_HDR));
  if (c.ioctlValue(fd.number, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) !== 0) {
    throw deviceFailed(options.name, "set offloads", c.errno());
  }
  configureDevice(c, options);
  owned.move();
  return new LinuxTun(c, fd, options.name);
}

class LinuxTun implements TunDevice {
  readonly name: string;
  readonly out: PacketSink;
  readonly counters = new SocketCounters();
  readonly waiting = 0;
  onReadable: (() => void) | undefined;
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #buffer = fixedBytes(READ_AT + MAX_READ);
  readonly #iovec = fixedBytes(IOVEC);
  readonly #split: OffloadSplit;

  constructor(c: Libc, fd: Fd, name: string) {
    this.#c = c;
    this.#fd = fd;
    this.name = name;
    this.#split = new OffloadSplit(this.#buffer);
    const view = new DataView(this.#iovec.buffer);
    view.setBigUint64(0, addressOf(this.#buffer) + BigInt(READ_AT), true);
    view.setBigUint64(8, BigInt(MAX_READ), true);
    const arena = fixedBytes(WRITE_ARENA);
    this.out = new OffloadJoin(arena, new TunWriter(c, fd, arena, this.counters));
  }

  get fd(): number {
    return this.#fd.number;
  }

  drainInto(sink: PacketSink, limit: number): number {
    const counters = this.counters;
    let total = 0;
    for (let reads = 0; reads < limit; reads++) {
      const length = this.#c.call.readv(this.#fd.number, this.#iovec, 1);
      if (length <= 0) {
        const errno = this.#c.errno();
        return errno === ERRNO.EBADFD || errno === ERRNO.EIO ? -1 : total;
      }
      counters.receiveCalls++;
      counters.received++;
      counters.receivedBytes += length - VNET_LEN;
      const packets = this.#split.split(READ_AT, length, sink);
      if (typeof packets === "number") total += packets;
      else counters.truncated++;
    }
    return total;
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

class TunWriter implements PieceWriter {
  readonly #c: Libc;
  readonly #fd: Fd;
  readonly #counters: SocketCounters;
  readonly #iovecs = fixedBytes(MAX_PIECES * IOVEC);
  readonly #view = new DataView(this.#iovecs.buffer);
  readonly #low: number;
  readonly #high: number;

  constructor(c: Libc, fd: Fd, arena: Uint8Array<ArrayBuffer>, counters: SocketCounters) {
    this.#c = c;
    this.#fd = fd;
    this.#counters = counters;
    const base = addressOf(arena);
    this.#low = Number(base & 0xffff_ffffn);
    this.#high = Number(base >> 32n);
  }

  write(pieces: Uint32Array, count: number): void {
    for (let i = 0; i < count; i++) {
      const low = this.#low + (pieces[2 * i] ?? 0);
      const carry = low >= 0x1_0000_0000 ? 1 : 0;
      this.#view.setUint32(i * IOVEC, low >>> 0, true);
      this.#view.setUint32(i * IOVEC + 4, this.#high + carry, true);
      this.#view.setUint32(i * IOVEC + 8, pieces[2 * i + 1] ?? 0, true);
    }
    const counters = this.#counters;
    counters.sendCalls++;
    const written = this.#c.call.writev(this.#fd.number, this.#iovecs, count);
    if (written > 0) {
      counters.sent++;
      counters.sentBytes += written - VNET_LEN;
    } else if (this.#c.errno() === ERRNO.EAGAIN) counters.full++;
    else counters.refused++;
  }
}
