/**
 * What goes wrong under the packet thread, with real sockets and real limits: it goes on, and counts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { loopback } from "../../tests/doubles/endpoints.ts";
import { guestArp, guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { Random } from "../../tests/doubles/random.ts";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { openCable } from "../os/cable.ts";
import type { Endpoint } from "../os/endpoint.ts";
import { libc } from "../os/libc.ts";
import type { PacketSocket, UdpSocket } from "../os/packet_socket.ts";
import { openUdp } from "../os/udp.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import type { Found } from "./_descriptors_fixture.ts";
import { FIXTURE_MAC } from "./_guest_fixture.ts";
import { Recorder } from "./_handlers.ts";
import { Plane, type PlaneGuestStats } from "./plane.ts";

const MODULE = new URL("./_plane_worker.ts", import.meta.url);
const missing = libc() === undefined ? "needs FFI on Linux" : undefined;
/** How much a process may grow while a million frames are refused, in bytes. */
const GROWTH = 64 << 20;

/** Frames onto a cable, in one burst. */
function put(cable: PacketSocket, ...frames: readonly Uint8Array[]): void {
  for (const frame of frames) {
    const at = cable.out.reserve(frame.length);
    if (at < 0) break;
    cable.out.buffer.set(frame, at);
    cable.out.commit(frame.length);
  }
  cable.out.flush();
}

/** A plane with one guest, whose other end is this thread's. */
class Rig implements AsyncDisposable {
  readonly owned = new AsyncDisposableStack();
  readonly recorder = new Recorder();
  readonly uplink: UdpSocket;
  readonly plane: Plane;
  readonly folder: string;
  #arrived = 0;

  private constructor(plane: Plane, folder: string, recorder: Recorder) {
    this.plane = this.owned.use(plane);
    this.recorder = recorder;
    this.uplink = this.owned.use(openUdp({ port: 0 }));
    this.folder = folder;
    this.owned.defer(() => Deno.remove(folder, { recursive: true }));
  }

  static async start(): Promise<Rig> {
    const folder = await Deno.makeTempDir({ prefix: "omerta-errors-" });
    const recorder = new Recorder();
    const options = { module: MODULE, port: 0, privateKey: generatePrivateKey() };
    return new Rig(await Plane.start(options, recorder), folder, recorder);
  }

  path(end: "cable" | "guest", id = "web"): string {
    return join(this.folder, `${id}.${end}`);
  }

  openGuest(id = "web"): PacketSocket {
    return openCable({ localPath: this.path("guest", id), peerPath: this.path("cable", id) });
  }

  async addGuest(id = "web", uplink = loopback(this.uplink.port)): Promise<void> {
    await this.plane.addGuest({
      id,
      cablePath: this.path("cable", id),
      guestPath: this.path("guest", id),
      mac: FIXTURE_MAC,
      publicKey: publicKeyOf(generatePrivateKey()),
      uplink,
    });
  }

  async stats(id = "web"): Promise<PlaneGuestStats> {
    const found = (await this.plane.stats()).guests.find((guest) => guest.id === id);
    assert.ok(found);
    return found;
  }

