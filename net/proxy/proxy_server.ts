/**
 * A server on this computer whose clients are joined to connections inside: first a conversation in
 * the protocol of the proxy, then the dialling, then bytes.
 *
 * Limits: a client has {@link TALK_MS} for its conversation, the dialling {@link DIAL_MS}; more
 * connections than the loop's cap wait in the kernel's queue. A client that is turned away has
 * {@link LINGER_MS} to take its answer. One that is associated says nothing more by its connection, so
 * nobody would notice that its computer is gone: the loop's idle limit ends it.
 *
 * Each connection is dialled by itself, so a host inside that went away and came back is reached by
 * the next one.
 *
 * @module
 */

import {
  STREAM,
  type StreamAddress,
  type StreamOwner,
  type StreamSocket,
} from "../os/stream_socket.ts";
import type { TcpConnection } from "../tcp/connection.ts";
import { Door } from "./_door.ts";
import type { Dialer } from "./dialer.ts";
import { type Deadline, ProxyCounters, type ProxyLoop } from "./proxy_loop.ts";
import { type OpenFault, Splice, type SpliceOwner } from "./splice.ts";

/** How long a client may take to say what it wants, in ms. */
export const TALK_MS = 10_000;
/** How long a client that is turned away may take to hear it, in ms. */
export const LINGER_MS = 2000;

/** How a conversation goes on. */
export type Turn =
  /** More bytes are needed. */
  | { readonly kind: "more" }
  /** These bytes go to the client; then ask again. */
  | { readonly kind: "say"; readonly bytes: Uint8Array<ArrayBuffer> }
  /** These bytes go to the client, and that is all. */
  | { readonly kind: "refuse"; readonly bytes: Uint8Array<ArrayBuffer> }
  /** The client wants to be connected. */
  | { readonly kind: "dial"; readonly host: string; readonly port: number }
  /** The client wants to be associated: see {@link ProxyServerOptions.associate}. */
  | { readonly kind: "associate"; readonly reply: (to: Associated) => Uint8Array<ArrayBuffer> };

/** What a client says before it is connected. Takes any bytes and never throws. */
export interface Conversation {
  /** Bytes that {@link feed} takes. */
  readonly room: number;
  /** Takes bytes of the client. */
  feed(bytes: Uint8Array, at: number, length: number): void;
  /** How it goes on. */
  next(): Turn;
  /** Bytes of the client behind the conversation, after `dial`: they are for the other side. */
  rest(): Uint8Array<ArrayBuffer>;
  /** What to tell the client when it is connected; no bytes: nothing. */
  opened(connection: TcpConnection): Uint8Array<ArrayBuffer>;
  /** What to tell it when it is not; no bytes: it is reset. */
  failed(fault: OpenFault): Uint8Array<ArrayBuffer>;
}

/** Something besides the connection that lasts as long as it. */
export interface Associated extends Disposable {
  /** Address literal here. */
  readonly address: string;
  /** Port here. */
  readonly port: number;
  /** When something went through it last, in ms by the clock of the loop. */
  readonly movedAt: number;
}

/** What a {@link ProxyServer} is made of. */
export interface ProxyServerOptions {
  /** Where to listen. */
  readonly listen: StreamAddress;
  /** Reaches the inside. */
  readonly dialer: Dialer;
  /** Begins a conversation with a new client. */
  readonly converse: () => Conversation;
  /**
   * Gives a client what it asks for by `associate`; undefined when there is none. When this is left
   * out, conversations must not ask for it.
   */
  readonly associate?: (socket: StreamSocket, counters: ProxyCounters) => Associated | undefined;
}

/** The server. */
export class ProxyServer implements Disposable {
  /** What went through it. */
  readonly counters: ProxyCounters = new ProxyCounters();
  /** How its clients are treated. */
  readonly options: ProxyServerOptions;
  /** What it shares with other proxies. */
  readonly loop: ProxyLoop;
  readonly #door: Door;
  readonly #clients = new Set<Client>();

