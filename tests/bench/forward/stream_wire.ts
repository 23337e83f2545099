/**
 * The cable of passt: a unix stream socket with each frame's length in front of it, 4 bytes,
 * big-endian, as QEMU's `-netdev stream` speaks it.
 *
 * @module
 */

import { type Fd, fixedBytes, needLibc } from "../../../net/os/libc.ts";
import type { PacketHandler } from "../../../net/os/packet_socket.ts";
import { SEND_MAX, type Wire } from "./wire.ts";

const LENGTH = 4;
/** Bytes for what is under way in each direction. */
const ROOM = 1 << 18;

/** A wire over a connected stream. */
export class StreamWire implements Wire {
  readonly #c = needLibc("send frames");
  readonly #fd: Fd;
  readonly #out = fixedBytes(ROOM);
  readonly #outView = new DataView(this.#out.buffer);
  readonly #in = fixedBytes(ROOM);
  readonly #inView = new DataView(this.#in.buffer);
  // What the kernel has not taken yet: from #sent to #end.
  #sent = 0;
  #end = 0;
  #received = 0;

  /** Takes ownership of the socket. */
  constructor(fd: Fd) {
    this.#fd = fd;
  }

  /** See {@link Wire.send}. A frame that the kernel took half of counts as taken. */
  send(messages: readonly Uint8Array[], from: number, count: number): number {
    if (!this.#flush()) return 0;
    const want = Math.min(count, SEND_MAX);
    for (let i = 0; i < want; i++) {
      const message = messages[from + i];
      if (message === undefined) continue;
      this.#outView.setUint32(this.#end, message.length);
      this.#out.set(message, this.#end + LENGTH);
      this.#end += LENGTH + message.length;
    }
    this.#flush();
    return want;
  }

  /** Whether everything is out. */
  #flush(): boolean {
    if (this.#sent < this.#end) {
      const rest = this.#out.subarray(this.#sent, this.#end);
      const taken = this.#c.call.write(this.#fd.number, rest, BigInt(rest.length));
      if (taken > 0) this.#sent += taken;
    }
    if (this.#sent < this.#end) return false;
    this.#sent = this.#end = 0;
    return true;
  }

  /** See {@link Wire.drain}. */
  drain(handler: PacketHandler): void {
    this.#flush();
    while (true) {
      const room = this.#in.subarray(this.#received);
      const got = this.#c.call.read(this.#fd.number, room, BigInt(room.length));
      if (got <= 0) return;
      this.#received += got;
      let at = 0;
      while (this.#received - at >= LENGTH) {
        const length = this.#inView.getUint32(at);
        if (this.#received - at < LENGTH + length) break;
        handler.receive(this.#in, at + LENGTH, length);
        at += LENGTH + length;
      }
      this.#in.copyWithin(0, at, this.#received);
      this.#received -= at;
      if (got < room.length) return;
    }
  }

  /** Closes the socket. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}
