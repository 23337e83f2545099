import assert from "node:assert/strict";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { AsyncReactor } from "../os/reactor.ts";
import { openStreamsPortable } from "../os/stream_portable.ts";
import type { TcpConnection, TcpHandler } from "../tcp/connection.ts";
import { forwardLocal, ReverseForward } from "./forward.ts";
import type { ProxyServer } from "./proxy_server.ts";
import {
  descriptorsMissing,
  Echo,
  NEAR,
  pattern,
  readAll,
  readExactly,
  World,
  writeAll,
} from "./proxy_fixture.ts";

const LOOPBACK = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;

function forwardTo(world: World, port: number, host = "far"): ProxyServer {
  return forwardLocal(world.loop, world.dialer, { listen: LOOPBACK, host, port });
}

async function connectTo(server: { readonly port: number }): Promise<Deno.TcpConn> {
  return await Deno.connect({ hostname: "127.0.0.1", port: server.port });
}

/** Whether a connection is reset, or merely ends, when it is read from. */
async function fateOf(conn: Deno.Conn): Promise<"reset" | "ended"> {
  try {
    while (await conn.read(new Uint8Array(65536)) !== null);
    return "ended";
  } catch (error) {
    assert.ok(error instanceof Deno.errors.ConnectionReset, String(error));
    return "reset";
  }
}

async function echoes(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  await writeAll(conn, bytes);
  assert.deepEqual(await readExactly(conn, bytes.length), bytes);
}

for (const kind of ["default", "portable"] as const) {
  const world = (): World =>
    kind === "default" ? new World() : new World({
      streams: openStreamsPortable(),
      reactor: new AsyncReactor(),
    });

  Deno.test(`G6: forwardLocal() leads a port here to one inside (${kind})`, async () => {
    await using w = world();
    Echo.on(w.far, 22);
    using forward = forwardTo(w, 22);
    using conn = await connectTo(forward);
    const bytes = pattern(2_000_000);
    const sent = writeAll(conn, bytes).then(() => conn.closeWrite());
    assert.deepEqual(await readAll(conn), bytes);
    await sent;
    await until(() => forward.connections === 0, { what: "the connection to be forgotten" });
    assert.deepEqual({ ...forward.counters }, {
      connections: 1,
      failed: 0,
      aborted: 0,
      bytesIn: bytes.length,
      bytesOut: bytes.length,
    });
    assert.equal(w.loop.connections, 0);
  });

  Deno.test(`G6: forwardLocal() carries several connections at once (${kind})`, async () => {
    await using w = world();
    Echo.on(w.far, 22);
    using forward = forwardTo(w, 22, "10.0.0.2");
    const conns = await Promise.all(Array.from({ length: 20 }, () => connectTo(forward)));
    await Promise.all(conns.map(async (conn, i) => {
      const bytes = pattern(100_000, i);
      const sent = writeAll(conn, bytes).then(() => conn.closeWrite());
      assert.deepEqual(await readAll(conn), bytes);
      await sent;
    }));
  });

  Deno.test(`G6: forwardLocal() goes on with the others when one closes (${kind})`, async () => {
    await using w = world();
    const echo = Echo.on(w.far, 22);
    using forward = forwardTo(w, 22);
    using first = await connectTo(forward);
    const second = await connectTo(forward);
    using third = await connectTo(forward);
    for (const conn of [first, second, third]) await echoes(conn, pattern(100));
    second.close();
    await until(() => echo.reasons.length === 1, { what: "one to end inside" });
    for (const conn of [first, third]) await echoes(conn, pattern(5000));
    assert.equal(forward.connections, 2);
  });

  Deno.test(`G6: forwardLocal() closes every connection when it is stopped (${kind})`, async () => {
    await using w = world();
    const echo = Echo.on(w.far, 22);
    const forward = forwardTo(w, 22);
    const { port } = forward;
    using first = await connectTo(forward);
    using second = await connectTo(forward);
    for (const conn of [first, second]) await echoes(conn, pattern(10));
    forward[Symbol.dispose]();
    const fates = await Promise.all([fateOf(first), fateOf(second)]);
    if (kind === "default") assert.deepEqual(fates, ["reset", "reset"]);
    await until(() => echo.open === 0, { what: "all to end inside" });
    assert.deepEqual(echo.reasons, ["reset", "reset"]);
    await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port }));
    assert.equal(w.loop.connections, 0);
  });

  Deno.test(`G6: forwardLocal() connects anew after a disconnect, also to a host that was started again (${kind})`, async () => {
    await using w = world();
    Echo.on(w.far, 22);
    using forward = forwardTo(w, 22);
    {
      using conn = await connectTo(forward);
      await echoes(conn, pattern(10));
    }
    using before = await connectTo(forward);
    await echoes(before, pattern(10));
    w.restartFar();
    // Nobody listens there yet.
    using between = await connectTo(forward);
    await fateOf(between);
    Echo.on(w.far, 22);
    using after = await connectTo(forward);
    await echoes(after, pattern(10));
    // The host knows nothing of the old connection and says so when it hears of it.
    await before.write(new Uint8Array(1));
    await fateOf(before);
  });
}

