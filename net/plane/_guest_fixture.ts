/**
 * A guest for tests: a WireGuard device whose packets go through a cable, as those of the kernel in a
 * VM do.
 *
 * @module
 */

import { join } from "node:path";
import { guestFrame } from "../../tests/doubles/guest_frames.ts";
import { openCable } from "../os/cable.ts";
import { Endpoint } from "../os/endpoint.ts";
import type { PacketHandler, PacketSocket } from "../os/packet_socket.ts";
import type { DatagramSink, PacketSink } from "../os/sink.ts";
import { Device } from "../wireguard/device.ts";

const PAYLOAD = 42;

/** MAC address of guests that the doubles make frames for. */
export const FIXTURE_MAC = "52:54:00:00:64:02";

/** Puts each message into a frame and onto the cable. */
class FrameSink implements DatagramSink {
  readonly buffer = new Uint8Array(2048);
  readonly #cable: PacketSink;
  constructor(cable: PacketSink) {
    this.#cable = cable;
  }
  reserve(size: number): number {
    return size > 2048 ? -1 : 0;
  }
  commit(length: number): void {
    const frame = guestFrame({ payload: this.buffer.slice(0, length) });
    const at = this.#cable.reserve(frame.length);
    this.#cable.buffer.set(frame, at);
    this.#cable.commit(frame.length);
  }
  flush(): void {
    this.#cable.flush();
  }
}

/** Keeps the packets that came out of the tunnel. */
class Inner implements PacketSink {
  readonly buffer = new Uint8Array(2048);
  readonly packets: Uint8Array[] = [];
  reserve(size: number): number {
    return size > 2048 ? -1 : 0;
  }
  commit(length: number): void {
    this.packets.push(this.buffer.slice(0, length));
  }
  flush(): void {}
}

/** A guest with one tunnel. */
export class FixtureGuest implements PacketHandler, Disposable {
  /** Paths of the cable's two ends. */
  readonly paths: { readonly cablePath: string; readonly guestPath: string };
  /** The guest's end. */
  readonly cable: PacketSocket;
  /** Its tunnel. */
  readonly device: Device;
  readonly #inner = new Inner();

  /** A guest whose peer has `peerKey` and the inner address 10.0.0.1. */
  constructor(folder: string, name: string, privateKey: Uint8Array, peerKey: Uint8Array) {
    this.paths = { cablePath: join(folder, name), guestPath: join(folder, `${name}.guest`) };
    this.cable = openCable({ localPath: this.paths.guestPath, peerPath: this.paths.cablePath });
    const out = new FrameSink(this.cable.out);
    this.device = new Device({ privateKey, out, inner: this.#inner, now: Date.now() });
    const endpoint = Endpoint.of("192.168.100.1", 51820);
    this.device.addPeer({
      publicKey: peerKey,
      allowedIps: [{ address: 0x0a000001, mask: 0xffffffff, bits: 32 }],
      ...(endpoint ? { endpoint } : {}),
    });
  }

  /** Packets that came through the tunnel. */
  get packets(): readonly Uint8Array[] {
    return this.#inner.packets;
  }

  /** Puts a packet into the tunnel. */
  send(packet: Uint8Array): void {
    const at = this.device.outbound.reserve(packet.length);
    this.device.outbound.buffer.set(packet, at);
    this.device.outbound.commit(packet.length);
    this.cable.out.flush();
  }

  /** Does what a kernel does all the time. */
  turn(): void {
    this.device.tick(Date.now());
    this.cable.drain(this, 64);
    this.cable.out.flush();
  }

  /** Takes a frame; see {@link PacketHandler.receive}. */
  receive(buffer: Uint8Array, at: number, length: number): void {
    const from = Endpoint.of("192.168.100.1", 51820);
    if (from === undefined || length < PAYLOAD) return;
    this.device.receive(buffer, at + PAYLOAD, length - PAYLOAD, from.sockaddr, 0, Date.now());
  }

  /** Unplugs it. */
  [Symbol.dispose](): void {
    this.device.close();
    this.cable[Symbol.dispose]();
  }
}
