import assert from "node:assert/strict";
import { loopback } from "../../tests/doubles/endpoints.ts";
import { guestArp, guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import type { PacketSocket } from "../os/packet_socket.ts";
import { openUdp } from "../os/udp.ts";
import { generatePrivateKey, publicKeyOf } from "../wireguard/keys.ts";
import { FIXTURE_MAC, FixtureGuest } from "./_guest_fixture.ts";
import { Recorder } from "./_handlers.ts";
import { BURST } from "./gate.ts";
import { Plane, type PlaneOptions } from "./plane.ts";

const MODULE = new URL("./_plane_worker.ts", import.meta.url);

function start(
  handlers: Recorder = new Recorder(),
  options: Partial<PlaneOptions> = {},
): Promise<Plane> {
  return Plane.start(
    { module: MODULE, port: 0, privateKey: generatePrivateKey(), ...options },
    handlers,
  );
}

/** A control datagram without network id. */
function control(fill: number, length = 100): Uint8Array {
  const datagram = new Uint8Array(length).fill(fill);
  datagram[0] = 0;
  return datagram;
}

/** An IPv4 packet between two addresses of 10.0.0.0/24. */
function packet(from: number, to: number): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
  return bytes;
}

async function folder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: "omerta-plane-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

function put(cable: PacketSocket, frame: Uint8Array): void {
  const at = cable.out.reserve(frame.length);
  cable.out.buffer.set(frame, at);
  cable.out.commit(frame.length);
  cable.out.flush();
}

/** Threads and descriptors of this process; undefined where they cannot be counted. */
async function counted(): Promise<{ threads: number; sockets: number } | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  let threads = 0;
  for await (const { name } of Deno.readDir("/proc/self/task")) {
    const comm = await Deno.readTextFile(`/proc/self/task/${name}/comm`).catch(() => "");
    if (comm.startsWith("worker")) threads++;
  }
  let sockets = 0;
  for await (const { name } of Deno.readDir("/proc/self/fd")) {
    const target = await Deno.readLink(`/proc/self/fd/${name}`).catch(() => "");
    if (target.startsWith("socket:") || target.includes("eventfd")) sockets++;
  }
  return { threads, sockets };
}

type Counted = Awaited<ReturnType<typeof counted>>;

/** Whether there is nothing now that was not there before; an earlier test's thread may still end. */
function noMoreThan(before: Counted, now: Counted): boolean {
  return before === undefined || now === undefined ||
    (now.threads <= before.threads && now.sockets <= before.sockets);
}

Deno.test("Plane carries control datagrams between two nodes, from the node's own port", async () => {
  const [atA, atB] = [new Recorder(), new Recorder()];
  await using a = await start(atA);
  await using b = await start(atB);
  a.send(control(1), loopback(b.port));
  await until(() => atB.control.length === 1, { what: "the datagram" });
  assert.deepEqual(atB.control, [{ datagram: control(1).toHex(), from: `127.0.0.1:${a.port}` }]);
  for (let i = 0; i < 50; i++) b.send(control(i), loopback(a.port));
  await until(() => atA.control.length === 50, { what: "the answers" });
  assert.deepEqual(
    atA.control.map(({ datagram }) => datagram),
    Array.from({ length: 50 }, (_, i) => control(i).toHex()),
  );
  assert.equal((await a.stats()).controlReceived, 50);
  assert.deepEqual([atA.failures, atB.failures], [[], []]);
});

Deno.test("Plane counts what it does not know and drops it", async () => {
  const recorder = new Recorder();
  await using plane = await start(recorder);
  using socket = openUdp({ port: 0 });
  for (const hex of ["64", "000100002112a442", "05000000", "ff"]) {
    const bytes = new Uint8Array(64);
    bytes.set(Uint8Array.fromHex(hex));
    socket.out.buffer.set(bytes, socket.out.reserve(64));
    socket.out.commit(64, loopback(plane.port));
  }
  socket.out.flush();
  await until(async () => (await plane.stats()).unknown === 4, { what: "four counts" });
  assert.deepEqual(recorder.control, []);
});

