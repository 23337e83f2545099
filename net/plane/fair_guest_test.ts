/**
 * What a guest that is flooded, and takes little or nothing of it, costs the others of its lender:
 * one data plane, real cables and UDP sockets. What comes for all guests comes by one socket.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { loopback } from "../../tests/doubles/endpoints.ts";
import { guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { openCable } from "../os/cable.ts";
import type { Endpoint } from "../os/endpoint.ts";
import { libc } from "../os/libc.ts";
import type { PacketSocket, UdpSocket } from "../os/packet_socket.ts";
import { openUdp } from "../os/udp.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import { FIXTURE_MAC } from "./_guest_fixture.ts";
import { Recorder } from "./_handlers.ts";
import { Plane } from "./plane.ts";

const MODULE = new URL("./_plane_worker.ts", import.meta.url);
/** Datagrams for the flooded guest between two for each of the others. */
const FLOOD = 256;
/** Rounds of such floods. */
const ROUNDS = 1500;
const GUESTS = 4;

/** Transport data for the session of guest `i`. */
function dataFor(i: number): Uint8Array {
  const message = wireguardMessage(96);
  message.set([i + 1, 0, 0, 0], 4);
  return message;
}

function send(socket: UdpSocket, message: Uint8Array, to: Endpoint, count: number): void {
  for (let i = 0; i < count; i++) {
    const at = socket.out.reserve(message.length);
    if (at < 0) break;
    socket.out.buffer.set(message, at);
    socket.out.commit(message.length, to);
  }
  socket.out.flush();
}

/** Counts what comes out of a cable. */
class Taken {
  frames = 0;
  receive(): void {
    this.frames++;
  }
}

testIf(
  libc() === undefined ? "needs FFI on Linux" : undefined,
  "V9: a guest that is flooded and takes nothing costs the others nothing",
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "omerta-fair-" });
    await using owned = new AsyncDisposableStack();
    owned.defer(() => Deno.remove(folder, { recursive: true }));
    const recorder = new Recorder();
    const plane = owned.use(
      await Plane.start(
        { module: MODULE, port: 0, privateKey: generatePrivateKey() },
        recorder,
      ),
    );
    const borrowers = [owned.use(openUdp({ port: 0 })), owned.use(openUdp({ port: 0 }))] as const;
    const cables: PacketSocket[] = [];
    for (let i = 0; i < GUESTS; i++) {
      const paths = { cablePath: join(folder, `${i}`), guestPath: join(folder, `${i}.guest`) };
      const cable = owned.use(openCable({ localPath: paths.guestPath, peerPath: paths.cablePath }));
      cables.push(cable);
      await plane.addGuest({
        id: `${i}`,
        ...paths,
        mac: FIXTURE_MAC,
        publicKey: publicKeyOf(generatePrivateKey()),
        uplink: loopback(borrowers[i < 2 ? 0 : 1].port),
      });
      // Its session is known by the index in its initiation.
      const initiation = wireguardMessage(148, 1);
      initiation.set([i + 1, 0, 0, 0], 4);
      const frame = guestFrame({ payload: initiation });
      cable.out.buffer.set(frame, cable.out.reserve(frame.length));
      cable.out.commit(frame.length);
      cable.out.flush();
    }
    await until(async () => {
      return (await plane.stats()).guests.every(({ fromGuest }) => fromGuest["forwarded"] === 1);
    }, { what: "the guests' sessions to be known" });

    const lender = loopback(plane.port);
    const taken = cables.map(() => new Taken());
    const others = [1, 2, 3];
    for (let round = 0; round < ROUNDS; round++) {
      send(borrowers[0], dataFor(0), lender, FLOOD);
      send(borrowers[0], dataFor(1), lender, 1);
      for (const i of [2, 3]) send(borrowers[1], dataFor(i), lender, 1);
      for (const i of others) cables[i]?.drain(taken[i] ?? new Taken(), 64);
      // What the lender's processor cannot take is nobody's fault: this thread waits for it.
      if (round % 16 === 0) await plane.stats();
    }
    const { guests, udp } = await plane.stats();
    for (const i of others) cables[i]?.drain(taken[i] ?? new Taken(), 512);
    const words = JSON.stringify({ taken, guests, udp });
    // The positive control: the flood was there, and nearly all of it had no room.
    const [flooded] = guests;
    const lost = (flooded?.fromUplink["no-room"] ?? 0) + (flooded?.cable?.full ?? 0);
    assert.ok(lost > ROUNDS * FLOOD / 2, words);
    for (const i of others) assert.ok((taken[i]?.frames ?? 0) >= 0.9 * ROUNDS, words);
    assert.deepEqual(recorder.failures, []);
  },
);
