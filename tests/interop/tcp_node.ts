/**
 * A program for tests and benchmarks: a userspace interface wired to a TUN device, with some services,
 * to be run inside a network namespace. Prints `ready`; ends when its standard input does.
 *
 * ```
 * deno run -A tests/interop/tcp_node.ts '{"tun": "omt0", "kernel": "10.9.0.1/24", ...}'
 * ```
 *
 * | port | what it does                                                                  |
 * | ---- | ----------------------------------------------------------------------------- |
 * | 7    | sends back what it reads                                                      |
 * | 8    | the same, little by little: for thousands of connections                      |
 * | 9    | reads to the end, then sends the SHA-256 of it in hex                         |
 * | 10   | the same, but nothing before the line `read`, then only 32 KiB in each 10 ms  |
 * | 11   | reads to the end without looking, and ends                                    |
 * | 12   | the same as 8, and never ends by itself                                       |
 * | 19   | reads a line with a number, sends as many bytes of {@link nodeByte}, and ends |
 * | 20   | sends such bytes for ever                                                     |
 * | 80   | HTTP/1.0: any request gets 1 MiB of such bytes                                |
 * | 81   | refuses by a reset                                                            |
 * | 82   | refuses by ICMP                                                               |
 * | 83   | never answers                                                                 |
 * | 84   | opens and resets                                                              |
 * | 85   | reads nothing, sends nothing                                                  |
 *
 * A line on standard input, `{"to": "10.9.0.1", "port": 5000, "bytes": 1000000}`, makes it connect,
 * send as many bytes, end, read to the end, and print a {@link NodeResult}. A `CrowdCommand` makes it
 * do something with thousands of connections, and print a `CrowdResult`. `{"ping": "10.9.0.1"}` prints
 * the answer. The line `counters` prints the stack's counters and how full it is, `sending` the
 * statistics of the connection of port 19 or 20 that was opened last, `memory` how many bytes the
 * program holds; that one needs `--v8-flags=--expose-gc`.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { openReactor } from "../../net/os/reactor.ts";
import type { PacketSink } from "../../net/os/sink.ts";
import type {
  CloseReason,
  CongestionName,
  TcpConnection,
  TcpHandler,
} from "../../net/tcp/connection.ts";
import type { PendingSyn } from "../../net/tcp/listener.ts";
import { TunInterface } from "../../net/vlan/tun_interface.ts";
import { UserspaceInterface } from "../../net/vlan/userspace_interface.ts";
import { parseIpv4 } from "../../net/wire/ip_address.ts";
import { Random } from "../doubles/random.ts";
import { heldMemory } from "../support/held_memory.ts";
import { BadLine, type BadLineOptions } from "./_bad_line.ts";
import { Crowd } from "./_tcp_crowd.ts";

/** How to start it. */
export interface TcpNodeConfig {
  /** Name of the TUN device. */
  readonly tun: string;
  /** The kernel's address on it, with prefix length. */
  readonly kernel: string;
  /** The stack's address. */
  readonly address: string;
  /** Largest packet, in bytes. */
  readonly mtu: number;
  /** What happens to packets, in both directions. @default {nothing} */
  readonly line?: BadLineOptions;
  /** Congestion control. @default {the stack's} */
  readonly congestion?: CongestionName;
}

/** How a connection went that the node made. */
export interface NodeResult {
  /** Bytes read. */
  readonly read: number;
  /** SHA-256 of them, in hex. */
  readonly sha256: string;
  /** Why it is over. */
  readonly reason: CloseReason;
}

/** Byte `i` of what the services send. */
export function nodeByte(i: number): number {
  return (i * 7 + (i >>> 8)) & 255;
}

const PATTERN = new Uint8Array(65536).map((_, i) => nodeByte(i));
const SLOW_BYTES = 32 * 1024;
const SLOW_MS = 10;
const HTTP_BYTES = 1 << 20;
const scratch = new Uint8Array(256 * 1024);

/** Sends the pattern. */
class Source {
  #sent = 0;
  constructor(readonly bytes: number) {}