Deno.test("Plane drops a flood of control datagrams beyond its limit, and counts it", async () => {
  const recorder = new Recorder();
  await using plane = await start(recorder);
  using socket = openUdp({ port: 0 });
  for (let i = 0; i < 20 * BURST; i++) {
    socket.out.buffer.set(control(7), socket.out.reserve(100));
    socket.out.commit(100, loopback(plane.port));
  }
  socket.out.flush();
  const stats = await until(async () => {
    const now = await plane.stats();
    return now.controlDropped > 0 && now.controlReceived > 0 && now;
  }, { what: "the flood" });
  assert.ok(stats.controlReceived < 10 * BURST, `${stats.controlReceived} were handed on`);
});

testIf(
  Deno.build.os === "linux" ? undefined : "needs 127.0.0.2",
  "V9: Plane hands on what others send while one address floods it with control datagrams",
  async () => {
    const recorder = new Recorder();
    await using plane = await start(recorder);
    using flooder = openUdp({ port: 0 });
    const other = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.2", port: 0 });
    using _closed = { [Symbol.dispose]: () => other.close() };
    const to = { transport: "udp", hostname: "127.0.0.1", port: plane.port } as const;
    const came = (hex: string): boolean =>
      recorder.control.some(({ datagram, from }) => {
        return datagram === hex && from.startsWith("127.0.0.2:");
      });
    for (let i = 0; i < 20; i++) {
      for (let n = 0; n < 2 * BURST; n++) {
        flooder.out.buffer.set(control(7), flooder.out.reserve(100));
        flooder.out.commit(100, loopback(plane.port));
      }
      flooder.out.flush();
      // Sent again, as control messages are: one time in a thousand both share a place in the gate.
      const datagram = control(100 + i);
      await until(async () => {
        await other.send(datagram, to);
        return came(datagram.toHex());
      }, { what: `datagram ${i} of the other one` });
    }
    const stats = await plane.stats();
    assert.ok(stats.controlDropped > 30 * BURST, `${stats.controlDropped} were dropped`);
  },
);

Deno.test("Plane.start() says port-in-use and leaves nothing behind", async () => {
  const before = await counted();
  {
    await using first = await start();
    await assert.rejects(start(new Recorder(), { port: first.port }), { code: "port-in-use" });
  }
  await until(async () => noMoreThan(before, await counted()), {
    what: "threads and descriptors to be gone",
  });
});

Deno.test("Plane.start() reports a module that cannot be loaded", async () => {
  await assert.rejects(
    start(new Recorder(), {
      module: new URL("data:application/javascript,throw new Error(`Broken`)"),
    }),
    {
      code: "plane-failed",
    },
  );
});

Deno.test("Plane.start() ends when its signal is aborted", async () => {
  const reason = new Error("Enough");
  const abort = new AbortController();
  const starting = Plane.start(
    { module: MODULE, port: 0, privateKey: generatePrivateKey() },
    new Recorder(),
    abort.signal,
  );
  abort.abort(reason);
  await assert.rejects(starting, reason);
  await assert.rejects(
    Plane.start(
      { module: MODULE, port: 0, privateKey: generatePrivateKey() },
      new Recorder(),
      AbortSignal.abort(reason),
    ),
    reason,
  );
});

Deno.test("Plane.close() ends the thread, closes every descriptor, and is done once", async () => {
  await using temp = await folder();
  const before = await counted();
  const plane = await start();
  const key = generatePrivateKey();
  await plane.addGuest({
    id: "web",
    cablePath: `${temp.path}/cable`,
    guestPath: `${temp.path}/guest`,
    mac: FIXTURE_MAC,
    publicKey: publicKeyOf(key),
    uplink: loopback(9),
  });
  await Promise.all([plane.close(), plane.close()]);
  await assert.rejects(plane.stats(), { code: "plane-closed" });
  plane.send(control(1), loopback(9));
  await assert.rejects(Deno.lstat(`${temp.path}/cable`), Deno.errors.NotFound);
  await until(async () => noMoreThan(before, await counted()), {
    what: "threads and descriptors to be gone",
  });
});