  /**
   * Begins to listen.
   *
   * @throws {OmertaError} `port-in-use`, `listen-failed`.
   */
  constructor(loop: ProxyLoop, options: ProxyServerOptions) {
    this.loop = loop;
    this.options = options;
    this.#door = new Door(loop, options.listen, (socket) => {
      this.counters.connections++;
      const client = new Client(this, socket);
      this.#clients.add(client);
      client.begin();
    });
  }

  /** Port that it listens on; 0 for a unix socket. */
  get port(): number {
    return this.#door.port;
  }

  /** Clients now. */
  get connections(): number {
    return this.#clients.size;
  }

  /** Forgets a client, whose socket is closed. */
  remove(client: Client): void {
    if (this.#clients.delete(client)) this.loop.give();
  }

  /** Stops: listens no more, and resets every connection. */
  [Symbol.dispose](): void {
    this.#door[Symbol.dispose]();
    for (const client of Array.from(this.#clients)) client.stop();
  }
}

/** One client. */
class Client implements StreamOwner, SpliceOwner, Deadline {
  readonly #server: ProxyServer;
  readonly #socket: StreamSocket;
  readonly #conversation: Conversation;
  #splice: Splice | undefined;
  #endsAt: number;
  /** Turned away, and told so. */
  #leaving = false;
  #associated: Associated | undefined;

  constructor(server: ProxyServer, socket: StreamSocket) {
    this.#server = server;
    this.#socket = socket;
    this.#conversation = server.options.converse();
    this.#endsAt = server.loop.now + TALK_MS;
  }

  begin(): void {
    this.#socket.owner = this;
    this.#server.loop.addDeadline(this);
    this.#goOn();
  }

  /** Ends it at once. */
  stop(): void {
    if (this.#splice !== undefined) this.#splice.stop();
    else this.#drop();
  }

  sweep(now: number): void {
    const { counters, loop } = this.#server;
    const associated = this.#associated;
    if (now < (associated === undefined ? this.#endsAt : associated.movedAt + loop.idleMs)) return;
    if (associated !== undefined) counters.aborted++;
    else if (!this.#leaving) counters.failed++;
    this.#drop();
  }

  onStream(socket: StreamSocket): void {
    const { buffer } = this.#server.loop;
    // Whoever is associated, or leaves, has nothing to say any more but that it ends.
    const listens = !this.#leaving && this.#associated === undefined;
    const room = listens ? this.#conversation.room : buffer.length;
    const count = room === 0 ? STREAM.error : socket.read(buffer, 0, Math.min(room, buffer.length));
    if (count === 0) return;
    if (count > 0) {
      if (!listens) return;
      this.#conversation.feed(buffer, 0, count);
      this.#goOn();
      return;
    }
    if (listens) this.#server.counters.failed++;
    this.#drop();
  }

  #goOn(): void {
    while (true) {
      const turn = this.#conversation.next();
      switch (turn.kind) {
        case "more":
          this.#socket.watch(true, false);
          return;
        case "say":
          if (!this.#say(turn.bytes)) {
            this.#server.counters.failed++;
            this.#drop();
            return;
          }
          break;
        case "refuse":
          this.#server.counters.failed++;
          this.#turnAway(turn.bytes);
          return;
        case "dial":
          this.#dial(turn.host, turn.port);
          return;
        case "associate":
          this.#associate(turn.reply);
          return;
      }
    }
  }

  #dial(host: string, port: number): void {
    const { loop, counters, options } = this.#server;
    loop.removeDeadline(this);
    const splice = new Splice(loop, this.#socket, this, counters, this.#conversation.rest());
    this.#splice = splice;
    const fault = splice.dial(options.dialer, host, port);
    if (fault === undefined) return;
    counters.failed++;
    this.onFailed(splice, fault);
  }

  #associate(reply: (to: Associated) => Uint8Array<ArrayBuffer>): void {
    const { counters, options } = this.#server;
    const associated = options.associate?.(this.#socket, counters);
    if (associated === undefined) {
      counters.failed++;
      this.#turnAway(this.#conversation.failed("too-many-connections"));
      return;
    }
    this.#associated = associated;
    this.#socket.watch(true, false);
    if (!this.#say(reply(associated))) this.#drop();
  }

  onOpen(splice: Splice): void {
    const { connection } = splice;
    if (connection !== undefined && !this.#say(this.#conversation.opened(connection))) {
      splice.stop();
    }
  }

  onFailed(_splice: Splice, fault: OpenFault): void {
    this.#splice = undefined;
    this.#turnAway(this.#conversation.failed(fault));
  }

  onOver(): void {
    this.#server.remove(this);
  }

  /** Tells the client something short; false when it does not even take that. */
  #say(bytes: Uint8Array<ArrayBuffer>): boolean {
    return bytes.length === 0 || this.#socket.write(bytes, 0, bytes.length) === bytes.length;
  }

  /** Gives it its answer. Closed at once, with bytes of it unread, it might get a reset instead. */
  #turnAway(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0 || !this.#say(bytes)) {
      this.#drop();
      return;
    }
    this.#leaving = true;
    this.#endsAt = this.#server.loop.now + LINGER_MS;
    this.#socket.owner = this;
    this.#socket.shutdownWrite();
    this.#socket.watch(true, false);
    this.#server.loop.addDeadline(this);
  }

  #drop(): void {
    this.#server.loop.removeDeadline(this);
    this.#associated?.[Symbol.dispose]();
    if (this.#leaving) this.#socket[Symbol.dispose]();
    else this.#socket.abort();
    this.#server.remove(this);
  }
}
