/**
 * UDP without FFI: `Deno.listenDatagram`, one datagram per promise. About a tenth of the speed of
 * udp_linux.ts, and the same interface.
 *
 * @module
 */

import { messageOf, OmertaError } from "../../lib/core/errors.ts";
import { PushedQueue, SendQueue } from "./_pushed.ts";
import { Endpoint } from "./endpoint.ts";
import { type DatagramHandler, SocketCounters, type UdpSocket } from "./packet_socket.ts";
import type { DatagramSink } from "./sink.ts";
import { portInUse, type UdpOptions } from "./udp_options.ts";

/** Longest UDP datagram, in bytes. */
const MAX_DATAGRAM = 65535;
/** Addresses whose binary form is remembered; the table starts over when it is full. */
const MAX_NAMES = 1024;

/**
 * Opens a UDP socket for both families.
 *
 * @throws {OmertaError} `port-in-use`, `socket-failed`.
 */
export function openUdpPortable(options: UdpOptions): UdpSocket {
  try {
    const socket = Deno.listenDatagram({
      transport: "udp",
      hostname: mapped(options.address ?? "::"),
      port: options.port,
    });
    return new PortableUdpSocket(socket);
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrInUse) throw portInUse(options.port, cause);
    throw new OmertaError(
      "socket-failed",
      `Cannot bind UDP port ${options.port}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

class PortableUdpSocket implements UdpSocket {
  readonly fd = -1;
  readonly port: number;
  readonly out: PortableUdpSink;
  readonly counters = new SocketCounters();
  /** Never: its queue drops what is too much (_pushed.ts). */
  readonly blocked = false;
  readonly #socket: Deno.DatagramConn;
  readonly #queue = new PushedQueue();
  readonly #names = new Map<string, Uint8Array>();
  #closed = false;

  constructor(socket: Deno.DatagramConn) {
    this.#socket = socket;
    this.port = (socket.addr as Deno.NetAddr).port;
    this.out = new PortableUdpSink(socket, this.counters);
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
    const buffer = new Uint8Array(MAX_DATAGRAM);
    while (!this.#closed) {
      try {
        const [packet, from] = await this.#socket.receive(buffer);
        const name = this.#nameOf(from as Deno.NetAddr);
        if (name === undefined) continue;
        this.counters.receiveCalls++;
        const full = this.#queue.push(packet.slice(), name);
        if (full !== undefined) await full;
      } catch {
        // Closed, or an ICMP error of an earlier send, which some systems report here.
        if (!this.#closed) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  }

  #nameOf(from: Deno.NetAddr): Uint8Array | undefined {
    const key = `${from.hostname} ${from.port}`;
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    if (this.#names.size >= MAX_NAMES) this.#names.clear();
    const zone = from.hostname.indexOf("%");
    const address = zone < 0 ? from.hostname : from.hostname.slice(0, zone);
    const name = Endpoint.of(address, from.port)?.sockaddr;
    if (name !== undefined) this.#names.set(key, name);
    return name;
  }

  drain(handler: DatagramHandler, limit: number): number {
    let total = 0;
    while (total < limit) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      total++;
      this.counters.receivedBytes += next.packet.length;
      handler.receive(next.packet, 0, next.packet.length, next.name, 0);
    }
    this.counters.received += total;
    return total;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.release();
    this.#socket.close();
  }
}

class PortableUdpSink implements DatagramSink {
  readonly buffer: Uint8Array = new Uint8Array(MAX_DATAGRAM);
  readonly #queue: SendQueue<Endpoint>;

  constructor(socket: Deno.DatagramConn, counters: SocketCounters) {
    this.#queue = new SendQueue(
      (packet, to) => socket.send(packet, addrOf(to)),
      counters,
      () => counters.refused++,
    );
  }

  reserve(size: number): number {
    return size > MAX_DATAGRAM ? -1 : 0;
  }

  commit(length: number, to: Endpoint): void {
    this.#queue.push(this.buffer.slice(0, length), to);
  }

  flush(): void {
    // Every commit is already on its way.
  }
}

function addrOf(to: Endpoint): Deno.NetAddr {
  return { transport: "udp", hostname: mapped(to.address), port: to.port };
}

/** The socket is one of IPv6, for both families. */
function mapped(address: string): string {
  return address.includes(":") ? address : `::ffff:${address}`;
}