Deno.test("Plane refuses what cannot be done, and goes on", async () => {
  await using temp = await folder();
  await using plane = await start();
  const guest = {
    id: "web",
    cablePath: `${temp.path}/cable`,
    guestPath: `${temp.path}/guest`,
    mac: FIXTURE_MAC,
    publicKey: publicKeyOf(generatePrivateKey()),
    uplink: loopback(9),
  };
  await plane.addGuest(guest);
  await assert.rejects(plane.addGuest(guest), { code: "guest-exists" });
  await assert.rejects(plane.addGuest({ ...guest, id: "b", mac: "52:54" }), { code: "bad-mac" });
  await assert.rejects(plane.addGuest({ ...guest, id: "c", cablePath: "/nonexistent/c" }), {
    code: "cable-failed",
  });
  await assert.rejects(plane.setUplink("nobody", loopback(9)), { code: "no-such-guest" });
  await plane.removeGuest("nobody");
  const publicKey = publicKeyOf(generatePrivateKey());
  await assert.rejects(plane.addPeer({ publicKey: new Uint8Array(5), allowedIps: [] }), {
    code: "bad-key",
  });
  await assert.rejects(plane.addPeer({ publicKey, allowedIps: ["10.0.0.1"] }), {
    code: "bad-allowed-ip",
  });
  await plane.addPeer({ publicKey, allowedIps: ["10.0.0.2/32"], endpoint: loopback(9) });
  await plane.removePeer(publicKey);
  assert.deepEqual((await plane.stats()).guests.map(({ id }) => id), ["web"]);
});

Deno.test("N1: a guest's tunnel and the node's own share one port, both ways", async () => {
  await using temp = await folder();
  const keys = {
    lender: generatePrivateKey(),
    borrower: generatePrivateKey(),
    guest: generatePrivateKey(),
  };
  const atBorrower = new Recorder();
  const atLender = new Recorder();
  await using lender = await start(atLender, { privateKey: keys.lender });
  await using borrower = await start(atBorrower, { privateKey: keys.borrower });
  using guest = new FixtureGuest(temp.path, "web", keys.guest, publicKeyOf(keys.borrower));
  await lender.addGuest({
    id: "web",
    ...guest.paths,
    mac: FIXTURE_MAC,
    publicKey: publicKeyOf(keys.guest),
    uplink: loopback(borrower.port),
  });
  // The two nodes have a session with each other as well, between the same two ports.
  await lender.addPeer({
    publicKey: publicKeyOf(keys.borrower),
    endpoint: loopback(borrower.port),
    allowedIps: ["10.0.0.1/32"],
  });
  const lenderKey = publicKeyOf(keys.lender);
  const guestKey = publicKeyOf(keys.guest);
  for (
    const [publicKey, address] of [[lenderKey, "10.0.0.9/32"], [guestKey, "10.0.0.2/32"]] as const
  ) {
    await borrower.addPeer({
      publicKey,
      endpoint: loopback(lender.port),
      allowedIps: [address],
      // The guest begins by itself: two initiations that cross cost a retry.
      keepaliveSeconds: publicKey === lenderKey ? 1 : 0,
    });
  }
  guest.send(packet(2, 1));
  await until(async () => {
    guest.turn();
    return (await borrower.stats()).noTun >= 1;
  }, { what: "the guest's packet at the borrower" });
  await until(() => {
    guest.turn();
    return [lenderKey, guestKey].every((key) =>
      atBorrower.peers.includes(`handshake ${key.toBase64()} 127.0.0.1:${lender.port}`)
    );
  }, { what: "both sessions" });
  const { peers } = await borrower.stats();
  assert.ok(peers.every((peer) => peer.rxBytes > 0 && peer.lastHandshakeMs !== undefined));
  const stats = await lender.stats();
  assert.deepEqual(Object.keys(stats.guests[0]?.fromGuest ?? {}), ["forwarded"]);
  assert.equal(stats.wireguard.unknownIndex, 0);
  assert.equal(stats.wireguard.badMac1, 0);
  assert.deepEqual([atLender.failures, atBorrower.failures], [[], []]);
});

