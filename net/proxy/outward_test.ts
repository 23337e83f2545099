import assert from "node:assert/strict";
import { until } from "../../tests/support/until.ts";
import type { Watchable } from "../os/packet_socket.ts";
import { openStreams } from "../os/stream.ts";
import {
  type StreamAddress,
  streamAddressText,
  type StreamFault,
  type StreamListener,
  type StreamOwner,
  type Streams,
  type StreamSocket,
} from "../os/stream_socket.ts";
import type { CloseReason, TcpConnection, TcpHandler } from "../tcp/connection.ts";
import { Outward } from "./outward.ts";
import { FAR, NEAR, pattern, World } from "./proxy_fixture.ts";

/** 192.0.2.7, which is nobody's (RFC 5737). */
const OUTSIDE = 0xc0000207;

/** This computer's sockets, of which every dialled one leads to a server of the test's, or fails. */
class Elsewhere implements Streams {
  /** What was dialled. */
  readonly dialled: string[] = [];
  /** Port of the server on 127.0.0.1. */
  port = 0;
  /** What dialling says instead. */
  fault: StreamFault | undefined;
  readonly #real = openStreams();

  get fd(): number {
    return this.#real.fd;
  }
  get waiting(): number {
    return this.#real.waiting;
  }
  get onReadable(): (() => void) | undefined {
    return this.#real.onReadable;
  }
  set onReadable(told: (() => void) | undefined) {
    this.#real.onReadable = told;
  }
  listen(address: StreamAddress, onConnection: () => void): StreamListener {
    return this.#real.listen(address, onConnection);
  }
  connect(address: StreamAddress, owner: StreamOwner): StreamSocket | StreamFault {
    this.dialled.push(streamAddressText(address));
    const there = { kind: "tcp", address: "127.0.0.1", port: this.port } as const;
    return this.fault ?? this.#real.connect(there, owner);
  }
  add(source: Watchable, ready: () => void): Disposable | undefined {
    return this.#real.add(source, ready);
  }
  serve(): void {
    this.#real.serve();
  }
  [Symbol.dispose](): void {
    this.#real[Symbol.dispose]();
  }
}

