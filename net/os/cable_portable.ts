/**
 * A guest's cable without FFI: `Deno.listenDatagram` with transport `unixpacket`, one frame per
 * promise.
 *
 * Deno refuses to send on such a socket while a receive is under way, so there are two: frames leave
 * from a second one, bound to the local path with `.out` behind it.
 *
 * @module
 */

import { messageOf, OmertaError } from "../../lib/core/errors.ts";
import { PushedQueue, SendQueue } from "./_pushed.ts";
import type { CableOptions } from "./cable_options.ts";
import { type PacketHandler, type PacketSocket, SocketCounters } from "./packet_socket.ts";
import type { PacketSink } from "./sink.ts";

/** Longest frame: 1500 bytes, Ethernet header and tags, with room to spare. */
const SLOT_SIZE = 2048;

/**
 * Binds a cable. A socket that a killed process left at the path is replaced.
 *
 * @throws {OmertaError} `cable-failed`, naming the path.
 */
export function openCablePortable(options: CableOptions): PacketSocket {
  try {
    using owned = new DisposableStack();
    const receiver = owned.adopt(bind(options.localPath), (socket) => socket.close());
    const sender = owned.adopt(bind(`${options.localPath}.out`), (socket) => socket.close());
    owned.move();
    return new PortableCable(receiver, sender, options);
  } catch (cause) {
    throw new OmertaError(
      "cable-failed",
      `Cannot bind the socket ${options.localPath}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

function bind(path: string): Deno.DatagramConn {
  removeSocket(path);
  const socket = Deno.listenDatagram({ transport: "unixpacket", path });
  Deno.chmodSync(path, 0o600);
  return socket;
}

function removeSocket(path: string): void {
  try {
    if (Deno.lstatSync(path).isSocket) Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

class PortableCable implements PacketSocket {
  readonly fd = -1;
  readonly out: PacketSink;
  readonly counters = new SocketCounters();
  readonly #socket: Deno.DatagramConn;
  readonly #sender: Deno.DatagramConn;
  readonly #path: string;
  readonly #queue = new PushedQueue();
  #closed = false;

  constructor(socket: Deno.DatagramConn, sender: Deno.DatagramConn, options: CableOptions) {
    this.#socket = socket;
    this.#sender = sender;
    this.#path = options.localPath;
    this.out = new PortableCableSink(sender, options.peerPath, this.counters);
    void this.#receive();
  }

  get onReadable(): (() => void) | undefined {
    return this.#queue.onReadable;
  }

  set onReadable(hook: (() => void) | undefined) {
    this.#queue.onReadable = hook;
  }

  get waiting(): number {
    return this.#queue.count;
  }

  async #receive(): Promise<void> {
    // One byte more than a slot, so that a frame that was cut shows.
    const buffer = new Uint8Array(SLOT_SIZE + 1);
    while (!this.#closed) {
      try {
        const [frame] = await this.#socket.receive(buffer);
        this.counters.receiveCalls++;
        if (frame.length > SLOT_SIZE) {
          this.counters.truncated++;
          continue;
        }
        const full = this.#queue.push(frame.slice());
        if (full !== undefined) await full;
      } catch {
        if (!this.#closed) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  }

  drain(handler: PacketHandler, limit: number): number {
    let total = 0;
    while (total < limit) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      total++;
      this.counters.receivedBytes += next.packet.length;
      handler.receive(next.packet, 0, next.packet.length);
    }
    this.counters.received += total;
    return total;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.release();
    this.#socket.close();
    this.#sender.close();
    removeSocket(this.#path);
    removeSocket(`${this.#path}.out`);
  }
}

class PortableCableSink implements PacketSink {
  readonly buffer: Uint8Array = new Uint8Array(SLOT_SIZE);
  readonly #queue: SendQueue<Deno.UnixAddr>;
  readonly #peer: Deno.UnixAddr;
  readonly #counters: SocketCounters;

  constructor(socket: Deno.DatagramConn, peerPath: string, counters: SocketCounters) {
    this.#peer = { transport: "unixpacket", path: peerPath };
    this.#counters = counters;
    this.#queue = new SendQueue(
      (frame, to) => socket.send(frame, to),
      counters,
      (error) => this.#countFailed(error),
    );
  }

  reserve(size: number): number {
    return size > SLOT_SIZE ? -1 : 0;
  }

  commit(length: number): void {
    this.#queue.push(this.buffer.slice(0, length), this.#peer);
  }

  #countFailed(error: unknown): void {
    const gone = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.ConnectionRefused;
    if (gone) this.#counters.noPeer++;
    else this.#counters.refused++;
  }

  flush(): void {
    // Every commit is already on its way.
  }
}
