import assert from "node:assert/strict";
import { commandMissing, testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import type { TcpConnection, TcpHandler } from "../tcp/connection.ts";
import type { Stack } from "../tcp/stack.ts";
import type { ProxyServer } from "./proxy_server.ts";
import {
  descriptorsMissing,
  Echo,
  pattern,
  readExactly,
  World,
  writeAll,
} from "./proxy_fixture.ts";
import type { SocksCredentials } from "./socks5.ts";
import { openSocks } from "./socks_server.ts";

const LOOPBACK = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;
const CREDENTIALS: SocksCredentials = { user: "ann", password: "s3cret" };
const PAGE_BYTES = 300_000;

/** Answers every request with the same page, one request for each connection. */
class Web implements TcpHandler {
  readonly #page: Uint8Array<ArrayBuffer>;
  readonly #written = new Map<TcpConnection, number>();

  constructor() {
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${PAGE_BYTES}\r\nConnection: close\r\n\r\n`;
    const bytes = new TextEncoder().encode(head);
    this.#page = new Uint8Array(bytes.length + PAGE_BYTES);
    this.#page.set(bytes);
    this.#page.set(pattern(PAGE_BYTES), bytes.length);
  }

  static on(stack: Stack, port: number): void {
    const web = new Web();
    stack.listen({ port, onSyn: (pending) => void pending.accept(web) });
  }

  onReadable(connection: TcpConnection): void {
    const request = new Uint8Array(1000);
    const length = connection.peek(request);
    if (!new TextDecoder().decode(request.subarray(0, length)).includes("\r\n\r\n")) return;
    connection.skip(length);
    this.#written.set(connection, 0);
    this.onWritable(connection);
  }

  onWritable(connection: TcpConnection): void {
    let at = this.#written.get(connection);
    if (at === undefined) return;
    at += connection.write(this.#page, at);
    this.#written.set(connection, at);
    if (at === this.#page.length) connection.end();
  }
}

interface Ran {
  readonly code: number;
  readonly stdout: Uint8Array;
  readonly stderr: string;
}

async function run(command: string, args: string[], input = ""): Promise<Ran> {
  const child = new Deno.Command(command, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, stdout, stderr: new TextDecoder().decode(stderr) };
}

async function curl(server: ProxyServer, url: string, ...more: string[]): Promise<Ran> {
  const proxy = `127.0.0.1:${server.port}`;
  const args = ["-sS", "--max-time", "20", "--noproxy", "", "--socks5-hostname", proxy, ...more];
  return await run("curl", [...args, url]);
}

const noCurl = commandMissing("curl");
const noNetcat = await commandLacks("nc", "-X proxy_protocol");

/** Why `nc` is not OpenBSD's. */
async function commandLacks(name: string, words: string): Promise<string | undefined> {
  const missing = commandMissing(name);
  if (missing !== undefined) return missing;
  const { stderr } = await new Deno.Command(name, { args: ["-h"] }).output();
  const isThere = new TextDecoder().decode(stderr).includes(words);
  return isThere ? undefined : `needs a ${name} with "${words}"`;
}

testIf(noCurl, "G5: curl gets a page by name and by address, several at once", async () => {
  await using w = new World();
  Web.on(w.far, 80);
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  const urls = ["http://far/", "http://far.omerta/", "http://10.0.0.2/"];
  for (const { code, stdout, stderr } of await Promise.all(urls.map((url) => curl(server, url)))) {
    assert.equal(code, 0, stderr);
    assert.deepEqual(new Uint8Array(stdout), pattern(PAGE_BYTES));
  }
  await until(() => server.connections === 0, { what: "all to end" });
  assert.equal(server.counters.failed, 0);
  assert.ok(server.counters.bytesOut > 3 * PAGE_BYTES);
});

testIf(noCurl, "G5: curl is told refused, unreachable, unknown, timed out, and IPv6", async () => {
  await using w = new World();
  Web.on(w.far, 80);
  w.far.listen({ port: 82, onSyn: (pending) => pending.refuse("unreachable") });
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  const codeOf = async (url: string): Promise<string | undefined> => {
    const { code, stderr } = await curl(server, url);
    assert.equal(code, 97, stderr);
    return /\((\d+)\)\s*$/.exec(stderr)?.[1];
  };
  assert.equal(await codeOf("http://far:81/"), "5");
  assert.equal(await codeOf("http://far:82/"), "4");
  assert.equal(await codeOf("http://nobody/"), "4");
  assert.equal(await codeOf("http://[::1]/"), "8");
  const silent = codeOf("http://silent/");
  await until(() => w.near.use.connections === 1, { what: "a SYN" });
  w.ahead += 31_000;
  assert.equal(await silent, "6");
  // Positive control.
  assert.equal((await curl(server, "http://far/")).code, 0);
});

testIf(noCurl, "G5: curl needs the right user and password when there are any", async () => {
  await using w = new World();
  Web.on(w.far, 80);
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK, credentials: CREDENTIALS });
  const good = await curl(server, "http://far/", "--proxy-user", "ann:s3cret");
  assert.equal(good.code, 0, good.stderr);
  assert.equal(good.stdout.length, PAGE_BYTES);
  for (const more of [[], ["--proxy-user", "ann:secret"], ["--proxy-user", "bob:s3cret"]]) {
    const { code, stdout } = await curl(server, "http://far/", ...more);
    assert.deepEqual([code, stdout.length], [97, 0], more.join(" "));
  }
});

testIf(noNetcat, "G5: OpenBSD's netcat talks through it by name and by address", async () => {
  await using w = new World();
  Echo.on(w.far, 7);
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  for (const host of ["far", "10.0.0.2"]) {
    const args = ["-N", "-w", "20", "-X", "5", "-x", `127.0.0.1:${server.port}`, host, "7"];
    const text = "over the line ".repeat(2000);
    const { code, stdout, stderr } = await run("nc", args, text);
    assert.equal(code, 0, stderr);
    assert.equal(new TextDecoder().decode(stdout), text);
  }
  const args = ["-N", "-w", "20", "-X", "5", "-x", `127.0.0.1:${server.port}`, "far", "8"];
  assert.notEqual((await run("nc", args)).code, 0);
});

/** The messages of a client without a password, and the server's answer to its request. */
async function request(conn: Deno.Conn, bytes: number[]): Promise<Uint8Array> {
  await writeAll(conn, Uint8Array.from([5, 1, 0]));
  assert.deepEqual(Array.from(await readExactly(conn, 2)), [5, 0]);
  await writeAll(conn, Uint8Array.from(bytes));
  return await readExactly(conn, 10);
}

const TO_FAR = [5, 1, 0, 1, 10, 0, 0, 2, 0, 7];

Deno.test("G5: openSocks() answers commands other than CONNECT, and then ends", async () => {
  await using w = new World();
  Echo.on(w.far, 7);
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  for (const [command, code] of [[1, 0], [2, 7], [3, 7]] as const) {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    const answer = await request(conn, [5, command, ...TO_FAR.slice(2)]);
    assert.equal(answer[1], code);
    if (code !== 0) {
      assert.equal(await conn.read(new Uint8Array(10)), null);
      continue;
    }
    // BND.ADDR: where the connection comes from inside.
    assert.deepEqual(Array.from(answer.subarray(3, 8)), [1, 10, 0, 0, 1]);
    await writeAll(conn, pattern(10));
    assert.deepEqual(await readExactly(conn, 10), pattern(10));
  }
});

/** A world whose clock stands still, but for `ahead`. */
class StillWorld extends World {
  override get now(): number {
    return this.ahead;
  }
}

Deno.test("G5: openSocks() drops a client that says nothing, or goes on after it was turned away", async () => {
  await using w = new StillWorld();
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  const mute = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const loud = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  assert.equal((await request(loud, TO_FAR))[1], 5);
  await until(() => server.connections === 2, { what: "both clients" });
  w.ahead += 3000;
  await until(() => server.connections === 1, { what: "the one that was turned away to go" });
  w.ahead += 8000;
  await until(() => server.connections === 0, { what: "the silent one to go" });
  mute.close();
  loud.close();
});

Deno.test("G5: openSocks() says so when the stack has no room for a connection", async () => {
  await using w = new World({ limits: { connections: 1 } });
  Echo.on(w.far, 7);
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  using first = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  assert.equal((await request(first, TO_FAR))[1], 0);
  using second = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  assert.equal((await request(second, TO_FAR))[1], 1);
});

testIf(descriptorsMissing(2500), "G5: openSocks() carries a thousand clients at once", async () => {
  await using w = new World();
  Echo.on(w.far, 7);
  using server = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  const conns: Deno.Conn[] = [];
  for (let i = 0; i < 10; i++) {
    const some = await Promise.all(
      Array.from({ length: 100 }, () => Deno.connect({ hostname: "127.0.0.1", port: server.port })),
    );
    for (const answer of await Promise.all(some.map((conn) => request(conn, TO_FAR)))) {
      assert.equal(answer[1], 0);
    }
    conns.push(...some);
  }
  await Promise.all(conns.map(async (conn, i) => {
    await writeAll(conn, pattern(200, i));
    assert.deepEqual(await readExactly(conn, 200), pattern(200, i));
  }));
  assert.equal(server.connections, 1000);
  for (const conn of conns) conn.close();
  await until(() => server.connections === 0, { what: "all to end" });
});
