import assert from "node:assert/strict";
import { readU32 } from "../wire/bytes.ts";
import { TCP_FLAG } from "../wire/tcp.ts";
import { TCP_OPTION } from "../wire/tcp_options.ts";
import { Random } from "../../tests/doubles/random.ts";
import type { CongestionName } from "./congestion/control.ts";
import {
  ADDRESS_A,
  ADDRESS_B,
  type LinkOptions,
  Simulation,
  withoutOptions,
} from "./simulation_fixture.ts";
import { StreamPeer } from "./stream_fixture.ts";

/** Runs; `deno task fuzz` sets ten thousand. */
const RUNS = Number(Deno.env.get("OMERTA_FUZZ_TCP_RUNS") ?? 300);
const FIRST = Number(Deno.env.get("OMERTA_FUZZ_TCP_FIRST") ?? 1);
/** Runs of what takes longer, or needs fewer. */
const FEW = Math.ceil(RUNS / 30);

function someLink(random: Random): LinkOptions {
  const delayMs = random.pick([0, 0.1, 1, 10, 50, 200]);
  const limited = random.below(3) === 0;
  return {
    delayMs,
    jitterMs: random.pick([0, 0, 0.5, delayMs / 4, delayMs]),
    loss: random.pick([0, 0, 0.001, 0.01, 0.03, 0.1]),
    duplicate: random.pick([0, 0, 0.01, 0.1]),
    corrupt: random.pick([0, 0, 0.01, 0.05]),
    rate: limited ? random.pick([10, 100, 1000]) : Infinity,
    queueBytes: random.pick([5_000, 50_000, 500_000]),
    batch: random.pick([Infinity, Infinity, 3, 64]),
  };
}

/** One run; what went wrong, or undefined. */
function run(seed: number, congestion: CongestionName): string | undefined {
  const random = new Random(seed);
  const filter = withoutOptions(
    [TCP_OPTION.sackPermitted, TCP_OPTION.timestamps, TCP_OPTION.windowScale].filter(() =>
      random.below(5) === 0
    ),
  );
  const sim = new Simulation({
    seed: random.below(2 ** 32),
    congestion,
    link: { ...someLink(random), filter },
    back: { ...someLink(random), filter },
    mtu: random.pick([576, 1280, 1400, 1500, 9000]),
    limits: { bufferBytes: random.pick([4096, 20_000, 65_536, 1_000_000, 4_194_304]) },
    // Timestamps wrap within some runs.
    startMs: random.pick([0, 1_000_000, 2 ** 31 - 500, 2 ** 32 - 500]),
  });
  const size = (): number => random.pick([0, 1, 1000, 50_000, 400_000, random.below(1_000_000)]);
  const [toB, toA] = [size(), size()];
  const options = {
    noDelay: random.below(2) === 0,
    keepalive: { idleMs: 30_000, intervalMs: 5000, probes: 9 },
  };
  const peer = (bytes: number, salt: number, expects: number): StreamPeer =>
    new StreamPeer({
      bytes,
      salt,
      expects,
      readSize: random.pick([1000, 65_536]),
      writeSize: random.pick([100, 4096]),
    });
  const client = peer(toB, 1, 2);
  const server = peer(toA, 2, 1);
  assert.ok(sim.b.listen({
    port: 80,
    onSyn: (pending) => {
      server.connection = pending.accept(server, options);
    },
  }));
  const connection = sim.a.connect({ to: ADDRESS_B, port: 80, handler: client, options });
  if (typeof connection === "string") return connection;
  client.connection = connection;
  const done = (): boolean => client.reason !== undefined && server.reason !== undefined;
  const finished = sim.run(done, 3_600_000);
  if (client.fault !== undefined) return `client: ${client.fault}`;
  if (server.fault !== undefined) return `server: ${server.fault}`;
  if (!finished) {
    return `did not end: ${connection.state} ${server.connection?.state}, read ${client.read} of ` +
      `${toA} and ${server.read} of ${toB}`;
  }
  if (client.reason !== "closed" || server.reason !== "closed") {
    return `ended by ${client.reason} and ${server.reason}`;
  }
  if (client.read !== toA || server.read !== toB) {
    return `read ${client.read} of ${toA} and ${server.read} of ${toB}`;
  }
  for (const stack of [sim.a, sim.b]) {
    const { connections, bufferBytes } = stack.use;
    if (connections !== 0 || bufferBytes !== 0) return `${connections} left, ${bufferBytes} bytes`;
  }
  return undefined;
}

for (const congestion of ["cubic", "bbr"] as const) {
  Deno.test(`L6: Stack carries both streams whole over ${RUNS} bad links, ${congestion}`, () => {
    const faults: string[] = [];
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      const fault = run(seed, congestion);
      if (fault !== undefined) faults.push(`seed ${seed}: ${fault}`);
    }
    assert.deepEqual(faults, []);
  });
}

/** Bytes each way of a connection in whose middle one side aborts. */
const ABORTED_BYTES = 300_000;

