import assert from "node:assert/strict";
import { loopback } from "../../tests/doubles/endpoints.ts";
import { guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { until } from "../../tests/support/until.ts";
import { RING_FRAMES } from "../filter/refusals.ts";
import type { PacketSocket } from "../os/packet_socket.ts";
import { openUdp } from "../os/udp.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import { FIXTURE_MAC, FixtureGuest } from "./_guest_fixture.ts";
import { Recorder } from "./_handlers.ts";
import { Plane, type PlaneGuest, type PlaneGuestStats } from "./plane.ts";

const MODULE = new URL("./_plane_worker.ts", import.meta.url);

function put(cable: PacketSocket, frame: Uint8Array): void {
  cable.out.buffer.set(frame, cable.out.reserve(frame.length));
  cable.out.commit(frame.length);
  cable.out.flush();
}

/** A lender's data plane with guests, and a socket in the borrower's place. */
class World implements AsyncDisposable {
  readonly recorder = new Recorder();
  readonly uplink = openUdp({ port: 0 });
  readonly guests = new Map<string, FixtureGuest>();
  readonly plane: Plane;
  readonly #folder: string;

  private constructor(plane: Plane, folder: string) {
    this.plane = plane;
    this.#folder = folder;
  }

  static async create(): Promise<World> {
    const folder = await Deno.makeTempDir({ prefix: "omerta-plane-" });
    const late: { world?: World } = {};
    const plane = await Plane.start(
      { module: MODULE, port: 0, privateKey: generatePrivateKey() },
      {
        onControl: () => {},
        onPeer: () => {},
        onGuest: (event) => late.world?.recorder.onGuest(event),
        onFailed: (error) => late.world?.recorder.onFailed(error),
      },
    );
    return late.world = new World(plane, folder);
  }

  async add(id: string, more: Partial<PlaneGuest> = {}): Promise<PacketSocket> {
    const key = generatePrivateKey();
    const guest = new FixtureGuest(this.#folder, id, key, publicKeyOf(generatePrivateKey()));
    this.guests.set(id, guest);
    await this.plane.addGuest({
      ...{ id, ...guest.paths, mac: FIXTURE_MAC, publicKey: publicKeyOf(key) },
      uplink: loopback(this.uplink.port),
      ...more,
    });
    return guest.cable;
  }

  async stats(id: string): Promise<PlaneGuestStats> {
    const stats = (await this.plane.stats()).guests.find((guest) => guest.id === id);
    assert.ok(stats);
    return stats;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plane.close();
    this.uplink[Symbol.dispose]();
    for (const guest of this.guests.values()) guest[Symbol.dispose]();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

Deno.test("N12: Plane tells which guest is rogue, with its own limits, and keeps the frames of each", async () => {
  await using world = await World.create();
  const rogue = { spoofed: 9, destinations: 3, perMinute: 99, perHour: 99 };
  const loud = await world.add("loud", { rogue });
  const quiet = await world.add("quiet", { rogue });
  for (let i = 1; i <= 5; i++) put(loud, guestFrame({ destination: 0x08080800 + i }));
  for (let i = 1; i <= 5; i++) put(quiet, guestFrame({ destination: 0x09090909 }));
  await until(async () => (await world.stats("quiet")).fromGuest["destination"] === 5, {
    what: "the frames of the quiet one",
  });
  await until(async () => (await world.stats("loud")).fromGuest["destination"] === 5, {
    what: "the frames of the loud one",
  });
  assert.deepEqual(world.recorder.alarms, [
    "loud: scan: UDP 192.168.100.2:40000 > 8.8.8.3:51820 len 96 (destination)",
  ]);
  const frames = await world.plane.refusedFrames("loud");
  assert.deepEqual(
    frames.map(({ reason, text, length }) => `${reason} ${length} ${text}`),
    [1, 2, 3, 4, 5].map((i) => `destination 138 UDP 192.168.100.2:40000 > 8.8.8.${i}:51820 len 96`),
  );
  assert.deepEqual(frames[0]?.bytes, guestFrame({ destination: 0x08080801 }));
  assert.ok(Math.abs(Date.now() - (frames[0]?.time ?? 0)) < 60_000);
  assert.match((await world.plane.refusedFrames("quiet"))[0]?.text ?? "", /9\.9\.9\.9/);
  await assert.rejects(world.plane.refusedFrames("nobody"), { code: "no-such-guest" });
});

Deno.test("N12: Plane keeps the last refused frames of a guest and no more, and none that passed", async () => {
  await using world = await World.create();
  const cable = await world.add("web");
  for (let i = 0; i < RING_FRAMES + 3; i++) {
    put(cable, guestFrame({ destination: 0x08080808, destinationPort: 1000 + i }));
    // The cable's queue is short: this waits until the thread has had a turn.
    if (i % 8 === 7) await world.plane.stats();
  }
  put(cable, guestFrame());
  await until(async () => (await world.stats("web")).fromGuest["forwarded"] === 1, {
    what: "the good frame",
  });
  const { fromGuest } = await world.stats("web");
  assert.equal(fromGuest["destination"], RING_FRAMES + 3);
  const texts = (await world.plane.refusedFrames("web")).map(({ text }) => text);
  assert.deepEqual(
    texts,
    Array.from(
      { length: RING_FRAMES },
      (_, i) => `UDP 192.168.100.2:40000 > 8.8.8.8:${1003 + i} len 96`,
    ),
  );
});

Deno.test("N13: Plane knows when a session was heard of, each way, and is not fooled by handshakes", async () => {
  await using world = await World.create();
  const cable = await world.add("web");
  const { uplink, plane } = world;
  const answer = (message: Uint8Array): void => {
    uplink.out.buffer.set(message, uplink.out.reserve(message.length));
    uplink.out.commit(message.length, loopback(plane.port));
    uplink.out.flush();
  };
  const initiation = wireguardMessage(148, 1);
  for (let i = 0; i < 3; i++) put(cable, guestFrame({ payload: initiation }));
  put(cable, guestFrame({ destination: 0x08080808, payload: wireguardMessage() }));
  await until(async () => (await world.stats("web")).fromGuest["destination"] === 1, {
    what: "the frames",
  });
  const before = await world.stats("web");
  assert.equal(before.fromGuest["forwarded"], 3);
  assert.deepEqual([before.sessionFromGuestMs, before.sessionToGuestMs], [undefined, undefined]);

  // The receiver's index is the one that the guest has sent in its initiation.
  const cookie = wireguardMessage(64, 3);
  cookie.set(initiation.subarray(4, 8), 4);
  answer(cookie);
  await until(async () => (await world.stats("web")).bytesToGuest === 64, { what: "the cookie" });
  assert.equal((await world.stats("web")).sessionToGuestMs, undefined);
  const response = wireguardMessage(92, 2);
  response.set(initiation.subarray(4, 8), 8);
  const began = Date.now();
  answer(response);
  const after = await until(async () => {
    const stats = await world.stats("web");
    return stats.sessionToGuestMs !== undefined && stats;
  }, { what: "the response" });
  assert.ok((after.sessionToGuestMs ?? 0) >= began - 1000);
  assert.equal(after.sessionFromGuestMs, undefined);
  put(cable, guestFrame({ payload: wireguardMessage(32, 4) }));
  await until(async () => (await world.stats("web")).sessionFromGuestMs !== undefined, {
    what: "the keepalive",
  });
});

Deno.test("N13: Plane hears of both ends of a real tunnel, and of the one that is left when it is cut", async () => {
  const keys = { borrower: generatePrivateKey(), guest: generatePrivateKey() };
  await using world = await World.create();
  await using borrower = await Plane.start(
    { module: MODULE, port: 0, privateKey: keys.borrower },
    new Recorder(),
  );
  const folder = await Deno.makeTempDir({ prefix: "omerta-plane-" });
  {
    using guest = new FixtureGuest(folder, "web", keys.guest, publicKeyOf(keys.borrower));
    await world.plane.addGuest({
      ...{ id: "web", ...guest.paths, mac: FIXTURE_MAC, publicKey: publicKeyOf(keys.guest) },
      uplink: loopback(borrower.port),
    });
    await borrower.addPeer({
      publicKey: publicKeyOf(keys.guest),
      endpoint: loopback(world.plane.port),
      allowedIps: ["10.0.0.2/32"],
    });
    const packet = new Uint8Array(60);
    packet.set([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
    guest.send(packet);
    const joined = await until(async () => {
      guest.turn();
      const stats = await world.stats("web");
      return stats.sessionFromGuestMs !== undefined && stats.sessionToGuestMs !== undefined &&
        stats;
    }, { what: "both ends" });
    await borrower.close();
    // The guest knows nothing of that yet and goes on in its session.
    const left = await until(async () => {
      guest.send(packet);
      guest.turn();
      const stats = await world.stats("web");
      return (stats.sessionFromGuestMs ?? 0) > (joined.sessionToGuestMs ?? 0) + 20 && stats;
    }, { what: "the end that is left" });
    assert.ok((left.sessionFromGuestMs ?? 0) > (left.sessionToGuestMs ?? 0));
  }
  await Deno.remove(folder, { recursive: true });
});