Deno.test("N2: Plane answers ARP, reports refusals by reason, and not each one", async () => {
  await using temp = await folder();
  const recorder = new Recorder();
  await using plane = await start(recorder);
  using uplink = openUdp({ port: 0 });
  const key = generatePrivateKey();
  using guest = new FixtureGuest(temp.path, "web", key, publicKeyOf(generatePrivateKey()));
  await plane.addGuest({
    id: "web",
    ...guest.paths,
    mac: FIXTURE_MAC,
    publicKey: publicKeyOf(key),
    uplink: loopback(uplink.port),
  });
  const frames: Uint8Array[] = [];
  const inbox = {
    receive: (buffer: Uint8Array, at: number, length: number): void => {
      frames.push(buffer.slice(at, at + length));
    },
  };
  put(guest.cable, guestArp());
  await until(() => guest.cable.drain(inbox, 8) > 0, { what: "the ARP answer" });
  assert.equal(frames[0]?.subarray(12, 14).toHex(), "0806");
  for (let i = 0; i < 8; i++) put(guest.cable, guestFrame({ destination: 0x08080808 }));
  put(guest.cable, guestFrame({ payload: new Uint8Array(100) }));
  put(guest.cable, guestFrame({ payload: wireguardMessage() }));
  await until(() => recorder.refusals.length >= 2, { what: "two reasons" });
  assert.deepEqual(recorder.refusals, [
    { id: "web", reason: "destination", count: 1 },
    { id: "web", reason: "not-wireguard", count: 1 },
  ]);
  const datagrams: number[] = [];
  const handler = {
    receive: (_buffer: Uint8Array, _at: number, length: number): void => {
      datagrams.push(length);
    },
  };
  await until(() => uplink.drain(handler, 8) > 0, { what: "the good frame at the uplink" });
  assert.deepEqual(datagrams, [96]);
  const [stats] = (await plane.stats()).guests;
  assert.deepEqual(stats?.fromGuest, {
    answered: 1,
    destination: 8,
    "not-wireguard": 1,
    forwarded: 1,
  });
});

Deno.test("N8: Plane cuts a guest off for a violation, says so once, and removes it", async () => {
  await using temp = await folder();
  const before = await counted();
  {
    const recorder = new Recorder();
    await using plane = await start(recorder);
    using uplink = openUdp({ port: 0 });
    const key = generatePrivateKey();
    using guest = new FixtureGuest(temp.path, "web", key, publicKeyOf(generatePrivateKey()));
    const options = {
      id: "web",
      ...guest.paths,
      mac: FIXTURE_MAC,
      publicKey: publicKeyOf(key),
      uplink: loopback(uplink.port),
    };
    for (const sampleRate of [0, 1.5, NaN]) {
      await assert.rejects(plane.addGuest({ ...options, mode: "sampled", sampleRate }), {
        code: "bad-sample-rate",
      });
    }
    await plane.addGuest({ ...options, mode: "conntrack" });
    put(guest.cable, guestFrame());
    put(guest.cable, guestFrame());
    put(guest.cable, guestFrame({ destination: 0x08080808 }));
    for (let i = 0; i < 5; i++) put(guest.cable, guestFrame());
    const words = "web: UDP 192.168.100.2:40000 > 8.8.8.8:51820 len 96 (destination)";
    await until(() => recorder.violations.length > 0, { what: "the violation" });
    const stats = await until(async () => {
      const [now] = (await plane.stats()).guests;
      return now?.fromGuest["cut-off"] === 5 && now;
    }, { what: "the frames after it" });
    assert.deepEqual(stats.fromGuest, { forwarded: 2, destination: 1, "cut-off": 5 });
    assert.deepEqual([stats.mode, stats.unjudged], ["conntrack", 1]);
    let datagrams = 0;
    const handler = { receive: (): void => void datagrams++ };
    await until(() => uplink.drain(handler, 8) > 0, { what: "the good frames" });
    assert.equal(datagrams, 2);
    assert.deepEqual(recorder.violations, [words]);
    await plane.removeGuest("web");
    assert.deepEqual((await plane.stats()).guests, []);
    await assert.rejects(Deno.lstat(guest.paths.cablePath), Deno.errors.NotFound);
    // Another guest of that id is another guest.
    await plane.addGuest(options);
    const [again] = (await plane.stats()).guests;
    assert.deepEqual([again?.mode, again?.fromGuest], ["filtered", {}]);
  }
  await until(async () => noMoreThan(before, await counted()), {
    what: "threads and descriptors to be gone",
  });
});

testIf(
  Deno.build.os === "linux" ? undefined : "needs Linux",
  "Plane: the process ends by itself when nobody closes the plane before Deno.exit()",
  async () => {
    const script = `
      import { Plane } from ${JSON.stringify(import.meta.resolve("./plane.ts"))};
      await Plane.start(
        { module: new URL(${
      JSON.stringify(MODULE.href)
    }), port: 0, privateKey: new Uint8Array(32).fill(1) },
        { onControl() {}, onPeer() {}, onGuest() {}, onFailed() {} },
      );
      Deno.exit(7);`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--ext=ts", "-"],
      cwd: new URL(".", import.meta.url),
      stdin: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(script));
    await writer.close();
    assert.equal((await child.status).code, 7);
  },
);