/** One side aborts, or vanishes, in the middle; what went wrong, or undefined. */
function runAborted(seed: number, congestion: CongestionName): string | undefined {
  const random = new Random(seed);
  const sim = new Simulation({ seed, congestion, link: someLink(random), back: someLink(random) });
  const options = { keepalive: { idleMs: 30_000, intervalMs: 5000, probes: 9 } };
  const client = new StreamPeer({ bytes: ABORTED_BYTES, salt: 1, expects: 2 });
  const server = new StreamPeer({ bytes: ABORTED_BYTES, salt: 2, expects: 1 });
  sim.b.listen({ onSyn: (p) => server.connection = p.accept(server, options) });
  const made = sim.a.connect({ to: ADDRESS_B, port: 80, handler: client, options });
  if (typeof made === "string") return made;
  client.connection = made;
  const over = (): boolean => client.reason !== undefined || server.reason !== undefined;
  const enough = random.below(ABORTED_BYTES);
  sim.run(() => over() || client.read + server.read >= enough, 3_600_000);
  const vanishes = random.below(3) === 0;
  if (vanishes) {
    const filter = (): boolean => false;
    sim.ab.options = { ...sim.ab.options, filter };
    sim.ba.options = { ...sim.ba.options, filter };
  } else made.abort();
  const gone = (): boolean =>
    client.reason !== undefined && (server.reason !== undefined || server.connection === undefined);
  if (!sim.run(gone, 3_600_000)) return `did not end: ${made.state} ${server.connection?.state}`;
  if (client.fault !== undefined) return `client: ${client.fault}`;
  if (server.fault !== undefined) return `server: ${server.fault}`;
  // "closed" is said of a stream that is whole, and of no other.
  const whole = (peer: StreamPeer): boolean => peer.ended && peer.read === ABORTED_BYTES;
  const expected = vanishes ? ["timeout", "closed"] : ["aborted", "closed"];
  if (!expected.includes(client.reason ?? "")) return `client ended by ${client.reason}`;
  const ofServer = vanishes ? ["timeout", "closed"] : ["reset", "timeout", "closed"];
  if (server.connection !== undefined && !ofServer.includes(server.reason ?? "")) {
    return `server ended by ${server.reason}`;
  }
  if (client.reason === "closed" && !whole(client)) return `client read only ${client.read}`;
  if (server.reason === "closed" && !whole(server)) return `server read only ${server.read}`;
  made.abort();
  server.connection?.abort();
  for (const stack of [sim.a, sim.b]) {
    const { connections, bufferBytes } = stack.use;
    if (connections !== 0 || bufferBytes !== 0) return `${connections} left, ${bufferBytes} bytes`;
  }
  return undefined;
}

for (const congestion of ["cubic", "bbr"] as const) {
  const name = `both owners hear of the end when one side aborts or vanishes, ${congestion}`;
  Deno.test(`L6: ${name}, ${RUNS} times`, () => {
    const faults: string[] = [];
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      const fault = runAborted(seed, congestion);
      if (fault !== undefined) faults.push(`seed ${seed}: ${fault}`);
    }
    assert.deepEqual(faults, []);
  });
}

Deno.test("L6: Simulation gives the same run for the same seed", () => {
  const trace = (): number[] => {
    const sim = new Simulation({ seed: 5, link: { loss: 0.05, jitterMs: 4 } });
    const client = new StreamPeer({ bytes: 100_000, salt: 1, expects: 2 });
    const server = new StreamPeer({ bytes: 0, salt: 2, expects: 1 });
    sim.b.listen({ onSyn: (p) => server.connection = p.accept(server) });
    const c = sim.a.connect({ to: ADDRESS_B, port: 80, handler: client });
    assert.ok(typeof c !== "string");
    assert.equal(c.localAddress, ADDRESS_A);
    sim.run(() => client.reason !== undefined, 600_000);
    return [sim.now, sim.ab.sent, sim.ba.sent];
  };
  assert.deepEqual(trace(), trace());
});

/** Moves a stream each way; the first SYN's sequence number. */
function exchange(sim: Simulation, bytes: number): number {
  let isn = 0;
  sim.ab.options = {
    ...sim.ab.options,
    filter: (packet) => {
      if (((packet[33] ?? 0) & TCP_FLAG.syn) !== 0) isn = readU32(packet, 24);
      return true;
    },
  };
  const client = new StreamPeer({ bytes, salt: 1, expects: 2 });
  const server = new StreamPeer({ bytes, salt: 2, expects: 1 });
  const options = { noDelay: true, keepalive: { idleMs: 30_000, intervalMs: 5000, probes: 9 } };
  sim.b.listen({ onSyn: (pending) => server.connection = pending.accept(server, options) });
  const made = sim.a.connect({ to: ADDRESS_B, port: 80, handler: client, options });
  assert.ok(typeof made !== "string");
  client.connection = made;
  assert.ok(sim.run(() => client.reason !== undefined && server.reason !== undefined, 3_600_000));
  assert.deepEqual([client.reason, server.reason], ["closed", "closed"]);
  assert.deepEqual([client.fault, server.fault], [undefined, undefined]);
  assert.deepEqual([client.read, server.read], [bytes, bytes]);
  return isn;
}

Deno.test(`L6: sequence numbers wrap in the middle of a stream, over ${FEW} bad links`, () => {
  for (let seed = FIRST; seed < FIRST + FEW; seed++) {
    const random = new Random(seed);
    const links = { link: someLink(random), back: someLink(random) };
    // The same seed gives the same secret, and then the number grows with the clock (RFC 6528).
    const startMs = 1_000_000;
    const isn = exchange(new Simulation({ seed, startMs }), 1);
    const before = random.below(300_000);
    const later = startMs + Math.floor((2 ** 32 - isn - before) / 250);
    const wrapping = exchange(new Simulation({ seed, ...links, startMs: later }), 400_000);
    assert.ok(2 ** 32 - wrapping < 301_000, `seed ${seed}: the first number was ${wrapping}`);
  }
});

for (const bufferBytes of [1, 2, 100]) {
  Deno.test(`L6: a stream passes through windows of ${bufferBytes} bytes, over ${FEW} bad links`, () => {
    exchange(new Simulation({ seed: 3, limits: { bufferBytes } }), 300);
    for (let seed = FIRST; seed < FIRST + FEW; seed++) {
      const random = new Random(seed);
      const links = { link: someLink(random), back: someLink(random) };
      exchange(new Simulation({ seed, ...links, limits: { bufferBytes } }), 300);
    }
  });
}
