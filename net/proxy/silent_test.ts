/**
 * Nobody inside keeps a connection of a proxy for ever by saying nothing, in whatever state of
 * RFC 9293 section 3.3.2 it is: the idle limit ends what TCP by itself lets go on. Nor do SYNs of which
 * nothing comes hold more sockets here than the stack lets wait.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../../tests/support/until.ts";
import type { TcpConnection, TcpHandler } from "../tcp/connection.ts";
import { openStreams } from "../os/stream.ts";
import type { StreamSocket } from "../os/stream_socket.ts";
import { forwardLocal, ReverseForward } from "./forward.ts";
import { NEAR, pattern, World, writeAll } from "./proxy_fixture.ts";
import type { ProxyServer } from "./proxy_server.ts";

const IDLE_MS = 60_000;
/** More than the window of one side, and less than what both sides hold. */
const BYTES = 180_000;

/** Reads only when it is told to. */
class Inside implements TcpHandler {
  connection: TcpConnection | undefined;
  received = 0;
  reads = false;
  onOpen(connection: TcpConnection): void {
    this.connection = connection;
  }
  onReadable(connection: TcpConnection): void {
    const buffer = new Uint8Array(65536);
    while (this.reads) {
      const count = connection.read(buffer);
      if (count === 0) return;
      this.received += count;
    }
  }
}

function world(): World {
  return new World({ idleMs: IDLE_MS, limits: { bufferBytes: 256 * 1024 } });
}

function forwardTo(w: World, inside: Inside): ProxyServer {
  w.far.listen({ port: 80, onSyn: (pending) => void pending.accept(inside) });
  const listen = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;
  return forwardLocal(w.loop, w.dialer, { listen, host: "far", port: 80 });
}

async function begin(w: World, forward: ProxyServer, inside: Inside): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: forward.port });
  await until(() => inside.connection, { what: "a connection inside" });
  assert.equal(w.near.use.connections, 1);
  return conn;
}

/** What is left of the connection on the proxy's side, once it is over. */
async function isOver(w: World): Promise<void> {
  await until(() => w.loop.connections === 0 && w.near.use.connections === 0, {
    what: "the proxy to give it up",
  });
  assert.equal(w.near.use.bufferBytes, 0);
}

Deno.test("G6: FIN-WAIT-2 of a proxy ends by the idle limit when the inside says nothing more", async () => {
  await using w = world();
  const inside = new Inside();
  inside.reads = true;
  using forward = forwardTo(w, inside);
  using conn = await begin(w, forward, inside);
  await conn.closeWrite();
  await until(() => inside.connection?.state === "CLOSE-WAIT", { what: "the end inside" });
  w.ahead += IDLE_MS - 5000;
  assert.equal(w.near.use.connections, 1);
  w.ahead += 10_000;
  await isOver(w);
  assert.equal(forward.counters.aborted, 1);
});

Deno.test("G6: CLOSE-WAIT of a proxy with a closed window ends by the idle limit", async () => {
  await using w = world();
  const inside = new Inside();
  using forward = forwardTo(w, inside);
  using conn = await begin(w, forward, inside);
  inside.connection?.end();
  await writeAll(conn, pattern(BYTES));
  assert.equal(await conn.read(new Uint8Array(1)), null);
  await until(() => forward.counters.bytesIn === BYTES, { what: "the proxy to take all of it" });
  w.ahead += IDLE_MS + 5000;
  await isOver(w);
});

/** Both sides have ended, and the inside has a closed window: LAST-ACK. */
async function drained(w: World, forward: ProxyServer, inside: Inside): Promise<void> {
  using conn = await begin(w, forward, inside);
  inside.connection?.end();
  await writeAll(conn, pattern(BYTES));
  await conn.closeWrite();
  assert.equal(await conn.read(new Uint8Array(1)), null);
  await until(() => forward.counters.bytesIn === BYTES, { what: "the proxy to take all of it" });
}

Deno.test("G6: LAST-ACK of a proxy with a closed window ends by the idle limit", async () => {
  await using w = world();
  const inside = new Inside();
  using forward = forwardTo(w, inside);
  await drained(w, forward, inside);
  w.ahead += IDLE_MS - 5000;
  assert.deepEqual([w.loop.connections, w.near.use.connections], [1, 1]);
  w.ahead += 10_000;
  await isOver(w);
  assert.equal(forward.counters.aborted, 1);
});

Deno.test("G6: LAST-ACK of a proxy goes on until the inside has taken everything", async () => {
  await using w = world();
  const inside = new Inside();
  using forward = forwardTo(w, inside);
  await drained(w, forward, inside);
  w.ahead += IDLE_MS / 2;
  inside.reads = true;
  if (inside.connection !== undefined) inside.onReadable(inside.connection);
  await isOver(w);
  assert.deepEqual([inside.received, forward.counters.aborted], [BYTES, 0]);
});

Deno.test("G6: stopping a proxy resets what it was still passing on", async () => {
  await using w = world();
  const inside = new Inside();
  {
    using forward = forwardTo(w, inside);
    await drained(w, forward, inside);
  }
  await isOver(w);
});

/** A socket that is being connected for ever. */
class Connecting implements StreamSocket {
  owner = undefined;
  connecting = true;
  remoteAddress = undefined;
  localAddress = undefined;
  fault = undefined;
  closed = false;
  watch(): void {}
  read(): number {
    return 0;
  }
  write(): number {
    return 0;
  }
  shutdownWrite(): void {}
  abort(): void {
    this.closed = true;
  }
  [Symbol.dispose](): void {
    this.closed = true;
  }
}

Deno.test("G6: a flood of SYNs to a ReverseForward holds few more sockets than SYNs may wait", async () => {
  const streams = openStreams();
  const sockets: Connecting[] = [];
  streams.connect = () => {
    const socket = new Connecting();
    sockets.push(socket);
    return socket;
  };
  const pending = 10;
  await using w = new World({ streams, limits: { pending } });
  const to = { kind: "tcp", address: "127.0.0.1", port: 1 } as const;
  using forward = new ReverseForward(w.loop, w.near, { port: 8080, to });
  const inside: TcpConnection[] = [];
  for (let i = 0; i < 100; i++) {
    const made = w.far.connect({ to: NEAR, port: 8080, handler: {} });
    assert.ok(typeof made !== "string");
    inside.push(made);
    await until(() => sockets.length > i, { what: "the forward to be asked" });
    assert.ok(forward.connections <= 2 * pending + 16, `${forward.connections} wait`);
  }
  const open = sockets.filter((one) => !one.closed);
  // The newest ones, among them those that the stack still waits for.
  assert.deepEqual(open, sockets.slice(-open.length));
  assert.equal(w.loop.connections, open.length);
  for (const one of inside) one.abort();
});
