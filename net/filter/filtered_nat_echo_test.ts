/**
 * The filter with a real UDP socket as its uplink, on loopback.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { until } from "../../tests/support/until.ts";
import { Endpoint } from "../os/endpoint.ts";
import { libc } from "../os/libc.ts";
import type { DatagramHandler } from "../os/packet_socket.ts";
import { openUdp } from "../os/udp.ts";
import { formatFrame } from "../wire/format.ts";
import { FilteredNat } from "./filtered_nat.ts";
import { guestLink } from "./guest_link.ts";
import { countsByReason } from "./verdict.ts";

// The C library stays open for the life of the thread: opened here, it is no leak of a test.
libc();

/** A UDP socket on loopback that is closed at the end of its scope. */
class LoopbackSocket implements AsyncDisposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async open(): Promise<LoopbackSocket> {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    return new LoopbackSocket(socket);
  }

  get endpoint(): Endpoint {
    const made = Endpoint.of("127.0.0.1", this.#socket.address().port);
    assert.ok(made);
    return made;
  }

  echo(): void {
    this.#socket.on("message", (message, from) => {
      this.#socket.send(message, from.port, from.address);
    });
  }

  async send(payload: Uint8Array, port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.send(payload, port, "127.0.0.1", (error) => error ? reject(error) : resolve());
    await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#socket, "close");
    this.#socket.close();
    await closed;
  }
}

Deno.test("N4: what the guest sends comes back from a real echo server, and nothing from anybody else", async () => {
  await using server = await LoopbackSocket.open();
  await using stranger = await LoopbackSocket.open();
  server.echo();
  using udp = openUdp({ port: 0 });
  const toGuest = new MemoryPacketSink();
  const nat = new FilteredNat({
    guest: guestLink(),
    uplink: server.endpoint,
    toUplink: udp.out,
    toGuest,
  });
  const handler: DatagramHandler = {
    receive: (buffer, at, length, names, nameAt) => {
      nat.fromUplink(buffer, at, length, names, nameAt);
    },
  };
  const sent = [148, 92, 64, 32, 1472].map((length, i) =>
    wireguardMessage(length, Math.min(i + 1, 4))
  );
  for (const payload of sent) {
    const frame = guestFrame({ payload, sourcePort: 41000 });
    nat.fromGuest(frame, 0, frame.length);
  }
  nat.flush();
  const frames: Uint8Array[] = [];
  await until(() => {
    udp.drain(handler, 64);
    frames.push(...toGuest.take());
    return frames.length >= sent.length;
  }, { what: "every echo" });
  assert.deepEqual(frames.map((frame) => frame.slice(42)), sent);
  assert.equal(
    formatFrame(frames[0] ?? new Uint8Array(0), 0, 190),
    "UDP 192.168.100.1:51820 > 192.168.100.2:41000 len 148",
  );

  await stranger.send(wireguardMessage(148, 1), udp.port);
  await until(() => {
    udp.drain(handler, 64);
    return countsByReason(nat.counters.fromUplink).sender === 1;
  }, { what: "the stranger's datagram to be refused" });
  assert.deepEqual(toGuest.take(), []);

  // The control: the same message from the server still passes.
  await server.send(wireguardMessage(148, 1), udp.port);
  await until(() => {
    udp.drain(handler, 64);
    return toGuest.take().length === 1;
  }, { what: "the server's datagram" });
  assert.deepEqual(countsByReason(nat.counters.fromUplink), { forwarded: 6, sender: 1 });
});
