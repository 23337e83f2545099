import assert from "node:assert/strict";
import { loopback } from "../../tests/doubles/endpoints.ts";
import { guestArp, guestFrame } from "../../tests/doubles/guest_frames.ts";
import { until } from "../../tests/support/until.ts";
import { libc } from "../os/libc.ts";
import type { PacketSocket, UdpSocket } from "../os/packet_socket.ts";
import { openUdp } from "../os/udp.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import { FIXTURE_MAC, FixtureGuest } from "./_guest_fixture.ts";
import { Recorder } from "./_handlers.ts";
import { Plane } from "./plane.ts";

// The C library stays open for the life of the thread: opened here, it is no leak of a test.
libc();

const MODULE = new URL("./_plane_worker.ts", import.meta.url);
const LOOPBACK = 0x7f000001;

function put(cable: PacketSocket, frame: Uint8Array): void {
  const at = cable.out.reserve(frame.length);
  cable.out.buffer.set(frame, at);
  cable.out.commit(frame.length);
  cable.out.flush();
}

/** A plane with one guest, whose tunnel goes to `uplink`. */
async function planeWithGuest(
  uplink: UdpSocket,
): Promise<{ plane: Plane; guest: FixtureGuest } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const path = await Deno.makeTempDir({ prefix: "omerta-plane-" });
  stack.defer(() => Deno.remove(path, { recursive: true }));
  const plane = stack.use(
    await Plane.start(
      { module: MODULE, port: 0, privateKey: generatePrivateKey() },
      new Recorder(),
    ),
  );
  const key = generatePrivateKey();
  const peer = publicKeyOf(generatePrivateKey());
  const guest = stack.use(new FixtureGuest(path, "web", key, peer));
  await plane.addGuest({
    id: "web",
    ...guest.paths,
    mac: FIXTURE_MAC,
    publicKey: publicKeyOf(key),
    uplink: loopback(uplink.port),
  });
  const owned = stack.move();
  return { plane, guest, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** The numbers in the datagrams that wait at a socket. */
function numbersAt(socket: UdpSocket): number[] {
  const numbers: number[] = [];
  socket.drain({
    receive: (buffer, at): void => {
      numbers.push((buffer[at + 16] ?? 0) * 256 + (buffer[at + 17] ?? 0));
    },
  }, 4096);
  return numbers;
}

function numbered(number: number): Uint8Array {
  const payload = new Uint8Array(96);
  payload.set([4, 0, 0, 0]);
  payload.set([number >> 8, number & 0xff], 16);
  return payload;
}

Deno.test("N10: while its uplink changes all the time, a guest reaches the uplinks and nobody else", async () => {
  using first = openUdp({ port: 0 });
  using second = openUdp({ port: 0 });
  using stranger = openUdp({ port: 0 });
  await using world = await planeWithGuest(first);
  const { plane, guest } = world;
  const rounds = 200;
  const changes: Promise<void>[] = [];
  for (let round = 0; round < rounds; round++) {
    const uplink = round % 2 === 0 ? second : first;
    changes.push(plane.setUplink("web", loopback(uplink.port)));
    put(guest.cable, guestFrame({ payload: numbered(round) }));
    // To where both uplinks are, and to where nobody is, as if it knew: neither is the tunnel.
    for (const { port } of [first, second, stranger]) {
      const payload = numbered(0x8000 + round);
      put(guest.cable, guestFrame({ payload, destination: LOOPBACK, destinationPort: port }));
    }
    if (round % 20 === 0) await changes.at(-1);
  }
  await Promise.all(changes);
  const reached = { first: numbersAt(first), second: numbersAt(second) };
  await until(async () => {
    reached.first.push(...numbersAt(first));
    reached.second.push(...numbersAt(second));
    const [stats] = (await plane.stats()).guests;
    return stats?.fromGuest["destination"] === 3 * rounds &&
      reached.first.length + reached.second.length === rounds;
  }, { what: "every frame to be forwarded or refused" });
  assert.ok(
    reached.first.length > 0 && reached.second.length > 0,
    "the controls: both were reached",
  );
  const all = [...reached.first, ...reached.second].sort((a, b) => a - b);
  assert.deepEqual(all, Array.from({ length: rounds }, (_, round) => round));
  // After the last change there is one uplink again.
  put(guest.cable, guestFrame({ payload: numbered(9999) }));
  await until(() => numbersAt(first).includes(9999), { what: "the last uplink" });
  assert.deepEqual([numbersAt(second), numbersAt(stranger)], [[], []]);
  const [stats] = (await plane.stats()).guests;
  assert.deepEqual(stats?.fromGuest, { forwarded: rounds + 1, destination: 3 * rounds });
});

Deno.test("N15: Plane.rehearse() says what would become of frames, and changes nothing", async () => {
  using uplink = openUdp({ port: 0 });
  await using world = await planeWithGuest(uplink);
  const { plane, guest } = world;
  const frames = [guestFrame(), guestArp(), guestFrame({ destination: LOOPBACK })];
  assert.deepEqual(
    (await plane.rehearse("web", frames)).map(({ verdict, out }) => `${verdict} ${out}`),
    ["forwarded uplink", "answered guest", "destination nothing"],
  );
  await assert.rejects(plane.rehearse("other", frames), { code: "no-such-guest" });
  const [stats] = (await plane.stats()).guests;
  assert.deepEqual(stats?.fromGuest, {});
  // The control: what really comes is sent on, and is all that was.
  put(guest.cable, guestFrame({ payload: numbered(7) }));
  await until(() => numbersAt(uplink).join() === "7", { what: "number 7" });
});