  /** Waits for one more message at the uplink. */
  async arrives(what: string): Promise<void> {
    const before = this.#arrived;
    await until(() => {
      this.uplink.drain({ receive: () => this.#arrived++ }, 64);
      return this.#arrived > before;
    }, { what });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assert.deepEqual(this.recorder.failures, []);
    await this.owned.disposeAsync();
  }
}

testIf(
  missing,
  "N16: Plane goes on when the other end of a cable is closed, and comes back",
  async () => {
    await using rig = await Rig.start();
    await rig.addGuest();
    {
      using guest = rig.openGuest();
      put(guest, guestFrame());
      await rig.arrives("the first frame");
      // It asks, and is gone before the answer comes.
      put(guest, ...new Array<Uint8Array>(32).fill(guestArp()));
    }
    await until(async () => (await rig.stats()).fromGuest["answered"] === 32, {
      what: "the questions of a guest that is gone",
    });
    using guest = rig.openGuest();
    put(guest, guestFrame());
    await rig.arrives("a frame of the guest that has come in its place");
    put(guest, guestArp());
    await until(() => guest.drain({ receive: () => {} }, 64) > 0, { what: "the answer to it" });
  },
);

testIf(
  missing,
  "N16: Plane goes on when a cable's own socket is removed from its folder",
  async () => {
    await using rig = await Rig.start();
    await rig.addGuest();
    {
      using guest = rig.openGuest();
      put(guest, guestFrame());
      await rig.arrives("the first frame");
      await Deno.remove(rig.path("cable"));
    }
    using guest = rig.openGuest();
    put(guest, guestFrame());
    assert.equal(guest.counters.noPeer, 1, "nobody finds it any more");
    await rig.plane.removeGuest("web");
    await rig.addGuest();
    put(guest, guestFrame());
    await rig.arrives("a frame over the cable that was added again");
  },
);

testIf(
  missing,
  "N16: Plane goes on after a million bad frames, counts each, and does not grow",
  async () => {
    await using rig = await Rig.start();
    await rig.addGuest();
    using guest = rig.openGuest();
    const random = new Random(16);
    const noise = Uint8Array.from({ length: 1 << 16 }, () => random.below(256));
    const good = guestFrame({ payload: wireguardMessage() });
    const garbage = Array.from({ length: 64 }, (_, i): Uint8Array => {
      const at = (i * 7919) % (noise.length - 2000);
      if (i % 2 === 0) return noise.subarray(at, at + 1 + (i * 97) % 1600);
      const frame = good.slice();
      frame.set(noise.subarray(at, at + 4), (i * 2) % (frame.length - 4));
      frame[0] = 0xff; // whatever else: it is not for the gateway
      return frame;
    });
    const flood = async (count: number): Promise<void> => {
      for (let sent = 0; sent < count; sent += garbage.length) {
        put(guest, ...garbage);
        if (sent % 65_536 === 0) await rig.plane.stats();
      }
    };
    await flood(200_000); // what has to be compiled and grown at first has
    const before = Deno.memoryUsage().rss;
    const target = guest.counters.sent + 1_000_000;
    while (guest.counters.sent < target) await flood(65_536);
    const stats = await until(async () => {
      const now = await rig.stats();
      return now.cable?.received === guest.counters.sent && now;
    }, { what: "the last of them" });
    const counted = Object.entries(stats.fromGuest);
    assert.equal(counted.reduce((sum, [, count]) => sum + count, 0), guest.counters.sent);
    assert.equal(stats.fromGuest["forwarded"], undefined, JSON.stringify(counted));
    assert.ok(counted.length >= 3, JSON.stringify(counted));
    const grown = Deno.memoryUsage().rss - before;
    assert.ok(grown < GROWTH, `grown by ${grown} bytes`);
    assert.ok(rig.recorder.refusals.length < 100, "they are not all told");
    put(guest, good);
    await rig.arrives("a good frame after them");
  },
);

testIf(missing, "N16: Plane takes what is cut off, empty or too long for what it is", async () => {
  await using rig = await Rig.start();
  await rig.addGuest();
  const guest = Deno.listenDatagram({ transport: "unixpacket", path: rig.path("guest") });
  using _closed = { [Symbol.dispose]: () => guest.close() };
  const to = { transport: "unixpacket", path: rig.path("cable") } as const;
  const good = guestFrame();
  const frames = [
    new Uint8Array(0),
    new Uint8Array(1),
    good.subarray(0, 13),
    good.subarray(0, 41),
    good.subarray(0, good.length - 1),
    new Uint8Array(2049), // MSG_TRUNC: longer than the slot it is received into
    new Uint8Array(60_000),
    good,
  ];
  for (const frame of frames) await guest.send(frame, to);
  await rig.arrives("the good one");
  const { cable, fromGuest } = await rig.stats();
  assert.deepEqual([cable?.received, cable?.truncated], [6, 2]);
  assert.deepEqual(fromGuest, { forwarded: 1, truncated: 3, "bad-length": 2 });
});

testIf(missing, "N16: Plane goes on when nobody listens where a guest's tunnel goes", async () => {
  await using rig = await Rig.start();
  let closed: Endpoint;
  {
    using socket = openUdp({ port: 0 });
    closed = loopback(socket.port);
  }
  await rig.addGuest("lost", closed);
  await rig.addGuest();
  using lost = rig.openGuest("lost");
  using guest = rig.openGuest();
  for (let i = 0; i < 20; i++) {
    // ECONNREFUSED comes back for it by ICMP; it must hit neither the next one nor the receiving side.
    put(lost, guestFrame(), guestFrame());
    put(guest, guestFrame());
    await rig.arrives("the frame of the other guest");
  }
  assert.equal((await rig.stats("lost")).fromGuest["forwarded"], 40);
});

testIf(
  missing ?? commandMissing("prlimit"),
  "N16: Plane without descriptors refuses the next guest and serves those it has",
  async () => {
    const program = new URL("./_descriptors_fixture.ts", import.meta.url).pathname;
    const { stdout, stderr, code } = await new Deno.Command("prlimit", {
      args: ["--nofile=64", Deno.execPath(), "run", "-A", "--quiet", "--no-check", program],
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const found: Found = JSON.parse(new TextDecoder().decode(stdout));
    assert.ok(found.added >= 2 && found.added < 64, JSON.stringify(found));
    assert.equal(found.error.code, "cable-failed");
    assert.match(found.error.message, /^Cannot open the socket .*: EMFILE$/);
    assert.match(found.error.next, /ulimit -n/);
    assert.deepEqual([found.serves, found.goesOn], [true, true]);
  },
);
