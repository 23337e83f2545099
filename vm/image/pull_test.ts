import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { run } from "../../lib/core/process.ts";
import { pullImage, type PullOptions } from "./pull.ts";
import { ImageStore } from "./store.ts";

/** A qcow2 header (version 3) of a 1 GiB disk, and content behind it. */
function qcow2(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 104; i < length; i++) bytes[i] = i * 31;
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x514649fb);
  view.setUint32(4, 3);
  view.setUint32(20, 16);
  view.setBigUint64(24, 1n << 30n);
  return bytes;
}

const IMAGE = qcow2(1_000_000);

/** How a server misbehaves. */
interface Server {
  /** What it serves. @default {IMAGE} */
  content?: Uint8Array<ArrayBuffer>;
  /** The checksum that it states. @default {the right one} */
  checksum?: string;
  /** Cuts each of the first so many connections after `cutAfter` bytes. */
  cuts?: number;
  cutAfter?: number;
  /** Answers 200 and everything, whatever was asked for. */
  ignoresRanges?: boolean;
  /** Answers each of the first so many with 503. */
  unavailable?: number;
}

interface Running extends AsyncDisposable {
  readonly url: string;
  /** The range header of each request for the image. */
  readonly ranges: (string | null)[];
}

/** HTTP by hand, so that a connection can really be cut in the middle of a body. */
function serve(server: Server): Running {
  const content = server.content ?? IMAGE;
  const digest = server.checksum ?? createHash("sha512").update(content).digest("hex");
  const sums = new TextEncoder().encode(
    `${"0".repeat(128)}  other.qcow2\n${digest}  guest.qcow2\n`,
  );
  let cuts = server.cuts ?? 0;
  let unavailable = server.unavailable ?? 0;
  const ranges: (string | null)[] = [];
  const answer = (head: string): { status: string; more?: string; body: Uint8Array } => {
    const [, path] = /^GET (\S+)/.exec(head) ?? [];
    if (path === "/SHA512SUMS") return { status: "200 OK", body: sums };
    const nothing = new Uint8Array(0);
    if (path !== "/guest.qcow2") return { status: "404 Not Found", body: nothing };
    const [range = null, first] = /bytes=(\d+)-/.exec(head) ?? [];
    ranges.push(range);
    if (unavailable-- > 0) return { status: "503 Service Unavailable", body: nothing };
    const from = server.ignoresRanges ? 0 : Number(first ?? 0);
    const size = content.length;
    if (from >= size) {
      const more = `content-range: bytes */${size}\r\n`;
      return { status: "416 Range Not Satisfiable", more, body: nothing };
    }
    const body = content.subarray(from);
    if (from === 0) return { status: "200 OK", body };
    const more = `content-range: bytes ${from}-${size - 1}/${size}\r\n`;
    return { status: "206 Partial Content", more, body };
  };
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async (): Promise<void> => {
    for await (const connection of listener) {
      using _ = connection;
      const { status, more = "", body } = answer(await requestHead(connection));
      const image = status.startsWith("2") && body !== sums;
      const sent = image && cuts-- > 0 ? body.subarray(0, server.cutAfter ?? 1000) : body;
      await writeAll(
        connection,
        new TextEncoder().encode(
          `HTTP/1.1 ${status}\r\n${more}content-length: ${body.length}\r\nconnection: close\r\n\r\n`,
        ),
      );
      await writeAll(connection, sent);
    }
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}/guest.qcow2`,
    ranges,
    [Symbol.asyncDispose]: async (): Promise<void> => {
      listener.close();
      await serving;
    },
  };
}

async function requestHead(connection: Deno.Conn): Promise<string> {
  let head = "";
  const buffer = new Uint8Array(4096);
  while (!head.includes("\r\n\r\n")) {
    const n = await connection.read(buffer);
    if (n === null) return head;
    head += new TextDecoder().decode(buffer.subarray(0, n));
  }
  return head;
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  } catch {
    // The client went away: some tests are about that.
  }
}

interface Home extends AsyncDisposable {
  readonly store: ImageStore;
  files(): Promise<string[]>;
}

async function home(): Promise<Home> {
  const path = await Deno.makeTempDir();
  const store = await ImageStore.open(path);
  return {
    store,
    files: () => Array.fromAsync(Deno.readDir(path), (entry) => entry.name),
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

function pull(store: ImageStore, url: string, more: Partial<PullOptions> = {}): Promise<unknown> {
  return pullImage({ store, url, retryDelayMs: 0, ...more });
}

Deno.test("V5: pullImage() downloads, checks and stores an image, and reports its progress", async () => {
  await using server = serve({});
  await using there = await home();
  const progress: [number | undefined, number | undefined][] = [];
  const image = await pullImage({
    store: there.store,
    url: server.url,
    arch: "x86_64",
    onProgress: (p) => p.step === "downloading" && progress.push([p.done, p.total]),
  });
  assert.equal(image.name, "debian-12-cloud");
  assert.deepEqual(image.boot, { kind: "disk" });
  assert.equal(image.virtualSizeMiB, 1024);
  assert.deepEqual(await Deno.readFile(image.disk), IMAGE);
  assert.deepEqual(progress.at(0), [0, IMAGE.length]);
  assert.deepEqual(progress.at(-1), [IMAGE.length, IMAGE.length]);
  assert.deepEqual(await there.files(), [image.id]);
  // The same again costs nothing.
  assert.deepEqual(await pullImage({ store: there.store, url: server.url }), image);
  assert.deepEqual(server.ranges, [null]);
});

Deno.test("V5: pullImage() continues where the connection was cut", async () => {
  await using server = serve({ cuts: 2, cutAfter: 300_000 });
  await using there = await home();
  await pull(there.store, server.url);
  assert.deepEqual(server.ranges, [null, "bytes=300000-", "bytes=600000-"]);
});

Deno.test("V5: pullImage() begins again with a server that ignores ranges", async () => {
  await using server = serve({ cuts: 1, cutAfter: 300_000, ignoresRanges: true });
  await using there = await home();
  const { disk } = await pullImage({ store: there.store, url: server.url, retryDelayMs: 0 });
  assert.deepEqual(await Deno.readFile(disk), IMAGE);
  assert.deepEqual(server.ranges, [null, "bytes=300000-"]);
});

Deno.test("V5: pullImage() goes on in a later run, and asks for nothing when all is there", async () => {
  await using there = await home();
  const digest = createHash("sha512").update(IMAGE).digest("hex");
  const partial = join(there.store.folder, `.partial-${digest.slice(0, 32)}`);
  await Deno.writeFile(partial, IMAGE);
  await using server = serve({});
  await pull(there.store, server.url);
  assert.deepEqual(server.ranges, [`bytes=${IMAGE.length}-`]);
});

Deno.test("V5: pullImage() begins again when what is there is longer than the file", async () => {
  await using there = await home();
  const digest = createHash("sha512").update(IMAGE).digest("hex");
  const partial = join(there.store.folder, `.partial-${digest.slice(0, 32)}`);
  await Deno.writeFile(partial, new Uint8Array(IMAGE.length + 1));
  await using server = serve({});
  await pull(there.store, server.url);
  assert.deepEqual(server.ranges, [`bytes=${IMAGE.length + 1}-`, null]);
});

Deno.test("V5: pullImage() tries a busy server again, and not for ever", async () => {
  await using there = await home();
  await using busy = serve({ unavailable: 2 });
  await pull(there.store, busy.url, { name: "busy" });
  assert.equal(busy.ranges.length, 3);
  await using down = serve({ unavailable: 99, content: qcow2(2000) });
  await assert.rejects(pull(there.store, down.url), {
    code: "download-failed",
    exit: 4,
    message: /503/,
  });
  assert.equal(down.ranges.length, 5);
});

Deno.test("V5: pullImage() keeps nothing whose checksum is wrong", async () => {
  await using server = serve({ checksum: "ab".repeat(64) });
  await using there = await home();
  await assert.rejects(pull(there.store, server.url), {
    code: "checksum-mismatch",
    message: /SHA-512 is [0-9a-f]{16}\.\.\., need abababababababab\.\.\./,
  });
  assert.deepEqual(await there.files(), []);
});

Deno.test("V5: pullImage() keeps nothing that is no disk", async () => {
  await using server = serve({ content: new TextEncoder().encode("<html>not found</html>") });
  await using there = await home();
  await assert.rejects(pull(there.store, server.url), { code: "image-unusable" });
  assert.deepEqual(await there.files(), []);
});

Deno.test("V5: pullImage() says what it misses", async () => {
  await using server = serve({});
  await using there = await home();
  const other = server.url.replace("guest", "guest2");
  await assert.rejects(pull(there.store, other), { code: "checksum-missing" });
  const nothing = server.url.replace("/guest", "/no/guest");
  await assert.rejects(pull(there.store, nothing), { code: "download-failed", message: /404/ });
  // The port was free a moment ago: nobody listens there.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await assert.rejects(pull(there.store, `http://127.0.0.1:${port}/guest.qcow2`), {
    code: "download-failed",
    exit: 4,
  });
  assert.deepEqual(await there.files(), []);
});