/** A connection from the inside. */
class Caller implements TcpHandler {
  opened = false;
  received = 0;
  ended = false;
  reason: CloseReason | undefined;
  readonly #buffer = new Uint8Array(65536);
  onOpen(): void {
    this.opened = true;
  }
  onReadable(connection: TcpConnection): void {
    for (let n = connection.read(this.#buffer); n > 0; n = connection.read(this.#buffer)) {
      this.received += n;
    }
  }
  onEnd(): void {
    this.ended = true;
  }
  onClose(_connection: TcpConnection, reason: CloseReason): void {
    this.reason = reason;
  }
}

function call(w: World, to: number, port = 80, from = FAR): [Caller, TcpConnection] {
  const caller = new Caller();
  const connection = w.far.connect({ to, from, port, handler: caller });
  assert.ok(typeof connection !== "string");
  return [caller, connection];
}

async function reasonOf(caller: Caller): Promise<CloseReason> {
  return await until(() => caller.reason, { what: "the end of a connection" });
}

function world(connections = 100): [World, Elsewhere] {
  const streams = new Elsewhere();
  return [new World({ streams, connections, promiscuous: true }), streams];
}

function echoServer(): Deno.TcpListener {
  const server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (async () => {
    for await (const conn of server) conn.readable.pipeTo(conn.writable).catch(() => {});
  })();
  return server;
}

Deno.test("G1: Outward dials whatever address and port is wanted, and passes bytes and ends", async () => {
  const [made, streams] = world();
  await using w = made;
  using server = echoServer();
  streams.port = server.addr.port;
  using outward = new Outward(w.loop, w.near);
  const calls = [[OUTSIDE, 80], [OUTSIDE, 443], [0x0a000063, 7], [NEAR, 7]] as const;
  for (const [to, port] of calls) {
    const [caller, connection] = call(w, to, port);
    connection.write(pattern(5000));
    connection.end();
    assert.equal(await reasonOf(caller), "closed");
    assert.deepEqual([caller.received, caller.ended], [5000, true]);
  }
  assert.deepEqual(streams.dialled, [
    "192.0.2.7:80",
    "192.0.2.7:443",
    "10.0.0.99:7",
    "10.0.0.1:7",
  ]);
  await until(() => outward.connections === 0, { what: "all to be forgotten" });
  assert.equal(w.loop.connections, 0);
  const { connections, failed, aborted, bytesIn, bytesOut } = outward.counters;
  assert.deepEqual([connections, failed, aborted, bytesIn, bytesOut], [4, 0, 0, 20_000, 20_000]);
});

Deno.test("G1: Outward tells the inside what the outside said: refused, unreachable", async () => {
  const [made, streams] = world();
  await using w = made;
  using outward = new Outward(w.loop, w.near);
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  streams.port = closed.addr.port;
  // With a connection on it nobody else is given the port.
  using _near = await Deno.connect({ hostname: "127.0.0.1", port: streams.port });
  using _held = await closed.accept();
  closed.close();
  assert.equal(await reasonOf(call(w, OUTSIDE)[0]), "refused");
  const faults = [
    ["unreachable", "unreachable"],
    ["timeout", "unreachable"],
    ["no-descriptors", "refused"],
  ] as const;
  for (const [fault, reason] of faults) {
    streams.fault = fault;
    assert.equal(await reasonOf(call(w, OUTSIDE)[0]), reason);
  }
  assert.equal(outward.counters.failed, 4);
  assert.deepEqual([outward.connections, w.loop.connections], [0, 0]);
});

Deno.test("G1: Outward dials nothing that may not be reached, and neither loopback nor multicast", async () => {
  const [made, streams] = world();
  await using w = made;
  using server = echoServer();
  streams.port = server.addr.port;
  const asked: number[][] = [];
  using _outward = new Outward(w.loop, w.near, {
    allow: (to, port, from) => {
      asked.push([to, port, from]);
      return port !== 25;
    },
  });
  assert.equal(await reasonOf(call(w, OUTSIDE, 25)[0]), "unreachable");
  // 127.0.0.1, 0.0.0.0, 224.0.0.1, 255.255.255.255: the stack does not even take them.
  for (const to of [0x7f000001, 0, 0xe0000001, 0xffffffff]) call(w, to);
  // Positive control, and proof that those before have been looked at.
  const [caller] = call(w, OUTSIDE, 26);
  await until(() => caller.opened, { what: "a connection" });
  assert.deepEqual(streams.dialled, ["192.0.2.7:26"]);
  assert.deepEqual(asked, [[OUTSIDE, 25, FAR], [OUTSIDE, 26, FAR]]);
});

Deno.test("G1: Outward resets what one address has beyond its share, not what others have", async () => {
  const [made, streams] = world(4);
  await using w = made;
  using server = echoServer();
  streams.port = server.addr.port;
  using outward = new Outward(w.loop, w.near, { perSource: 2 });
  const [first, second] = [call(w, OUTSIDE), call(w, OUTSIDE)];
  await until(() => first[0].opened && second[0].opened, { what: "two connections" });
  assert.equal(await reasonOf(call(w, OUTSIDE)[0]), "refused");
  assert.equal(streams.dialled.length, 2);
  call(w, OUTSIDE, 80, FAR + 1);
  await until(() => streams.dialled.length === 3, { what: "another address's connection" });
  first[1].abort();
  await until(() => outward.connections === 2, { what: "one to end" });
  const third = call(w, OUTSIDE);
  await until(() => third[0].opened, { what: "the next" });
  assert.equal(outward.counters.failed, 1);
});

Deno.test("G1: Outward resets everything when it is stopped, and dials no more", async () => {
  const [made, streams] = world();
  await using w = made;
  using server = echoServer();
  streams.port = server.addr.port;
  const outward = new Outward(w.loop, w.near);
  assert.throws(() => new Outward(w.loop, w.near), { code: "port-in-use" });
  const [caller] = call(w, OUTSIDE);
  await until(() => caller.opened, { what: "a connection" });
  outward[Symbol.dispose]();
  assert.equal(await reasonOf(caller), "reset");
  assert.equal(await reasonOf(call(w, OUTSIDE)[0]), "refused");
  assert.deepEqual([streams.dialled.length, w.loop.connections], [1, 0]);
});
