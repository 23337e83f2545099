/**
 * Stream sockets without FFI: `Deno.listen` and `Deno.connect`, with a promise for each piece of up
 * to 64 KiB, and the same interface as stream_linux.ts.
 *
 * Differences: a socket that is watched for reading reads one piece ahead, `write` takes up to
 * one piece and sends it on its own time, and there are no resets: an abort is a close. It is
 * one file because sockets and listeners share the list of those that are ready.
 *
 * @module
 */

import { copyBytes } from "../wire/bytes.ts";
import { parseIpv4, parseIpv6 } from "../wire/ip_address.ts";
import { OTHERS_MASK, removeSocketFile } from "./_socket_file.ts";
import { Endpoint } from "./endpoint.ts";
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
  UNIX_PATH_MAX,
} from "./stream_socket.ts";

/** Most bytes that a socket reads ahead, and that it takes to write. */
const PIECE = 64 * 1024;
/** Connections that are accepted ahead of their owner. */
const ACCEPT_AHEAD = 64;
/** Behind the path of a unix socket until it is in its place; {@link UNIX_PATH_MAX} has room for it. */
const BOUND_SUFFIX = ".~";
const NOTHING = new Uint8Array(0);

/** Stream sockets by promises. */
export function openStreamsPortable(): Streams {
  return new PortableStreams();
}

/** Something that may be ready. */
interface Entry {
  readonly ready: boolean;
  tell(): void;
}

class PortableStreams implements Streams {
  readonly fd = -1;
  onReadable: (() => void) | undefined;
  readonly #ready = new Set<Entry>();

  get waiting(): number {
    return this.#ready.size;
  }

  /** Keeps the list of those that are ready; to be called after each change of `entry`. */
  update(entry: Entry): void {
    if (!entry.ready) {
      this.#ready.delete(entry);
      return;
    }
    this.#ready.add(entry);
    this.onReadable?.();
  }

  listen(address: StreamAddress, onConnection: () => void): StreamListener {
    if (!isAddress(address)) throw noAddress(address);
    try {
      return new PortableListener(this, openListener(address), address, onConnection);
    } catch (cause) {
      if (cause instanceof Deno.errors.AddrInUse) throw streamInUse(address, cause);
      throw listenFailed(address, codeOf(cause) ?? "", cause);
    }
  }

  connect(address: StreamAddress, owner: StreamOwner): StreamSocket | StreamFault {
    if (!isAddress(address)) return "bad-address";
    const socket = new PortableSocket(this, undefined);
    socket.owner = owner;
    void socket.connect(address);
    return socket;
  }

  add(source: Watchable, ready: () => void): Disposable {
    return new PortableSource(this, source, ready);
  }