Deno.test("G6: forwardLocal() resets a client when nobody listens inside, or the host is unknown", async () => {
  await using w = new World();
  for (const [host, port] of [["far", 23], ["nobody", 22]] as const) {
    using forward = forwardTo(w, port, host);
    using conn = await connectTo(forward);
    assert.equal(await fateOf(conn), "reset");
    assert.equal(forward.counters.failed, 1);
    assert.equal(forward.connections, 0);
  }
  // Positive control.
  Echo.on(w.far, 23);
  using forward = forwardTo(w, 23);
  using conn = await connectTo(forward);
  await echoes(conn, pattern(10));
});

/** Ends at once, and reads on; or reads nothing. */
class Sink implements TcpHandler {
  connection: TcpConnection | undefined;
  received = 0;
  ended = false;
  reads = false;
  readonly #buffer = new Uint8Array(65536);

  onOpen(connection: TcpConnection): void {
    this.connection = connection;
  }

  onReadable(): void {
    if (this.reads) this.drain();
  }

  onEnd(): void {
    if (this.reads) this.drain();
  }

  drain(): void {
    const { connection } = this;
    if (connection === undefined) return;
    for (let n = connection.read(this.#buffer); n > 0; n = connection.read(this.#buffer)) {
      this.received += n;
    }
    this.ended = connection.ended;
  }
}

function sinkOn(w: World, port: number): Sink {
  const sink = new Sink();
  w.far.listen({ port, onSyn: (pending) => void pending.accept(sink) });
  return sink;
}

Deno.test("G6: a splice passes on an end of the inside and goes on the other way", async () => {
  await using w = new World();
  const sink = sinkOn(w, 80);
  using forward = forwardTo(w, 80);
  using conn = await connectTo(forward);
  const connection = await until(() => sink.connection, { what: "a connection inside" });
  connection.write(pattern(1000));
  connection.end();
  assert.deepEqual(await readAll(conn), pattern(1000));

  const second = sinkOn(w, 81);
  using toSecond = forwardTo(w, 81);
  second.reads = true;
  using again = await connectTo(toSecond);
  (await until(() => second.connection, { what: "another connection" })).end();
  assert.equal(await again.read(new Uint8Array(10)), null);
  await writeAll(again, pattern(500_000));
  await again.closeWrite();
  await until(() => second.ended, { what: "the end inside" });
  assert.equal(second.received, 500_000);
});

Deno.test("G6: a splice takes no more than the other side does, in either direction", async () => {
  await using w = new World({ limits: { bufferBytes: 256 * 1024 } });
  const sink = sinkOn(w, 80);
  using forward = forwardTo(w, 80);
  using conn = await connectTo(forward);
  const total = 24_000_000;
  let sent = 0;
  const bytes = pattern(65536);
  const sending = (async () => {
    while (sent < total) sent += await conn.write(bytes.subarray(0, Math.min(65536, total - sent)));
    await conn.closeWrite();
  })();
  let before = -1;
  await until(() => {
    const same = before === sent && sent > 0;
    before = sent;
    return same;
  }, { what: "the client to be held back" });
  assert.ok(sent < total, `${sent} bytes were taken`);
  assert.ok(forward.counters.bytesIn < 1_000_000, `${forward.counters.bytesIn} went inside`);
  sink.reads = true;
  sink.drain();
  await until(() => sink.ended, { what: "all bytes", timeoutMs: 30_000 });
  await sending;
  assert.equal(sink.received, total);

  // Back: nothing is read here until much was written there.
  const { connection } = sink;
  assert.ok(connection);
  let written = 0;
  const back = 24_000_000;
  const chunk = pattern(65536);
  const fill = (): void => {
    while (written < back) {
      const want = Math.min(65536 - written % 65536, back - written);
      const taken = connection.write(chunk, written % 65536, want);
      written += taken;
      if (taken < want) return;
    }
    connection.end();
  };
  Object.assign(sink, { onWritable: fill });
  fill();
  before = -1;
  await until(() => {
    const same = before === written;
    before = written;
    return same;
  }, { what: "the inside to be held back" });
  assert.ok(written < back, `${written} bytes were taken`);
  let received = 0;
  for await (const part of conn.readable) {
    for (let i = 0; i < part.length; i += 997) {
      assert.equal(part[i], chunk[(received + i) % 65536]);
    }
    received += part.length;
  }
  assert.equal(received, back);
});

Deno.test("G6: a splice turns a reset into a reset, both ways", async () => {
  await using w = new World();
  const echo = Echo.on(w.far, 80);
  const sink = sinkOn(w, 81);
  using toEcho = forwardTo(w, 80);
  using toSink = forwardTo(w, 81);
  using conn = await connectTo(toSink);
  const connection = await until(() => sink.connection, { what: "a connection inside" });
  connection.abort();
  assert.equal(await fateOf(conn), "reset");
  // Closed with bytes unread, the kernel resets.
  const rude = await connectTo(toEcho);
  await writeAll(rude, pattern(1000));
  await until(() => toEcho.counters.bytesOut === 1000, { what: "the echo" });
  rude.close();
  await until(() => echo.reasons.length === 1, { what: "the end inside" });
  assert.deepEqual(echo.reasons, ["reset"]);
  assert.deepEqual([toSink.counters.aborted, toEcho.counters.aborted], [1, 1]);
});

Deno.test("G6: a splice that is silent for too long is reset on both sides", async () => {
  await using w = new World({ idleMs: 60_000 });
  const echo = Echo.on(w.far, 80);
  using forward = forwardTo(w, 80);
  using conn = await connectTo(forward);
  await echoes(conn, pattern(10));
  w.ahead += 50_000;
  await echoes(conn, pattern(10));
  w.ahead += 50_000;
  await echoes(conn, pattern(10));
  w.ahead += 61_000;
  assert.equal(await fateOf(conn), "reset");
  await until(() => echo.open === 0, { what: "the end inside" });
});

Deno.test("G6: connections beyond the cap wait, and go on when others end", async () => {
  await using w = new World({ connections: 3 });
  Echo.on(w.far, 80);
  using forward = forwardTo(w, 80);
  const conns = await Promise.all(Array.from({ length: 5 }, () => connectTo(forward)));
  for (const conn of conns) await conn.write(pattern(10));
  for (const conn of conns.slice(0, 3)) await readExactly(conn, 10);
  assert.equal(forward.connections, 3);
  conns[0]?.close();
  conns[1]?.close();
  for (const conn of conns.slice(3)) await readExactly(conn, 10);
  for (const conn of conns.slice(2)) conn.close();
  await until(() => w.loop.connections === 0, { what: "all to end" });
});

testIf(
  descriptorsMissing(4500),
  "G6: forwardLocal() carries two thousand connections at once",
  async () => {
    await using w = new World();
    const echo = Echo.on(w.far, 80);
    using forward = forwardTo(w, 80);
    const conns: Deno.Conn[] = [];
    // A client opens as many as the kernel's queue holds; then the next.
    for (let i = 0; i < 20; i++) {
      conns.push(...await Promise.all(Array.from({ length: 100 }, () => connectTo(forward))));
    }
    await Promise.all(conns.map((conn, i) => echoes(conn, pattern(300, i))));
    assert.equal(forward.connections, 2000);
    assert.equal(echo.open, 2000);
    for (const conn of conns) conn.close();
    await until(() => w.loop.connections === 0 && echo.open === 0, { what: "all to end" });
    assert.equal(forward.counters.bytesIn, 600_000);
  },
);

/** A connection from the inside. */
class Caller implements TcpHandler {
  open = false;
  text = "";
  ended = false;
  reason: string | undefined;

