/**
 * Proxies for tests: a stack on their side and one inside, joined in memory, and real sockets of this
 * computer. Real time passes.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import { openReactor, type Reactor } from "../os/reactor.ts";
import { openStreams } from "../os/stream.ts";
import type { Streams } from "../os/stream_socket.ts";
import type { CloseReason, TcpConnection, TcpHandler } from "../tcp/connection.ts";
import type { Limits } from "../tcp/limits.ts";
import { Stack } from "../tcp/stack.ts";
import { Udp } from "../tcp/udp.ts";
import { PROTOCOL } from "../wire/ipv4.ts";
import { parseIpv4 } from "../wire/ip_address.ts";
import { StackDialer } from "./dialer.ts";
import { ProxyLoop } from "./proxy_loop.ts";

/** Address of the proxies' side: 10.0.0.1. */
export const NEAR = 0x0a000001;
/** Address of the host inside: 10.0.0.2. */
export const FAR = 0x0a000002;
/** An address at which nobody answers: 10.0.0.9. */
export const SILENT = 0x0a000009;

/** A link: packets wait in it until they are taken. */
class MemoryLink implements PacketSink {
  readonly buffer = new Uint8Array(65536);
  readonly packets: Uint8Array[] = [];

  reserve(size: number): number {
    return size > this.buffer.length ? -1 : 0;
  }

  commit(length: number): void {
    this.packets.push(this.buffer.slice(0, length));
  }

  flush(): void {}
}

/** How a world is made. */
export interface WorldOptions {
  /** Connections that proxies may have. */
  readonly connections?: number;
  /** How long one may be silent, in ms. */
  readonly idleMs?: number;
  /** Limits of both stacks. */
  readonly limits?: Partial<Limits>;
  /** Sockets of this computer. */
  readonly streams?: Streams;
  /** Waits for them. */
  readonly reactor?: Reactor;
  /** Whether the proxies' stack takes packets for any address. */
  readonly promiscuous?: boolean;
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

function udpOn(stack: Stack, address: number): Udp {
  const udp = new Udp({ stack, address, mtu: 1400, random: randomBytes });
  stack.register(PROTOCOL.udp, udp);
  return udp;
}

/** The names `far`, `far.omerta` and `silent`, and literals. */
export function resolve(host: string): number | undefined {
  if (host === "far" || host === "far.omerta") return FAR;
  return host === "silent" ? SILENT : parseIpv4(host);
}

/** Everything, running until it is disposed. */
export class World implements AsyncDisposable {
  /** The proxies' stack. */
  readonly near: Stack;
  /** The stack inside. */
  far: Stack;
  /** What proxies share. */
  readonly loop: ProxyLoop;
  /** Reaches the inside, by {@link resolve}. */
  readonly dialer: StackDialer;
  /** Added to the clock, in ms. */
  ahead = 0;
  /** UDP of the proxies' stack. */
  readonly nearUdp: Udp;
  /** UDP of the host inside. */
  readonly farUdp: Udp;
  /** Waits for sockets of this computer. */
  readonly reactor: Reactor;
  readonly #out = new MemoryLink();
  readonly #in = new MemoryLink();
  readonly #limits: Partial<Limits>;
  readonly #running: Promise<void>;
  #over = false;

  /** Begins to run. */
  constructor(options: WorldOptions = {}) {
    this.#limits = options.limits ?? {};
    this.near = this.#stack(NEAR, this.#out, options.promiscuous);
    this.far = this.#stack(FAR, this.#in);
    this.nearUdp = udpOn(this.near, NEAR);
    this.farUdp = udpOn(this.far, FAR);
    const { connections, idleMs } = options;
    this.loop = new ProxyLoop({
      now: this.now,
      streams: options.streams ?? openStreams(),
      ...(connections === undefined ? {} : { connections }),
      ...(idleMs === undefined ? {} : { idleMs }),
    });
    this.dialer = new StackDialer(this.loop, this.near, resolve);
    this.reactor = options.reactor ?? openReactor(-1);
    this.reactor.add(this.loop.streams, () => this.loop.serve(this.now));
    this.#running = this.#run();
  }

  /** The time, in ms. */
  get now(): number {
    return performance.now() + this.ahead;
  }