  serve(): void {
    for (const entry of Array.from(this.#ready)) if (entry.ready) entry.tell();
  }

  [Symbol.dispose](): void {
    this.#ready.clear();
  }
}

function isAddress(address: StreamAddress): boolean {
  if (address.kind === "unix") {
    const { length } = new TextEncoder().encode(address.path);
    return length > 0 && length <= UNIX_PATH_MAX && !address.path.includes("\0");
  }
  const { port } = address;
  const isLiteral = parseIpv4(address.address) !== undefined ||
    parseIpv6(address.address) !== undefined;
  return isLiteral && Number.isInteger(port) && port >= 0 && port <= 65535;
}

function openListener(address: StreamAddress): Deno.Listener {
  if (address.kind === "tcp") {
    return Deno.listen({ transport: "tcp", hostname: address.address, port: address.port });
  }
  const { path } = address;
  removeSocketFile(path);
  if (exists(path)) throw new Deno.errors.AddrInUse(path);
  // Deno removes the file that it bound, some time after closing, when another may be there.
  const bound = `${path}${BOUND_SUFFIX}`;
  removeSocketFile(bound);
  const before = Deno.umask(OTHERS_MASK);
  try {
    const listener = Deno.listen({ transport: "unix", path: bound });
    Deno.renameSync(bound, path);
    return listener;
  } finally {
    Deno.umask(before);
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

async function openConnection(address: StreamAddress): Promise<Deno.Conn> {
  if (address.kind === "unix") {
    return await Deno.connect({ transport: "unix", path: address.path });
  }
  return await Deno.connect({ hostname: address.address, port: address.port });
}

/** An address of IP; that of IPv4 is written so, also when it has come by a socket of IPv6. */
function addressIn(address: Deno.Addr | undefined): string | undefined {
  return address?.transport === "tcp" ? Endpoint.of(address.hostname, 0)?.address : undefined;
}

function noDelay(conn: Deno.Conn): void {
  if (isTcp(conn)) conn.setNoDelay(true);
}

function isTcp(conn: Deno.Conn): conn is Deno.TcpConn {
  return conn.localAddr.transport === "tcp";
}

/** What the system calls an error, as in `EACCES`. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error && "code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

function faultOf(error: unknown): StreamFault {
  switch (codeOf(error)) {
    case "ECONNREFUSED":
    case "ENOENT":
      return "refused";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "EADDRNOTAVAIL":
      return "unreachable";
    case "ETIMEDOUT":
      return "timeout";
    case "ECONNRESET":
    case "ECONNABORTED":
    case "ENOTCONN":
    case "EPIPE":
      return "reset";
    case "EMFILE":
    case "ENFILE":
      return "no-descriptors";
    default:
      return "failed";
  }
}

/** A source that says by itself when it has packets. */
class PortableSource implements Entry, Disposable {
  readonly #streams: PortableStreams;
  readonly #source: Watchable;
  readonly #told: () => void;
  #over = false;

  constructor(streams: PortableStreams, source: Watchable, ready: () => void) {
    this.#streams = streams;
    this.#source = source;
    this.#told = ready;
    source.onReadable = () => streams.update(this);
    streams.update(this);
  }

  get ready(): boolean {
    return !this.#over && this.#source.waiting > 0;
  }

  tell(): void {
    this.#told();
    this.#streams.update(this);
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#source.onReadable = undefined;
    this.#streams.update(this);
  }
}

class PortableSocket implements StreamSocket, Entry {
  owner: StreamOwner | undefined;
  fault: StreamFault | undefined;
  readonly #streams: PortableStreams;
  #conn: Deno.Conn | undefined;
  #closed = false;
  /** Connected or failed, and the owner does not know yet. */
  #news = false;
  #wantsRead = false;
  #wantsWrite = false;
  #in = NOTHING;
  #inStart = 0;
  #inEnd = 0;
  #ended = false;
  #reading = false;
  #sending = false;
  /** Taken, and not sent yet. */
  readonly #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #shut = false;

  constructor(streams: PortableStreams, conn: Deno.Conn | undefined) {
    this.#streams = streams;
    this.#conn = conn;
    if (conn !== undefined) noDelay(conn);
  }

  get connecting(): boolean {
    return this.#conn === undefined && this.fault === undefined;
  }

  get remoteAddress(): string | undefined {
    return addressIn(this.#conn?.remoteAddr);
  }

  get localAddress(): string | undefined {
    return addressIn(this.#conn?.localAddr);
  }

  get ready(): boolean {
    if (this.#closed) return false;
    if (this.#news) return true;
    if (this.connecting || this.fault !== undefined) return false;
    const readable = this.#inEnd > this.#inStart || this.#ended;
    return (this.#wantsRead && readable) || (this.#wantsWrite && this.#unsentBytes < PIECE);
  }

  tell(): void {
    this.#news = false;
    this.#streams.update(this);
    this.owner?.onStream(this);
  }

  async connect(address: StreamAddress): Promise<void> {
    try {
      const conn = await openConnection(address);
      if (this.#closed) {
        conn.close();
        return;
      }
      this.#conn = conn;
      noDelay(conn);
      if (this.#wantsRead) this.#startReading();
    } catch (error) {
      this.fault = faultOf(error);
    }
    this.#news = true;
    this.#streams.update(this);
  }

  watch(read: boolean, write: boolean): void {
    this.#wantsRead = read;
    this.#wantsWrite = write;
    if (read) this.#startReading();
    this.#streams.update(this);
  }

  #startReading(): void {
    if (this.#reading || this.#ended || this.#inEnd > this.#inStart) return;
    if (this.#conn === undefined || this.#closed || this.fault !== undefined) return;
    void this.#readAhead(this.#conn);
  }

  async #readAhead(conn: Deno.Conn): Promise<void> {
    this.#reading = true;
    if (this.#in.length === 0) this.#in = new Uint8Array(PIECE);
    try {
      const count = await conn.read(this.#in);
      this.#inStart = 0;
      this.#inEnd = count ?? 0;
      this.#ended = count === null;
    } catch (error) {
      this.#fail(error);
    }
    this.#reading = false;
    this.#streams.update(this);
  }

  #fail(error: unknown): void {
    if (this.#closed || this.fault !== undefined) return;
    this.fault = faultOf(error);
    this.#news = true;
    this.#streams.update(this);
  }

  read(into: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.fault !== undefined || this.#closed) return STREAM.error;
    const count = Math.min(length, into.length - at, this.#inEnd - this.#inStart);
    if (count === 0) {
      if (this.#ended) return STREAM.end;
      if (this.#wantsRead) this.#startReading();
      return 0;
    }
    copyBytes(this.#in, this.#inStart, into, at, count);
    this.#inStart += count;
    if (this.#wantsRead) this.#startReading();
    this.#streams.update(this);
    return count;
  }

  write(from: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.fault !== undefined || this.#closed) return STREAM.error;
    const conn = this.#conn;
    if (conn === undefined || this.#shut) return 0;
    const count = Math.min(length, from.length - at, PIECE - this.#unsentBytes);
    if (count === 0) return 0;
    this.#unsent.push(from.slice(at, at + count));
    this.#unsentBytes += count;
    this.#streams.update(this);
    if (!this.#sending) void this.#send(conn);
    return count;
  }

  async #send(conn: Deno.Conn): Promise<void> {
    this.#sending = true;
    try {
      for (let bytes = this.#unsent.shift(); bytes !== undefined; bytes = this.#unsent.shift()) {
        for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
        this.#unsentBytes -= bytes.length;
        this.#streams.update(this);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#sending = false;
    if (this.#closed) closeQuietly(conn);
    else if (this.#shut) this.#closeWrite(conn);
    this.#streams.update(this);
  }

  shutdownWrite(): void {
    if (this.#shut || this.#closed) return;
    this.#shut = true;
    if (!this.#sending && this.#conn !== undefined) this.#closeWrite(this.#conn);
  }

  #closeWrite(conn: Deno.Conn): void {
    // It has failed, or been reset, and reading says so.
    conn.closeWrite().catch(() => {});
  }

  abort(): void {
    this.#sending = false;
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.owner = undefined;
    this.#streams.update(this);
    // What is being sent goes out first.
    if (!this.#sending && this.#conn !== undefined) closeQuietly(this.#conn);
  }
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // Closed before, by an abort while it was sending.
  }
}

class PortableListener implements StreamListener, Entry {
  readonly port: number;
  exhausted = false;
  readonly #streams: PortableStreams;
  readonly #listener: Deno.Listener;
  readonly #address: StreamAddress;
  readonly #onConnection: () => void;
  readonly #accepted: Deno.Conn[] = [];
  #watched = false;
  #accepting = false;
  #closed = false;

  constructor(
    streams: PortableStreams,
    listener: Deno.Listener,
    address: StreamAddress,
    onConnection: () => void,
  ) {
    this.#streams = streams;
    this.#listener = listener;
    this.#address = address;
    this.#onConnection = onConnection;
    this.port = listener.addr.transport === "tcp" ? listener.addr.port : 0;
  }

  get ready(): boolean {
    return this.#watched && (this.#accepted.length > 0 || this.exhausted);
  }

  tell(): void {
    this.#onConnection();
  }

  watch(on: boolean): void {
    this.#watched = on && !this.#closed;
    if (this.#watched) {
      this.exhausted = false;
      if (!this.#accepting) void this.#acceptAhead();
    }
    this.#streams.update(this);
  }

  async #acceptAhead(): Promise<void> {
    this.#accepting = true;
    while (this.#watched && !this.exhausted && this.#accepted.length < ACCEPT_AHEAD) {
      try {
        this.#accepted.push(await this.#listener.accept());
      } catch (error) {
        if (this.#closed) break;
        this.exhausted = faultOf(error) === "no-descriptors";
      }
      this.#streams.update(this);
    }
    this.#accepting = false;
    if (this.#closed) this.#dropAccepted();
  }

  #dropAccepted(): void {
    for (const conn of this.#accepted.splice(0)) conn.close();
  }

  accept(): StreamSocket | undefined {
    const conn = this.#accepted.shift();
    if (this.#watched && !this.#accepting && !this.exhausted) void this.#acceptAhead();
    this.#streams.update(this);
    return conn && new PortableSocket(this.#streams, conn);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watched = false;
    this.#streams.update(this);
    this.#listener.close();
    this.#dropAccepted();
    if (this.#address.kind === "unix") removeSocketFile(this.#address.path);
  }
}
