/**
 * A gateway without a world: packets of an inside that the test writes, sockets that only keep what is
 * sent, and a clock of the test's own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import type {
  DatagramFault,
  Datagrams,
  DatagramSocket,
  DatagramTaker,
} from "../os/datagram_socket.ts";
import { openStreamsPortable } from "../os/stream_portable.ts";
import { UserspaceInterface } from "../vlan/userspace_interface.ts";
import { checksum } from "../wire/checksum.ts";
import { formatPacket } from "../wire/format.ts";
import { ipv4ToString } from "../wire/ip_address.ts";
import { PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { writeUdp } from "../wire/udp.ts";
import { ProxyLoop } from "./proxy_loop.ts";

/** Address of the gateway's own: 10.0.0.1. */
export const GATEWAY = 0x0a000001;
/** Address of a host inside: 10.0.0.2. */
export const GUEST = 0x0a000002;
/** An address outside: 192.0.2.7 (RFC 5737). */
export const SERVER = 0xc0000207;
/** Another one: 192.0.2.8. */
export const STRANGER = 0xc0000208;
const MTU = 1400;

/** A datagram that has arrived. */
interface Arrived {
  readonly bytes: Uint8Array;
  readonly address: number;
  readonly port: number;
}

/** A socket of nobody's. */
export class FakeSocket implements DatagramSocket {
  /** There is none. */
  readonly fd = -1;
  /** See {@link DatagramSocket.port}. */
  readonly port: number;
  /** See {@link DatagramSocket.onReadable}. */
  onReadable: (() => void) | undefined;
  /** What was sent, as `192.0.2.7:53 aabb`. */
  readonly sent: string[] = [];
  /** Whether it is closed. */
  closed = false;
  readonly #datagrams: FakeDatagrams;
  readonly #arrived: Arrived[] = [];

  /** Made by {@link FakeDatagrams}. */
  constructor(datagrams: FakeDatagrams, port: number) {
    this.#datagrams = datagrams;
    this.port = port;
  }

  /** See {@link DatagramSocket.waiting}. */
  get waiting(): number {
    return this.#arrived.length;
  }

  /** See {@link DatagramSocket.send}. */
  send(
    address: number,
    port: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): DatagramFault | undefined {
    assert.ok(!this.closed);
    const { fault } = this.#datagrams;
    if (fault !== undefined) return fault;
    this.sent.push(`${ipv4ToString(address)}:${port} ${bytes.subarray(at, at + length).toHex()}`);
    return undefined;
  }

  /** Has a datagram arrive. */
  arrive(address: number, port: number, bytes: Uint8Array): void {
    this.#arrived.push({ bytes, address, port });
    this.onReadable?.();
  }

  /** See {@link DatagramSocket.drain}. */
  drain(taker: DatagramTaker, limit: number): number {
    const taken = this.#arrived.splice(0, limit);
    for (const { bytes, address, port } of taken) {
      taker.take(bytes, 0, bytes.length, address, port);
    }
    return taken.length;
  }

  /** See {@link DatagramSocket}. */
  [Symbol.dispose](): void {
    // Nobody may watch what is closed.
    assert.equal(this.onReadable, undefined);
    if (!this.closed) this.#datagrams.open.delete(this);
    this.closed = true;
  }
}

/** Sockets of nobody's. */
export class FakeDatagrams implements Datagrams {
  /** Those that are open, of both kinds. */
  readonly open: Set<FakeSocket> = new Set();
  /** All of UDP, in the order in which they were opened. */
  readonly udp: FakeSocket[] = [];
  /** The one for pings. */
  ping: FakeSocket | undefined;
  /** How many may be open. */
  most = Infinity;
  /** Whether there may be pings. */
  pings = true;
  /** What sending says. */
  fault: DatagramFault | undefined;

  /** See {@link Datagrams.openUdp}. */
  openUdp(): FakeSocket | undefined {
    const socket = this.#make();
    if (socket !== undefined) this.udp.push(socket);
    return socket;
  }

  /** See {@link Datagrams.openPing}. */
  openPing(): FakeSocket | undefined {
    return this.ping = this.pings ? this.#make() : undefined;
  }

  #make(): FakeSocket | undefined {
    if (this.open.size >= this.most) return undefined;
    const socket = new FakeSocket(this, 40_000 + this.udp.length);
    this.open.add(socket);
    return socket;
  }
}

/** A stack whose packets the test writes and reads. */
export class Inside implements Disposable {
  /** The sockets of this computer. */
  readonly datagrams: FakeDatagrams = new FakeDatagrams();
  /** The stack. */
  readonly link: UserspaceInterface;
  /** What proxies share. */
  readonly loop: ProxyLoop;
  /** What leaves to the inside. */
  readonly sink: MemoryPacketSink = new MemoryPacketSink();
  /** The time, in ms. */
  now = 1000;

  /** A promiscuous stack, unless told otherwise. */
  constructor(promiscuous = true) {
    const { now } = this;
    this.link = new UserspaceInterface({ address: "10.0.0.1", mtu: MTU, promiscuous, now });
    this.link.start(this.sink);
    this.loop = new ProxyLoop({ now, streams: openStreamsPortable() });
  }

  /** Gives the stack a packet, and whoever has something to do his turn. */
  give(protocol: number, from: number, to: number, payload: Uint8Array): void {
    const packet = new Uint8Array(20 + payload.length);
    packet.set(payload, 20);
    writeIpv4(packet, 0, from, to, protocol, packet.length, 1);
    this.link.begin(this.now);
    this.link.input(packet, 0, packet.length);
    this.turn();
  }

  /** A datagram from inside. */
  send(from: number, fromPort: number, to: number, port: number, hex: string): void {
    const data = Uint8Array.fromHex(hex);
    const datagram = new Uint8Array(8 + data.length);
    datagram.set(data, 8);
    writeUdp(datagram, 0, from, fromPort, to, port, data.length);
    this.give(PROTOCOL.udp, from, to, datagram);
  }

  /** An echo request from inside. */
  ping(from: number, to: number, identifier: number, sequence: number, data: Uint8Array): void {
    this.give(PROTOCOL.icmp, from, to, echo(8, identifier, sequence, data));
  }

  /** Lets time pass, and everybody have his turn. */
  turn(ms = 0): void {
    this.now += ms;
    this.link.begin(this.now);
    this.loop.serve(this.now);
    this.loop.tick(this.now);
    this.link.tick(this.now);
  }

  /** What has left to the inside, in words. */
  said(): string[] {
    return this.sink.take().map((packet) => formatPacket(packet, 0, packet.length));
  }

  /** Closes what waits. */
  [Symbol.dispose](): void {
    this.loop[Symbol.dispose]();
    this.link.stop();
  }
}

/** An ICMP message. */
export function echo(
  type: number,
  identifier: number,
  sequence: number,
  data: Uint8Array,
): Uint8Array {
  const message = new Uint8Array(8 + data.length);
  message.set([type, 0, 0, 0, identifier >>> 8, identifier, sequence >>> 8, sequence]);
  message.set(data, 8);
  const sum = checksum(message, 0, message.length);
  message.set([sum >>> 8, sum & 255], 2);
  return message;
}