  /** Writes what is taken; true when everything was. */
  fill(c: TcpConnection): boolean {
    while (this.#sent < this.bytes) {
      const at = this.#sent % PATTERN.length;
      const want = Math.min(PATTERN.length - at, this.bytes - this.#sent);
      const taken = c.write(PATTERN, at, want);
      this.#sent += taken;
      if (taken < want) return false;
    }
    return true;
  }
}

class Echo implements TcpHandler {
  readonly #held: Uint8Array;
  #from = 0;
  #to = 0;
  constructor(bytes: number, readonly ends = true) {
    this.#held = new Uint8Array(bytes);
  }
  onReadable(c: TcpConnection): void {
    for (;;) {
      if (this.#from === this.#to) {
        this.#from = 0;
        this.#to = c.read(this.#held);
        if (this.#to === 0) break;
      }
      this.#from += c.write(this.#held, this.#from, this.#to - this.#from);
      if (this.#from < this.#to) return;
    }
    if (this.ends && c.ended) c.end();
  }
  onWritable(c: TcpConnection): void {
    this.onReadable(c);
  }
  onEnd(c: TcpConnection): void {
    this.onReadable(c);
  }
}

class Sink implements TcpHandler {
  readonly #hash = createHash("sha256");
  read = 0;
  #done = false;
  take(c: TcpConnection, limit: number): void {
    for (let left = limit; left > 0;) {
      const n = c.read(scratch, 0, Math.min(left, scratch.length));
      if (n === 0) break;
      this.#hash.update(scratch.subarray(0, n));
      this.read += n;
      left -= n;
    }
    if (!c.ended || this.#done) return;
    this.#done = true;
    c.write(new TextEncoder().encode(this.#hash.digest("hex")));
    c.end();
  }
  onReadable(c: TcpConnection): void {
    this.take(c, Infinity);
  }
  onEnd(c: TcpConnection): void {
    this.take(c, Infinity);
  }
}

/** Reads to the end as fast as it can, and does not look: for measuring. */
class Drain implements TcpHandler {
  onReadable(c: TcpConnection): void {
    while (c.read(scratch) > 0);
  }
  onEnd(c: TcpConnection): void {
    this.onReadable(c);
    c.end();
  }
}

class SlowSink implements TcpHandler {
  /** Whether they read yet. */
  static reads = false;
  readonly #sink = new Sink();
  #timer: ReturnType<typeof setInterval> | undefined;
  onOpen(c: TcpConnection): void {
    this.#timer = setInterval(() => {
      if (!SlowSink.reads) return;
      const before = this.#sink.read;
      this.#sink.take(c, SLOW_BYTES);
      if (this.#sink.read === before && c.ended) clearInterval(this.#timer);
    }, SLOW_MS);
  }
  onClose(): void {
    clearInterval(this.#timer);
  }
}

class Generator implements TcpHandler {
  /** The connection that was opened last. */
  static last: TcpConnection | undefined;
  #line = "";
  #source: Source | undefined;
  constructor(private readonly fixed?: number) {}
  onOpen(c: TcpConnection): void {
    Generator.last = c;
    if (this.fixed !== undefined) this.#source = new Source(this.fixed);
    this.onWritable(c);
  }
  onReadable(c: TcpConnection): void {
    const n = c.read(scratch);
    this.#line += new TextDecoder().decode(scratch.subarray(0, n));
    if (this.#line.endsWith("\n")) this.#source ??= new Source(Number(this.#line));
    this.onWritable(c);
  }
  onWritable(c: TcpConnection): void {
    if (this.#source?.fill(c) === true) c.end();
  }
}

class Http implements TcpHandler {
  #head = "";
  #body: Source | undefined;
  onReadable(c: TcpConnection): void {
    const n = c.read(scratch);
    this.#head += new TextDecoder().decode(scratch.subarray(0, n));
    if (this.#body !== undefined || !this.#head.includes("\r\n\r\n")) return;
    const head = `HTTP/1.0 200 OK\r\nContent-Length: ${HTTP_BYTES}\r\n\r\n`;
    c.write(new TextEncoder().encode(head));
    this.#body = new Source(HTTP_BYTES);
    this.onWritable(c);
  }
  onWritable(c: TcpConnection): void {
    if (this.#body?.fill(c) === true) c.end();
  }
}

const SERVICES: Record<number, (pending: PendingSyn) => void> = {
  7: (p) => void p.accept(new Echo(65536), { noDelay: true }),
  8: (p) => void p.accept(new Echo(256), { noDelay: true }),
  12: (p) => void p.accept(new Echo(256, false), { noDelay: true }),
  9: (p) => void p.accept(new Sink()),
  10: (p) => void p.accept(new SlowSink()),
  11: (p) => void p.accept(new Drain()),
  19: (p) => void p.accept(new Generator()),
  20: (p) => void p.accept(new Generator(Infinity)),
  80: (p) => void p.accept(new Http()),
  81: (p) => p.refuse("reset"),
  82: (p) => p.refuse("unreachable"),
  83: () => {},
  84: (p) => void p.accept({ onOpen: (c) => c.abort() }),
  85: (p) => void p.accept({}),
};

/** Connects to the kernel's side; prints how it went. */
class Client implements TcpHandler {
  readonly #source: Source;
  readonly #hash = createHash("sha256");
  #read = 0;
  constructor(bytes: number) {
    this.#source = new Source(bytes);
  }
  onReadable(c: TcpConnection): void {
    for (let n = c.read(scratch); n > 0; n = c.read(scratch)) {
      this.#hash.update(scratch.subarray(0, n));
      this.#read += n;
    }
  }
  onWritable(c: TcpConnection): void {
    if (this.#source.fill(c)) c.end();
  }
  onClose(_c: TcpConnection, reason: CloseReason): void {
    const result: NodeResult = { read: this.#read, sha256: this.#hash.digest("hex"), reason };
    print(result);
  }
}

function print(value: unknown): void {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function main(config: TcpNodeConfig): Promise<void> {
  const { address, mtu, congestion, line } = config;
  using reactor = openReactor(-1);
  using kernel = new TunInterface({ name: config.tun, address: config.kernel, mtu });
  using userspace = new UserspaceInterface({
    address,
    mtu,
    ...(congestion === undefined ? {} : { congestion }),
  });
  const through = (to: PacketSink, seed: number): PacketSink =>
    line === undefined ? to : new BadLine(to, line, new Random(seed));
  userspace.start(through(kernel.inbound, 1));
  kernel.start(through(userspace.inbound, 2));
  const { stack } = userspace;
  for (const [port, onSyn] of Object.entries(SERVICES)) stack.listen({ port: Number(port), onSyn });
  reactor.add(kernel.source, () => {
    userspace.begin(performance.now());
    kernel.drain();
    userspace.inbound.flush();
  });

  let ended = false;
  const crowd = new Crowd(stack, print);
  const lines = async (): Promise<void> => {
    let text = "";
    for await (const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
      text += part;
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n")) {
        const line = text.slice(0, at);
        text = text.slice(at + 1);
        if (line === "counters") print({ ...stack.counters, ...stack.use });
        else if (line === "sending") print(Generator.last?.stats ?? {});
        else if (line === "read") print(SlowSink.reads = true);
        else if (line === "memory") print(heldMemory());
        else if (line.startsWith('{"crowd"')) crowd.begin(JSON.parse(line));
        else {
          const { ping, to, port, bytes, connectMs } = JSON.parse(line);
          const peer = parseIpv4(ping ?? to) ?? 0;
          const options = connectMs === undefined ? {} : { connectMs };
          userspace.begin(performance.now());
          if (ping !== undefined) userspace.ping(peer, { timeoutMs: 5000 }, print);
          else userspace.dialTcp(peer, port, new Client(bytes), options);
        }
      }
    }
    ended = true;
  };
  void lines();
  print("ready");
  while (!ended) {
    const now = performance.now();
    const due = userspace.tick(now);
    // The event loop gets its turn: standard input, and the slow reader's timer.
    await reactor.wait(Math.max(0, Math.min(10, due - now)));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

if (import.meta.main) await main(JSON.parse(Deno.args[0] ?? "{}"));
