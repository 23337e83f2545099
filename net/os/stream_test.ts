import assert from "node:assert/strict";
import { join } from "node:path";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { libc } from "./libc.ts";
import { AsyncReactor, openReactor, type Reactor } from "./reactor.ts";
import { openStreamsLinux } from "./stream_linux.ts";
import { openStreamsPortable } from "./stream_portable.ts";
import {
  STREAM,
  type StreamAddress,
  type StreamListener,
  type StreamOwner,
  type Streams,
  type StreamSocket,
} from "./stream_socket.ts";

const LIMIT_MS = 20_000;

/** Lets sockets have their turns until something is so. */
async function drive(streams: Streams, what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while (!done()) {
    streams.serve();
    if (performance.now() > deadline) throw new Error(`Cannot go on: waited for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function byteAt(i: number): number {
  return (i * 31 + (i >>> 8)) & 255;
}

/** Sends so many bytes, then ends; checks and counts what comes. */
class Peer implements StreamOwner {
  told = 0;
  sent = 0;
  received = 0;
  ended = false;
  wrong = false;
  reading = true;
  readonly #total: number;
  readonly #buffer = new Uint8Array(8192);

  constructor(total: number) {
    this.#total = total;
  }

  watch(socket: StreamSocket): void {
    socket.watch(this.reading && !this.ended, this.sent < this.#total);
  }

  onStream(socket: StreamSocket): void {
    this.told++;
    if (socket.connecting || socket.fault !== undefined) return;
    if (this.sent < this.#total) this.#send(socket);
    if (this.reading && !this.ended) this.#receive(socket);
    if (socket.fault === undefined) this.watch(socket);
  }

  #send(socket: StreamSocket): void {
    const buffer = this.#buffer;
    const length = Math.min(buffer.length, this.#total - this.sent);
    for (let i = 0; i < length; i++) buffer[i] = byteAt(this.sent + i);
    const taken = socket.write(buffer, 0, length);
    if (taken < 0) return;
    this.sent += taken;
    if (this.sent === this.#total) socket.shutdownWrite();
  }

  #receive(socket: StreamSocket): void {
    const count = socket.read(this.#buffer, 0, this.#buffer.length);
    if (count === STREAM.end) this.ended = true;
    for (let i = 0; i < count; i++) {
      if (this.#buffer[i] !== byteAt(this.received + i)) this.wrong = true;
    }
    if (count > 0) this.received += count;
  }
}

/** A listener and one connection to it. */
class Pair implements Disposable {
  readonly listener: StreamListener;
  readonly client: StreamSocket;
  server: StreamSocket | undefined;

  constructor(streams: Streams, address: StreamAddress, client: StreamOwner) {
    this.listener = streams.listen(address, () => this.server ??= this.listener.accept());
    this.listener.watch(true);
    const to = address.kind === "tcp" ? { ...address, port: this.listener.port } : address;
    const socket = streams.connect(to, client);
    assert.ok(typeof socket !== "string", `connected at once: ${String(socket)}`);
    this.client = socket;
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.server?.[Symbol.dispose]();
    this.listener[Symbol.dispose]();
  }
}

const LOOPBACK = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;
const noFfi = libc() === undefined ? "needs FFI on Linux" : undefined;

interface Kind {
  readonly name: string;
  readonly open: () => Streams;
  readonly reactor: () => Reactor;
  readonly missing: string | undefined;
}

const KINDS: readonly Kind[] = [
  { name: "linux", open: openStreamsLinux, reactor: () => openReactor(-1), missing: noFfi },
  {
    name: "portable",
    open: openStreamsPortable,
    reactor: () => new AsyncReactor(),
    missing: undefined,
  },
];

for (const { name, open, reactor, missing } of KINDS) {
  const test = (what: string, fn: () => Promise<void>): void =>
    testIf(missing, `Streams (${name}) ${what}`, fn);

  const exchange = async (address: StreamAddress): Promise<void> => {
    using streams = open();
    const total = 3_000_000;
    const client = new Peer(total);
    const server = new Peer(total);
    using pair = new Pair(streams, address, client);
    client.watch(pair.client);
    await drive(streams, "a connection", () => pair.server !== undefined);
    const accepted = pair.server;
    assert.ok(accepted);
    accepted.owner = server;
    server.watch(accepted);
    await drive(streams, "all bytes", () => client.ended && server.ended);
    assert.deepEqual([client.received, server.received], [total, total]);
    assert.deepEqual([client.wrong, server.wrong], [false, false]);
  };

  test("carry bytes and ends both ways over IPv4", () => exchange(LOOPBACK));
  test("carry bytes and ends both ways over IPv6", () => exchange({ ...LOOPBACK, address: "::1" }));
  test("carry bytes and ends both ways over a unix socket that is its user's only", async () => {
    const folder = await Deno.makeTempDir();
    const path = join(folder, "s.sock");
    await exchange({ kind: "unix", path });
    assert.equal(await exists(path), false);
    using streams = open();
    using _first = streams.listen({ kind: "unix", path }, () => {});
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
    // One that a killed process left behind is replaced, and nothing else is.
    using _second = streams.listen({ kind: "unix", path }, () => {});
    await Deno.writeTextFile(join(folder, "file"), "kept");
    assert.throws(() => streams.listen({ kind: "unix", path: join(folder, "file") }, () => {}), {
      code: "port-in-use",
    });
    assert.equal(await Deno.readTextFile(join(folder, "file")), "kept");
    await Deno.remove(folder, { recursive: true });
  });

  test("take no more when the other side does not read, and go on when it does", async () => {
    using streams = open();
    const total = 16_000_000;
    const client = new Peer(total);
    const server = new Peer(0);
    using pair = new Pair(streams, LOOPBACK, client);
    client.watch(pair.client);
    let before = -1;
    let turns = 0;
    await drive(streams, "the socket to be full", () => {
      if (client.sent === 0 || turns++ % 50 !== 0) return false;
      const same = client.sent === before;
      before = client.sent;
      return same;
    });
    assert.ok(client.sent < total, `${client.sent} bytes were taken`);
    const accepted = pair.server;
    assert.ok(accepted);
    accepted.owner = server;
    server.watch(accepted);
    await drive(streams, "all bytes", () => server.ended);
    assert.deepEqual([server.received, server.wrong], [total, false]);
  });

  test("take several short pieces one after the other, at once", async () => {
    using streams = open();
    const client = new Peer(0);
    using pair = new Pair(streams, LOOPBACK, client);
    client.watch(pair.client);
    await drive(
      streams,
      "a connection",
      () => pair.server !== undefined && !pair.client.connecting,
    );
    const bytes = new Uint8Array(300).map((_, i) => byteAt(i));
    for (let at = 0; at < 300; at += 100) assert.equal(pair.server?.write(bytes, at, 100), 100);
    pair.server?.shutdownWrite();
    await drive(streams, "all of them", () => client.ended);
    assert.deepEqual([client.received, client.wrong], [300, false]);
  });

  test("keep one direction open when the other has ended", async () => {
    using streams = open();
    const client = new Peer(0);
    const server = new Peer(1000);
    using pair = new Pair(streams, LOOPBACK, client);
    client.watch(pair.client);
    await drive(
      streams,
      "a connection",
      () => pair.server !== undefined && !pair.client.connecting,
    );
    pair.client.shutdownWrite();
    const accepted = pair.server;
    assert.ok(accepted);
    accepted.owner = server;
    server.watch(accepted);
    accepted.watch(true, false);
    await drive(streams, "the client's end", () => server.ended);
    assert.equal(client.ended, false);
    server.watch(accepted);
    await drive(streams, "the server's bytes", () => client.ended);
    assert.equal(client.received, 1000);
  });

  test("say why nothing was connected", async () => {
    using streams = open();
    const owner = new Peer(0);
    const gone = streams.listen(LOOPBACK, () => {});
    const { port } = gone;
    gone[Symbol.dispose]();
    const socket = streams.connect({ ...LOOPBACK, port }, owner);
    if (typeof socket === "string") assert.equal(socket, "refused");
    else {
      await drive(streams, "a refusal", () => owner.told > 0);
      assert.equal(socket.fault, "refused");
      assert.equal(socket.connecting, false);
      assert.equal(socket.read(new Uint8Array(100), 0, 100), STREAM.error);
      assert.equal(socket.write(new Uint8Array(100), 0, 100), STREAM.error);
      socket[Symbol.dispose]();
    }
    for (const address of ["localhost", "1.2.3", "", "127.0.0.1:80"]) {
      assert.equal(streams.connect({ kind: "tcp", address, port: 80 }, owner), "bad-address");
    }
    assert.equal(streams.connect({ ...LOOPBACK, port: 65536 }, owner), "bad-address");
    assert.equal(streams.connect({ kind: "unix", path: "x".repeat(200) }, owner), "bad-address");
  });

  test("refuse a port that is taken", () => {
    using streams = open();
    using first = streams.listen(LOOPBACK, () => {});
    assert.throws(() => streams.listen({ ...LOOPBACK, port: first.port }, () => {}), {
      code: "port-in-use",
    });
    assert.throws(() => streams.listen({ ...LOOPBACK, address: "localhost" }, () => {}), {
      code: "listen-failed",
    });
    return Promise.resolve();
  });

  test("tell nobody what is not watched for, and go on telling what is", async () => {
    using streams = open();
    const client = new Peer(10);
    const server = new Peer(0);
    using pair = new Pair(streams, LOOPBACK, client);
    client.watch(pair.client);
    await drive(streams, "a connection", () => pair.server !== undefined && client.sent === 10);
    const accepted = pair.server;
    assert.ok(accepted);
    // Both directions are closed then, which epoll tells whatever is asked for.
    accepted.shutdownWrite();
    let told = 0;
    const owner = { onStream: () => void told++ };
    accepted.owner = owner;
    accepted.watch(false, false);
    await drive(streams, "the client to see the end", () => client.ended);
    for (let i = 0; i < 10; i++) streams.serve();
    assert.equal(told, 0);
    accepted.watch(true, false);
    await drive(streams, "the owner to be told twice", () => told >= 2);
    accepted.owner = server;
    await drive(streams, "the bytes", () => server.ended);
    assert.equal(server.received, 10);
  });

  test("are not told any more in the turn in which another one closed them", async () => {
    using streams = open();
    const told: StreamSocket[] = [];
    const sockets: StreamSocket[] = [];
    const owner: StreamOwner = {
      onStream: (socket) => {
        told.push(socket);
        for (const one of sockets) one[Symbol.dispose]();
      },
    };
    using listener = streams.listen(LOOPBACK, () => {
      const socket = listener.accept();
      if (socket !== undefined) sockets.push(socket);
    });
    listener.watch(true);
    const clients: StreamSocket[] = [];
    for (let i = 0; i < 3; i++) {
      const client = streams.connect({ ...LOOPBACK, port: listener.port }, new Peer(0));
      if (typeof client !== "string") clients.push(client);
    }
    await drive(
      streams,
      "three connections",
      () => sockets.length === 3 && !clients.some((one) => one.connecting),
    );
    for (const one of sockets) {
      one.owner = owner;
      one.watch(true, true);
    }
    await drive(streams, "one to be told", () => told.length > 0);
    for (let i = 0; i < 5; i++) streams.serve();
    assert.equal(told.length, 1);
    for (const one of clients) one[Symbol.dispose]();
  });

  test("are one source of a reactor", async () => {
    using streams = open();
    using loop = reactor();
    loop.add(streams, () => streams.serve());
    const client = new Peer(100_000);
    const server = new Peer(0);
    using pair = new Pair(streams, LOOPBACK, client);
    client.watch(pair.client);
    for (let turns = 0; !server.ended && turns < 10_000; turns++) {
      await loop.wait(100);
      if (pair.server !== undefined && pair.server.owner === undefined) {
        pair.server.owner = server;
        server.watch(pair.server);
      }
    }
    assert.equal(server.received, 100_000);
    loop.remove(streams);
  });
}

testIf(
  noFfi,
  "Streams (linux) reset the other side by an abort, whatever it waits for",
  async () => {
    using streams = openStreamsLinux();
    const client = new Peer(0);
    using pair = new Pair(streams, LOOPBACK, client);
    await drive(streams, "a connection", () => pair.server !== undefined && client.told === 1);
    pair.client.watch(false, false);
    pair.server?.abort();
    await drive(streams, "the reset", () => client.told === 2);
    assert.equal(pair.client.fault, "reset");
  },
);

testIf(noFfi, "Streams (linux) take small arrays, which the engine may move", async () => {
  using streams = openStreamsLinux();
  const client = new Peer(0);
  using pair = new Pair(streams, LOOPBACK, client);
  await drive(streams, "a connection", () => pair.server !== undefined && client.told === 1);
  const text = new TextEncoder().encode("0123456789");
  assert.equal(pair.client.write(text, 2, 5), 5);
  const into = new Uint8Array(12).fill(1);
  let told = 0;
  assert.ok(pair.server);
  pair.server.owner = { onStream: () => void told++ };
  pair.server.watch(true, false);
  await drive(streams, "bytes", () => told > 0);
  assert.equal(pair.server.read(into, 4, 8), 5);
  assert.equal(new TextDecoder().decode(into.subarray(4, 9)), "23456");
  assert.deepEqual([into[3], into[9]], [1, 1]);
});

testIf(
  noFfi ?? commandMissing("prlimit"),
  "Streams (linux) say so when no more descriptors may be opened, and go on later",
  async () => {
    using streams = openStreamsLinux();
    let accepted: StreamSocket | undefined;
    let tries = 0;
    using listener = streams.listen(LOOPBACK, () => {
      tries++;
      accepted ??= listener.accept();
    });
    const to = { ...LOOPBACK, port: listener.port };
    const client = streams.connect(to, new Peer(0));
    assert.ok(typeof client !== "string");
    // It must be running before: a program cannot be started without descriptors.
    const script = 'read a; prlimit --pid "$1" --nofile=3:; echo; read b; ' +
      'prlimit --pid "$1" --nofile="$2":; echo';
    const limit = Deno.build.os === "linux" ? softLimit() : "1024";
    const helper = new Deno.Command("sh", {
      args: ["-c", script, "sh", String(Deno.pid), limit],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const writer = helper.stdin.getWriter();
    const reader = helper.stdout.getReader();
    const step = async (): Promise<void> => {
      await writer.write(new Uint8Array([10]));
      await reader.read();
    };
    await step();
    try {
      listener.watch(true);
      await drive(streams, "a try to accept", () => tries > 0);
      assert.equal(listener.exhausted, true);
      assert.equal(accepted, undefined);
      assert.equal(streams.connect(to, new Peer(0)), "no-descriptors");
    } finally {
      await step();
    }
    await drive(streams, "the connection", () => accepted !== undefined);
    assert.equal(listener.exhausted, false);
    (accepted as StreamSocket | undefined)?.[Symbol.dispose]();
    client[Symbol.dispose]();
    await writer.close();
    await reader.cancel();
    await helper.status;
  },
);

function softLimit(): string {
  const line = /Max open files\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/limits"));
  return line?.[1] ?? "1024";
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch {
    return false;
  }
}
