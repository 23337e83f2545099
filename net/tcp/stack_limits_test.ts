import assert from "node:assert/strict";
import { MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { Random } from "../../tests/doubles/random.ts";
import { CHUNK_BYTES } from "./chunk_pool.ts";
import type { TcpConnection } from "./connection.ts";
import type { PendingSyn } from "./listener.ts";
import { Script, THEIRS } from "./script_fixture.ts";
import { ADDRESS_B, Simulation } from "./simulation_fixture.ts";
import { StreamPeer } from "./stream_fixture.ts";

/** Packets of the fuzz test; the long task sets more. */
const PACKETS = Number(Deno.env.get("OMERTA_FUZZ_TCP_PACKETS") ?? 30_000);
/** Runs over little memory; likewise. */
const CROWDED = Math.ceil(PACKETS / 500);

Deno.test("L6: Stack.input() never throws on a stranger's packets, and its tables stay bounded", () => {
  const random = new Random(7);
  const limits = { connections: 50, pending: 20, halfOpen: 10, timeWait: 10, totalBytes: 200_000 };
  const s = new Script({ limits });
  const flags = ["S", ".", "P.", "F.", "R", "R.", "S.", "SF", "", "UP."];
  for (let i = 0; i < PACKETS; i++) {
    const packet = s.build({
      flags: random.pick(["S", ...flags]),
      seq: random.pick([0, 1, random.below(3000), random.below(2 ** 31)]),
      ack: random.pick([0, 1, random.below(3000)]),
      length: random.pick([0, 0, 1, random.below(1400)]),
      win: random.pick([0, 1, 65535]),
      port: 1 + random.below(random.pick([3, 60_000])),
      ...(random.below(2) === 0 ? { mss: random.below(2000), scale: random.below(20) } : {}),
      ...(random.below(2) === 0 ? { ts: [random.below(2 ** 31), random.below(2 ** 31)] } : {}),
      ...(random.below(4) === 0 ? { sack: [[random.below(9999), random.below(9999)]] } : {}),
    });
    const damaged = random.below(2) === 0;
    for (let n = damaged ? random.below(4) : 0; n > 0; n--) {
      packet[random.below(packet.length)] = random.below(256);
    }
    const cut = damaged ? random.below(packet.length + 1) : packet.length;
    s.stack.input(packet, 0, cut, s.now);
    if (random.below(8) === 0) s.end();
    if (random.below(50) === 0) s.wait(random.below(2000));
    const { connections, pending, timeWaits, bufferBytes } = s.stack.use;
    assert.ok(connections <= 50 && pending <= 20 && timeWaits <= 10, JSON.stringify(s.stack.use));
    assert.ok(bufferBytes <= 200_000, `${bufferBytes} bytes`);
    if (random.below(100) === 0) s.packets();
  }
  assert.ok(s.stack.counters.segmentsIn > PACKETS / 4);
  assert.ok(s.stack.counters.accepted > 0);
});

Deno.test("L6: Stack.input() never throws on any bytes", () => {
  const random = new Random(8);
  const s = new Script({ promiscuous: true });
  const buffer = new Uint8Array(100);
  for (let i = 0; i < PACKETS; i++) {
    const length = random.below(101);
    for (let k = 0; k < length; k++) buffer[k] = random.below(256);
    if (random.below(2) === 0) buffer[0] = 0x45;
    s.stack.input(buffer, random.below(4), length, s.now);
  }
  s.stack.input(buffer, 50, 60, s.now);
  s.stack.input(buffer, -1, 20, s.now);
  s.end();
  assert.equal(s.stack.counters.packetsIn, PACKETS + 2);
});

Deno.test("L6: SYNs that nobody answers are capped, told once, and forgotten", () => {
  const sim = new Simulation({ seed: 1, limits: { pending: 5 } });
  const pending: PendingSyn[] = [];
  sim.b.listen({ onSyn: (one) => pending.push(one) });
  for (let i = 0; i < 9; i++) {
    sim.a.connect({ to: ADDRESS_B, port: 1000 + i, handler: {}, options: { connectMs: 1000 } });
  }
  sim.pass(30_000);
  // All at the same time: more than may wait are dropped, and one address has half of the places.
  assert.equal(pending.length, 3);
  assert.equal(sim.b.use.pending, 3);
  assert.ok(sim.b.counters.synDropped >= 4 && sim.b.counters.pendingEvicted >= 2);
  sim.pass(90_000);
  assert.equal(sim.b.use.pending, 0);
  assert.ok(pending.every((one) => one.gone));
  assert.equal(pending[0]?.accept({}), undefined);
});

Deno.test("L6: a SYN is answered only when its owner says so, and with what it says", () => {
  const sim = new Simulation({ seed: 2 });
  const pending: PendingSyn[] = [];
  sim.b.listen({ onSyn: (one) => pending.push(one) });
  const client = new StreamPeer({ bytes: 10, salt: 1, expects: 2 });
  const made = sim.a.connect({ to: ADDRESS_B, port: 5, handler: client });
  assert.ok(typeof made !== "string");
  sim.pass(500);
  assert.equal(made.state, "SYN-SENT");
  assert.equal(pending[0]?.localPort, 5);
  assert.equal(pending[0]?.remotePort, made.localPort);
  const server = new StreamPeer({ bytes: 0, salt: 2, expects: 1 });
  server.connection = pending[0]?.accept(server);
  sim.b.flush(sim.now);
  client.connection = made;
  assert.ok(sim.run(() => client.reason !== undefined, 10_000));
  assert.deepEqual([client.reason, server.read], ["closed", 10]);
  for (const how of ["reset", "unreachable"] as const) {
    const refused = new StreamPeer({ bytes: 0, salt: 1, expects: 2 });
    sim.a.connect({ to: ADDRESS_B, port: 6, handler: refused });
    sim.pass(100);
    pending.at(-1)?.refuse(how);
    sim.b.flush(sim.now);
    assert.ok(sim.run(() => refused.reason !== undefined, 1000));
    assert.equal(refused.reason, how === "reset" ? "refused" : "unreachable");
  }
});

Deno.test("L6: Stack.connect() says why it makes no connection", () => {
  const sim = new Simulation({ seed: 3, limits: { connections: 2 } });
  const to = { to: ADDRESS_B, port: 80, handler: {} };
  assert.ok(typeof sim.a.connect({ ...to, fromPort: 1000 }) !== "string");
  assert.equal(sim.a.connect({ ...to, fromPort: 1000 }), "in-use");
  assert.ok(typeof sim.a.connect(to) !== "string");
  assert.equal(sim.a.connect(to), "too-many-connections");
});

Deno.test("L6: Stack.connect() says no-port when every port is taken", () => {
  const sim = new Simulation({ seed: 3, limits: { connections: 20_000 } });
  const to = { to: ADDRESS_B, port: 80, handler: {} };
  for (let port = 49152; port < 65536; port++) sim.a.connect({ ...to, fromPort: port });
  assert.equal(sim.a.connect(to), "no-port");
  assert.ok(typeof sim.a.connect({ ...to, port: 81 }) !== "string");
});

Deno.test("RFC 6191: when no port is free, that of a connection which is over for a second is", () => {
  const sim = new Simulation({ seed: 3, limits: { firstPort: 65_534 } });
  let heard = 0;
  sim.b.listen({
    onSyn: (pending) =>
      void pending.accept({
        onReadable: (c) => heard += c.read(new Uint8Array(100)),
        onEnd: (c) => c.end(),
      }),
  });
  const handler = {
    onOpen: (c: TcpConnection): void => {
      c.write(new Uint8Array(10));
      c.end();
    },
  };
  const open = (): TcpConnection | string =>
    sim.a.connect({ to: ADDRESS_B, port: 80, handler, now: sim.now });
  for (let i = 0; i < 2; i++) assert.ok(typeof open() !== "string");
  sim.pass(500);
  assert.deepEqual([sim.a.use.timeWaits, heard], [2, 20]);
  assert.equal(open(), "no-port");
  sim.pass(1000);
  for (let i = 0; i < 2; i++) assert.ok(typeof open() !== "string");
  assert.equal(open(), "no-port");
  sim.pass(500);
  assert.deepEqual([sim.a.use.timeWaits, heard, sim.a.counters.timeWaitReused], [2, 40, 2]);
});

Deno.test("L6: Stack.listen() refuses a second listener for the same, and close() ends one", () => {
  const sim = new Simulation({ seed: 4 });
  const told: string[] = [];
  const listen = (name: string, port?: number, address?: number) =>
    sim.b.listen({
      ...(port === undefined ? {} : { port }),
      ...(address === undefined ? {} : { address }),
      onSyn: (pending) => {
        told.push(name);
        pending.refuse("reset");
      },
    });
  const any = listen("any");
  assert.ok(any !== undefined && listen("port", 80) && listen("address", 80, ADDRESS_B));
  assert.equal(listen("again", 80), undefined);
  for (const port of [80, 81]) sim.a.connect({ to: ADDRESS_B, port, handler: {} });
  sim.pass(100);
  // Whoever is more exact comes first.
  assert.deepEqual(told, ["address", "any"]);
  any.close();
  sim.a.connect({ to: ADDRESS_B, port: 82, handler: {} });
  sim.pass(100);
  assert.equal(told.length, 2);
});

Deno.test("L6: Stack takes packets for any address when it is promiscuous", () => {
  const own = new Script();
  const packet = own.build({ flags: "S", seq: 0 });
  const promiscuous = new Script({ address: 0x0a000063, promiscuous: true });
  promiscuous.stack.input(packet, 0, packet.length, 0);
  promiscuous.end();
  promiscuous.expect("S. 0:1(0) ack 1");
  const strict = new Script({ address: 0x0a000063 });
  strict.stack.input(packet, 0, packet.length, 0);
  strict.end();
  strict.expect();
  assert.equal(strict.stack.counters.notForUs, 1);
});

Deno.test("L6: at the cap of all buffers streams wait for each other and arrive whole", () => {
  const sim = new Simulation({ seed: 9, link: { delayMs: 2 }, limits: { totalBytes: 400_000 } });
  const servers: StreamPeer[] = [];
  const clients: StreamPeer[] = [];
  sim.b.listen({
    onSyn: (pending) => {
      const server = new StreamPeer({ bytes: 0, salt: 2, expects: 1, readSize: 0 });
      servers.push(server);
      server.connection = pending.accept(server);
    },
  });
  for (let i = 0; i < 20; i++) {
    const client = new StreamPeer({ bytes: 100_000, salt: 1, expects: 2 });
    const made = sim.a.connect({ to: ADDRESS_B, port: 80, handler: client });
    assert.ok(typeof made !== "string");
    client.connection = made;
    clients.push(client);
  }
  sim.pass(5000);
  assert.ok(sim.b.use.bufferBytes <= 400_000 && sim.a.use.bufferBytes <= 400_000);
  assert.ok(sim.b.counters.noMemory > 0);
  for (let i = 0; i < 2000 && servers.some((one) => one.read < 100_000); i++) {
    for (const one of servers) one.drain();
    sim.b.flush(sim.now);
    sim.pass(100);
  }
  assert.deepEqual(
    servers.map((one) => [one.read, one.fault]),
    servers.map(() => [
      100_000,
      undefined,
    ]),
  );
});

Deno.test("L6: bytes that wait for others leave room for those, and for who writes", () => {
  const s = new Script({ limits: { totalBytes: 8 * CHUNK_BYTES } });
  s.open();
  for (let i = 1; i < 8; i++) {
    s.in({ flags: ".", seq: 1 + i * CHUNK_BYTES, length: 1, ...s.ts(101) });
  }
  assert.equal(s.stack.use.bufferBytes, 4 * CHUNK_BYTES);
  s.in({ flags: ".", seq: 1, length: 1000, ...s.ts(102) });
  assert.equal(s.c.readable, 1000);
  s.in({ flags: "S", seq: 0, mss: 1460, port: 40_001 });
  s.sent();
  s.in({ flags: ".", seq: 1, ack: 1, port: 40_001 });
  assert.equal(s.c.write(new Uint8Array(100)), 100);
});

Deno.test("L6: bytes for which there was no memory hold none when the connection has ended", () => {
  const s = new Script({ limits: { totalBytes: 2 * CHUNK_BYTES } });
  s.open();
  // Across the end of a chunk: the first part has a place, the second has none.
  s.in({ flags: ".", seq: CHUNK_BYTES - 9, length: 20, ...s.ts(101) });
  assert.deepEqual([s.stack.counters.noMemory, s.stack.use.bufferBytes], [1, CHUNK_BYTES]);
  s.in({ flags: "F.", seq: 1, ...s.ts(102) });
  s.c.end();
  s.end();
  s.sent();
  s.in({ flags: ".", seq: 2, ack: 2, ...s.ts(103) });
  assert.deepEqual([s.notes.told.at(-1), s.stack.use.bufferBytes], ["closed", 0]);
});

/** Streams with pauses over little memory; what went wrong, or undefined. */
function crowded(seed: number): string | undefined {
  const random = new Random(seed);
  const sim = new Simulation({
    seed,
    link: { delayMs: 1 + random.below(40), loss: random.pick([0, 0.01, 0.05]), rate: 1250 },
    limits: { bufferBytes: random.pick([4096, 65_535, 200_000]), totalBytes: 8 * CHUNK_BYTES },
    congestion: random.pick(["bbr", "cubic"]),
    mtu: random.pick([576, 1500, 9000]),
  });
  const peers: StreamPeer[] = [];
  const peer = (salt: number, bytes: number, expects: number): StreamPeer => {
    const one = new StreamPeer({ bytes, salt, expects, writeSize: 1 + random.below(4096) });
    one.reading = random.below(2) === 0;
    peers.push(one);
    return one;
  };
  const sizes = Array.from({ length: 4 }, () => [random.below(200_000), random.below(200_000)]);
  const servers = sizes.map(([, there = 0]) => peer(2, there, 1));
  let accepted = 0;
  sim.b.listen({
    onSyn: (pending) => {
      const server = servers[accepted++];
      if (server !== undefined) server.connection = pending.accept(server);
    },
  });
  for (const [here = 0] of sizes) {
    const client = peer(1, here, 2);
    const made = sim.a.connect({ to: ADDRESS_B, port: 80, handler: client });
    if (typeof made === "string") return made;
    client.connection = made;
  }
  const pull = (): void => {
    for (const one of peers) if (one.reading) one.drain();
    sim.settle();
  };
  for (let round = 0; round < 20; round++) {
    sim.pass(random.below(3000));
    for (const one of peers) if (random.below(2) === 0) one.reading = !one.reading;
    pull();
  }
  for (const one of peers) one.reading = true;
  pull();
  sim.run(() => peers.every(({ reason }) => reason !== undefined), 200_000);
  for (const one of peers) one.drain();
  const fault = peers.find((one) => one.fault !== undefined)?.fault;
  if (fault !== undefined) return fault;
  const reasons = peers.map(({ reason }) => reason ?? "open");
  return reasons.every((one) => one === "closed") ? undefined : reasons.join();
}

Deno.test("L6: streams that pause and share little memory all end in order", () => {
  const faults: string[] = [];
  for (let seed = 1; seed <= CROWDED; seed++) {
    const fault = crowded(seed);
    if (fault !== undefined) faults.push(`seed ${seed}: ${fault}`);
  }
  assert.deepEqual(faults, []);
});

Deno.test("L6: a receiver opens no more gaps than its cap", () => {
  const s = new Script({ limits: { gaps: 4 } });
  s.open();
  for (let i = 0; i < 10; i++) {
    s.in({ flags: ".", seq: 11 + 20 * i, length: 10, ...s.ts(101) });
    s.sent();
  }
  assert.equal(s.stack.counters.tooManyGaps, 6);
  s.in({ flags: ".", seq: 1, length: 200, ...s.ts(102) });
  s.expect(". 1:1(0) ack 201");
  assert.equal(s.c.readable, 200);
});

Deno.test("L6: the oldest TIME-WAIT makes room at the cap", () => {
  const sim = new Simulation({ seed: 5, limits: { timeWait: 3 } });
  sim.b.listen({ onSyn: (pending) => void pending.accept({ onEnd: (c) => c.end() }) });
  for (let i = 0; i < 8; i++) {
    const made = sim.a.connect({
      to: ADDRESS_B,
      port: 80,
      handler: { onOpen: (c: TcpConnection) => c.end() },
    });
    assert.ok(typeof made !== "string");
    sim.pass(100);
  }
  assert.deepEqual([sim.a.use.timeWaits, sim.a.use.connections], [3, 0]);
  assert.equal(sim.a.counters.timeWaitEvicted, 5);
});

Deno.test("L6: an error of a handler comes out of flush(), and the others go on", () => {
  const sim = new Simulation({ seed: 6 });
  const told: number[] = [];
  sim.b.listen({
    onSyn: (pending) =>
      void pending.accept({
        onOpen: (c) => {
          told.push(c.localPort);
          if (c.localPort === 1) throw new Error("Cannot go on");
        },
      }),
  });
  for (const port of [1, 2, 3]) sim.a.connect({ to: ADDRESS_B, port, handler: {} });
  assert.throws(() => sim.pass(100), { message: "Cannot go on" });
  sim.pass(100);
  assert.deepEqual(told, [1, 2, 3]);
});

Deno.test("L6: a handler that throws when it is told of their end is told of the connection's", () => {
  const s = new Script();
  s.open();
  s.notes.onEnd = (): void => {
    throw new Error("Cannot go on");
  };
  s.c.end();
  s.end();
  assert.throws(() => s.in({ flags: "F.", ack: 2, ...s.ts(101) }), { message: "Cannot go on" });
  assert.equal(s.notes.told.at(-1), "closed");
});

Deno.test("L6: an attempt to open ends in time when the sink has no room all the while", () => {
  const s = new Script();
  s.stack.redirect(new MemoryPacketSink({ capacity: 0 }));
  const options = { connectMs: 2000 };
  s.connection = undefined;
  const made = s.stack.connect({ to: THEIRS, port: 5, handler: s.notes, options, now: s.now });
  assert.ok(typeof made !== "string");
  s.end();
  s.wait(2100);
  assert.deepEqual([made.state, s.notes.told], ["CLOSED", ["timeout"]]);
});

for (const mtu of [0, 575, 65_536, 1400.5, NaN]) {
  Deno.test(`Stack refuses an MTU of ${mtu}`, () => {
    assert.throws(() => new Script({ mtu }), RangeError);
  });
}

/** What a program beside this file prints: a number. */
async function measured(program: string, flags: string, argument: string): Promise<number> {
  const path = new URL(program, import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `--v8-flags=${flags}`, path, argument],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

Deno.test("L6: 5000 idle connections take less than 60 MB", async () => {
  const taken = await measured("./idle_flows_fixture.ts", "--expose-gc", "5000");
  assert.ok(taken > 0 && taken < 60e6, `${taken} bytes`);
});

for (const congestion of ["bbr", "cubic"] as const) {
  Deno.test(`L6: a segment allocates the views that copy it and nothing else, ${congestion}`, async () => {
    const flags = "--min-semi-space-size=256,--max-semi-space-size=256";
    const taken = await measured("./back_to_back_fixture.ts", flags, congestion);
    // Three views: out of the send buffer, into the receive buffer, out of it to its owner.
    assert.ok(taken > 0 && taken < 300, `${taken} bytes of the heap for each packet`);
  });
}