  onOpen(): void {
    this.open = true;
  }

  onReadable(connection: TcpConnection): void {
    const bytes = new Uint8Array(1000);
    this.text += new TextDecoder().decode(bytes.subarray(0, connection.read(bytes)));
  }

  onEnd(): void {
    this.ended = true;
  }

  onClose(_connection: TcpConnection, reason: string): void {
    this.reason = reason;
  }
}

function call(w: World, port: number): [Caller, TcpConnection] {
  const caller = new Caller();
  const connection = w.far.connect({ to: NEAR, port, handler: caller });
  assert.ok(typeof connection !== "string");
  return [caller, connection];
}

Deno.test("G6: ReverseForward leads a port inside to one here, and connects anew each time", async () => {
  await using w = new World();
  let server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = server.addr;
  // With a connection on it nobody else is given the port.
  using _near = await connectTo({ port });
  using _held = await server.accept();
  const serve = async (listener: Deno.Listener): Promise<void> => {
    for await (const conn of listener) {
      void (async () => {
        await writeAll(conn, new TextEncoder().encode("hello"));
        await readAll(conn);
      })();
    }
  };
  const first = serve(server);
  const to = { kind: "tcp", address: "127.0.0.1", port } as const;
  using forward = new ReverseForward(w.loop, w.near, { port: 8080, to });
  const [caller, connection] = call(w, 8080);
  await until(() => caller.text === "hello", { what: "the greeting" });
  connection.end();
  await until(() => caller.ended && forward.connections === 0, { what: "the end" });
  server.close();
  await first;
  // Refused inside too: the SYN is answered only when the socket here is connected.
  const [refused] = call(w, 8080);
  await until(() => refused.reason, { what: "a refusal" });
  assert.deepEqual([refused.open, refused.reason], [false, "refused"]);
  server = Deno.listen({ hostname: "127.0.0.1", port });
  const second = serve(server);
  const [again, connection2] = call(w, 8080);
  await until(() => again.text === "hello", { what: "the greeting" });
  connection2.end();
  await until(() => forward.connections === 0, { what: "the end" });
  server.close();
  await second;
  assert.deepEqual([forward.counters.connections, forward.counters.failed], [3, 1]);
});

Deno.test("G6: ReverseForward resets everything when it is stopped, and listens no more", async () => {
  await using w = new World();
  using server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const to = { kind: "tcp", address: "127.0.0.1", port: server.addr.port } as const;
  const forward = new ReverseForward(w.loop, w.near, { port: 8080, to });
  assert.throws(() => new ReverseForward(w.loop, w.near, { port: 8080, to }), {
    code: "port-in-use",
  });
  const [caller] = call(w, 8080);
  using conn = await server.accept();
  await until(() => caller.open, { what: "a connection" });
  forward[Symbol.dispose]();
  await until(() => caller.reason, { what: "the end inside" });
  assert.equal(caller.reason, "reset");
  assert.equal(await fateOf(conn), "reset");
  const [late] = call(w, 8080);
  await until(() => late.reason, { what: "a refusal" });
  assert.equal(late.reason, "refused");
  assert.equal(w.loop.connections, 0);
});

Deno.test("G6: ReverseForward refuses what is beyond the cap", async () => {
  await using w = new World({ connections: 1 });
  using server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const to = { kind: "tcp", address: "127.0.0.1", port: server.addr.port } as const;
  using _forward = new ReverseForward(w.loop, w.near, { port: 8080, to });
  const [first, connection] = call(w, 8080);
  using _conn = await server.accept();
  await until(() => first.open, { what: "a connection" });
  const [second] = call(w, 8080);
  await until(() => second.reason, { what: "a refusal" });
  assert.equal(second.reason, "refused");
  connection.abort();
  await until(() => w.loop.connections === 0, { what: "the end" });
  const [third] = call(w, 8080);
  await until(() => third.open, { what: "a connection" });
});