Deno.test("V5: pullImage() stops when told to, and the next pull continues", async () => {
  await using server = serve({ cuts: 1, cutAfter: 300_000 });
  await using there = await home();
  const stop = new AbortController();
  const stopped = pull(there.store, server.url, {
    signal: stop.signal,
    retryDelayMs: 60_000,
    onProgress: (p) => p.done === 300_000 && stop.abort(),
  });
  await assert.rejects(stopped, { name: "AbortError" });
  assert.equal((await there.files()).length, 1);
  await pull(there.store, server.url);
  assert.deepEqual(server.ranges, [null, "bytes=300000-"]);
});

const mayMount = Deno.build.os === "linux" && Deno.uid() === 0;

Deno.test({
  name: `V5: pullImage() says when the disk is full, and leaves room again${
    mayMount ? "" : " (needs root, to mount a small tmpfs)"
  }`,
  ignore: !mayMount,
  async fn(): Promise<void> {
    await using server = serve({});
    await using stack = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir();
    stack.defer(() => Deno.remove(folder));
    const mounted = await run("mount", ["-t", "tmpfs", "-o", "size=256k", "none", folder]);
    assert.equal(mounted.code, 0, mounted.stderr);
    stack.defer(async () => {
      await run("umount", [folder]);
    });
    const store = await ImageStore.open(folder);
    await assert.rejects(pull(store, server.url), {
      code: "disk-full",
      message: /no space left on the disk/,
    });
    assert.deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
  },
});
