/**
 * Wires that keep messages apart: a unix datagram socket (a guest's cable of Omerta's), a unix
 * seqpacket socket (slirp4netns), a plain UDP socket (the far end).
 *
 * Nothing is coalesced: each datagram is one message for the kernel and one for the other side, which
 * costs all forwarders the same.
 *
 * @module
 */

import { OmertaError } from "../../../lib/core/errors.ts";
import {
  cInt,
  cString,
  errnoName,
  Fd,
  fixedBytes,
  type Libc,
  needLibc,
} from "../../../net/os/libc.ts";
import { MessageBatch } from "../../../net/os/message_batch.ts";
import type { PacketHandler } from "../../../net/os/packet_socket.ts";
import { MESSAGE_MAX, SEND_MAX, type Wire } from "./wire.ts";

const AF_UNIX = 1;
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
const SOCKADDR_IN_LEN = 16;

/** Bytes that the generator's own queues hold, so that they are not what drops. */
const BUFFER = 32 << 20;

/** Kinds of unix socket. */
export type UnixKind = "datagram" | "seqpacket" | "stream";
const TYPES = { datagram: SOCK_DGRAM, seqpacket: SOCK_SEQPACKET, stream: SOCK_STREAM };

/** A unix socket that is connected to the one at `peer`. */
export function connectUnix(kind: UnixKind, peer: string): Fd {
  const c = needLibc("open a unix socket");
  const fd = open(c, AF_UNIX, TYPES[kind]);
  const name = sockaddrUn(peer);
  check(c, c.call.connect(fd.number, name, name.length), `connect to ${peer}`);
  return fd;
}

/** A unix datagram socket that is bound to a path, in place of one that was left there. */
export function bindUnix(local: string): Fd {
  const c = needLibc("open a unix socket");
  const fd = open(c, AF_UNIX, SOCK_DGRAM);
  removeIfThereSync(local);
  const name = sockaddrUn(local);
  check(c, c.call.bind(fd.number, name, name.length), `bind ${local}`);
  return fd;
}

/** A UDP socket on a port of every IPv4 address; {@link answerSender} connects it. */
export function openUdpWire(port: number): MessageWire {
  const c = needLibc("open a UDP socket");
  const fd = open(c, AF_INET, SOCK_DGRAM);
  const name = fixedBytes(SOCKADDR_IN_LEN);
  name.set([AF_INET, 0, port >>> 8, port & 0xff]);
  check(c, c.call.bind(fd.number, name, name.length), `bind UDP port ${port}`);
  return new MessageWire(fd);
}

function open(c: Libc, family: number, type: number): Fd {
  const number = c.call.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  check(c, number, "open a socket");
  c.call.setsockopt(number, SOL_SOCKET, SO_SNDBUFFORCE, cInt(BUFFER), 4);
  c.call.setsockopt(number, SOL_SOCKET, SO_RCVBUFFORCE, cInt(BUFFER), 4);
  return new Fd(c, number);
}

function check(c: Libc, result: number, what: string): void {
  if (result >= 0) return;
  throw new OmertaError("bench-failed", `Cannot ${what}: ${errnoName(c.errno())}`);
}

/** Takes away what an earlier generator left. */
function removeIfThereSync(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function sockaddrUn(path: string): Uint8Array<ArrayBuffer> {
  const text = cString(path);
  const name = fixedBytes(2 + text.length);
  name[0] = AF_UNIX;
  name.set(text, 2);
  return name;
}

/** A wire over a socket that keeps messages apart. */
export class MessageWire implements Wire {
  readonly #c = needLibc("send messages");
  readonly #fd: Fd;
  readonly #sender: Fd;
  readonly #out = new MessageBatch(SEND_MAX, fixedBytes(SEND_MAX * MESSAGE_MAX), 0);
  readonly #in = new MessageBatch(SEND_MAX, fixedBytes(SEND_MAX * MESSAGE_MAX), SOCKADDR_IN_LEN);

  /** Takes ownership of a socket, and of another one to send through if that is not the same. */
  constructor(fd: Fd, sender: Fd = fd) {
    this.#fd = fd;
    this.#sender = sender;
    for (let i = 0; i < SEND_MAX; i++) this.#in.setData(i, i * MESSAGE_MAX, MESSAGE_MAX);
  }

  /** See {@link Wire.send}. */
  send(messages: readonly Uint8Array[], from: number, count: number): number {
    const { arena } = this.#out;
    const want = Math.min(count, SEND_MAX);
    for (let i = 0; i < want; i++) {
      const message = messages[from + i];
      if (message === undefined) continue;
      arena.set(message, i * MESSAGE_MAX);
      this.#out.setData(i, i * MESSAGE_MAX, message.length);
    }
    const { headers } = this.#out;
    return Math.max(0, this.#c.call.sendmmsg(this.#sender.number, headers, want, MSG_DONTWAIT));
  }

  /** See {@link Wire.drain}. */
  drain(handler: PacketHandler): void {
    const batch = this.#in;
    while (true) {
      batch.prepareReceive(SEND_MAX, false);
      const { headers, arena } = batch;
      const got = this.#c.call.recvmmsg(this.#fd.number, headers, SEND_MAX, MSG_DONTWAIT, null);
      for (let i = 0; i < got; i++) handler.receive(arena, i * MESSAGE_MAX, batch.received(i));
      if (got < SEND_MAX) return;
    }
  }

  /** From now on exchanges datagrams with whoever sent the last one, and with nobody else. */
  answerSender(): void {
    const name = this.#in.names.subarray(0, SOCKADDR_IN_LEN);
    check(this.#c, this.#c.call.connect(this.#fd.number, name, name.length), "answer the sender");
  }

  /** Closes both. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
    this.#sender[Symbol.dispose]();
  }
}
