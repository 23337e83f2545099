/**
 * A program for the TUN tests, to be run inside a network namespace. Prints `ready` once the device
 * is up, and ends when its standard input does.
 *
 * ```
 * _tun_fixture.ts echo NAME ADDRESS                         answers every ping itself
 * _tun_fixture.ts pipe NAME ADDRESS PORT PEER PEERPORT      carries packets to another one, by UDP
 * ```
 *
 * @module
 */

import { Endpoint } from "./endpoint.ts";
import type { DatagramHandler } from "./packet_socket.ts";
import { openReactor, Waker } from "./reactor.ts";
import type { PacketSink } from "./sink.ts";
import { openTun } from "./tun.ts";
import { openUdp } from "./udp.ts";

const IP_SOURCE = 12;
const IP_DESTINATION = 16;
const ICMP = 20;

/** Turns an echo request around and writes it to the device it came from. */
class Echo implements PacketSink {
  readonly buffer = new Uint8Array(2048);
  readonly #back: PacketSink;
  constructor(back: PacketSink) {
    this.#back = back;
  }
  reserve(size: number): number {
    return size > 2048 ? -1 : 0;
  }
  commit(length: number): void {
    const at = this.#back.reserve(length);
    const out = this.#back.buffer;
    out.set(this.buffer.subarray(0, length), at);
    out.copyWithin(at + IP_SOURCE, at + IP_DESTINATION, at + IP_DESTINATION + 4);
    out.set(this.buffer.subarray(IP_SOURCE, IP_SOURCE + 4), at + IP_DESTINATION);
    // RFC 1624: the type falls from 8 to 0, so the checksum rises by 0x0800.
    out[at + ICMP] = 0;
    const view = new DataView(out.buffer, at + ICMP);
    const sum = view.getUint16(2) + 0x0800;
    view.setUint16(2, (sum & 0xffff) + (sum >>> 16));
    this.#back.commit(length);
  }
  flush(): void {
    this.#back.flush();
  }
}

/** Puts each packet into a datagram. */
class ToPeer implements PacketSink {
  buffer: Uint8Array;
  readonly #udp: ReturnType<typeof openUdp>;
  readonly #peer: Endpoint;
  constructor(udp: ReturnType<typeof openUdp>, peer: Endpoint) {
    this.#udp = udp;
    this.#peer = peer;
    this.buffer = udp.out.buffer;
  }
  reserve(size: number): number {
    return this.#udp.out.reserve(size);
  }
  commit(length: number): void {
    this.#udp.out.commit(length, this.#peer);
  }
  flush(): void {
    this.#udp.out.flush();
  }
}

/** Takes each packet out of its datagram. */
class FromPeer implements DatagramHandler {
  readonly #device: PacketSink;
  constructor(device: PacketSink) {
    this.#device = device;
  }
  receive(buffer: Uint8Array, at: number, length: number): void {
    const to = this.#device.reserve(length);
    this.#device.buffer.set(buffer.subarray(at, at + length), to);
    this.#device.commit(length);
  }
}

async function main(args: string[]): Promise<void> {
  const [mode, name = "", address = "", port = "0", peerAddress = "", peerPort = "0"] = args;
  using tun = openTun({ name, address });
  using waker = new Waker();
  using reactor = openReactor(waker.fd);
  using cleanup = new DisposableStack();
  if (mode === "echo") {
    const echo = new Echo(tun.out);
    reactor.add(tun, () => {
      tun.drainInto(echo, 32);
      echo.flush();
    });
  } else {
    const peer = Endpoint.of(peerAddress, Number(peerPort));
    if (peer === undefined) throw new TypeError("Cannot read the peer's address");
    const udp = cleanup.use(openUdp({ port: Number(port) }));
    const out = new ToPeer(udp, peer);
    const device = new FromPeer(tun.out);
    reactor.add(tun, () => {
      tun.drainInto(out, 8);
      out.flush();
    });
    reactor.add(udp, () => {
      udp.drain(device, 256);
      tun.out.flush();
    });
  }
  let ended = false;
  void Deno.stdin.read(new Uint8Array(1)).then(() => ended = true);
  await Deno.stdout.write(new TextEncoder().encode("ready\n"));
  while (!ended) {
    await reactor.wait(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

if (import.meta.main) await main(Deno.args);