  /** The host inside forgets everything, as one that was started again. */
  restartFar(): void {
    this.far = this.#stack(FAR, this.#in);
  }

  #stack(address: number, out: PacketSink, promiscuous = false): Stack {
    const { now } = this;
    const limits = this.#limits;
    return new Stack({ address, mtu: 1400, out, random: randomBytes, now, limits, promiscuous });
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      // Clients are in this thread too: it must not block.
      await this.reactor.wait(0);
      const moved = this.#move();
      await new Promise<void>((resolve) => {
        if (moved) setImmediate(resolve);
        // Nothing has moved: others may have the processor.
        else setTimeout(resolve, 1);
      });
    }
  }

  #move(): boolean {
    const now = this.now;
    this.loop.tick(now);
    const out = this.#out.packets.splice(0);
    const back = this.#in.packets.splice(0);
    for (const packet of out) if (isTo(packet, FAR)) this.far.input(packet, 0, packet.length, now);
    for (const packet of back) this.near.input(packet, 0, packet.length, now);
    this.near.flush(now);
    this.far.flush(now);
    this.near.tick(now);
    this.far.tick(now);
    return out.length + back.length > 0;
  }

  /** Stops. Proxies must be stopped before. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await this.#running;
    this.reactor.remove(this.loop.streams);
    this.reactor[Symbol.dispose]();
    this.loop[Symbol.dispose]();
  }
}

function isTo(packet: Uint8Array, address: number): boolean {
  return new DataView(packet.buffer, packet.byteOffset).getUint32(16) === address;
}

/** Sends back what comes, and ends when the other side has. */
export class Echo implements TcpHandler {
  /** Connections now. */
  open = 0;
  /** Connections ever. */
  total = 0;
  /** How those that are over ended. */
  readonly reasons: CloseReason[] = [];
  readonly #buffer = new Uint8Array(16384);

  /** Listens on a stack. */
  static on(stack: Stack, port: number): Echo {
    const echo = new Echo();
    stack.listen({ port, onSyn: (pending) => void pending.accept(echo, { noDelay: true }) });
    return echo;
  }

  /** See {@link TcpHandler.onOpen}. */
  onOpen(): void {
    this.open++;
    this.total++;
  }

  /** See {@link TcpHandler.onReadable}. */
  onReadable(connection: TcpConnection): void {
    while (true) {
      const count = connection.peek(this.#buffer);
      const taken = count === 0 ? 0 : connection.write(this.#buffer, 0, count);
      connection.skip(taken);
      if (count === 0 || taken < count) break;
    }
    if (connection.ended) connection.end();
  }

  /** See {@link TcpHandler.onWritable}. */
  onWritable(connection: TcpConnection): void {
    this.onReadable(connection);
  }

  /** See {@link TcpHandler.onEnd}. */
  onEnd(connection: TcpConnection): void {
    this.onReadable(connection);
  }

  /** See {@link TcpHandler.onClose}. */
  onClose(_connection: TcpConnection, reason: CloseReason): void {
    this.open--;
    this.reasons.push(reason);
  }
}

/** Has the host inside send each datagram back to where it came from. */
export function echoOn(w: World, port: number): void {
  w.farUdp.bind({
    port,
    handler: {
      onDatagram: (socket, buffer, at, length, address, from) =>
        void socket.sendTo(address, from, buffer, at, length),
    },
  });
}

/** Everything that comes until the end. */
export async function readAll(conn: Deno.Conn): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of conn.readable) parts.push(part);
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Writes everything. */
export async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Exactly so many bytes. */
export async function readExactly(conn: Deno.Conn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) throw new Error(`Cannot read: ended after ${at} of ${length} bytes`);
    at += count;
  }
  return bytes;
}

/** Bytes that can be told apart. */
export function pattern(length: number, salt = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(i, 31) + (i >>> 9) + salt) & 255;
  return bytes;
}

/** Why so many descriptors cannot be open at once here; undefined when they can. */
export function descriptorsMissing(count: number): string | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const line = /Max open files\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/limits"));
  return Number(line?.[1] ?? 0) >= count ? undefined : `needs ${count} descriptors`;
}
