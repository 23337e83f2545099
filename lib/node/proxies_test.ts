import assert from "node:assert/strict";
import type { PlaneStats, ProxySettings } from "../../net/plane/plane.ts";
import { OmertaError } from "../core/errors.ts";
import { EventLog } from "../core/log.ts";
import { OpenProxies } from "./proxies.ts";
import { MAX_REMEMBERED, type RememberedProxy } from "./proxy_store.ts";

/** A data plane that remembers what is open, and a file. */
class FakePlane {
  readonly open = new Map<string, ProxySettings>([["pipe", { kind: "pipe", path: "/pipe" }]]);
  /** Ports that somebody else has. */
  readonly taken = new Set<number>();
  file: readonly RememberedProxy[] = [];
  full = false;

  openProxy(id: string, settings: ProxySettings): Promise<number> {
    if (settings.kind === "forward" && this.taken.has(settings.listen.port)) {
      return Promise.reject(new OmertaError("port-in-use", "Cannot listen: it is taken"));
    }
    this.open.set(id, settings);
    return Promise.resolve(1);
  }

  closeProxy(id: string): Promise<boolean> {
    return Promise.resolve(this.open.delete(id));
  }

  stats(): Promise<PlaneStats> {
    const proxies = Array.from(this.open, ([id, { kind }]) => ({
      ...{ id, kind, listen: "here", to: undefined },
      ...{ active: 0, connections: 0, failed: 0, aborted: 0, bytesIn: 0, bytesOut: 0 },
    }));
    const stack = { connections: 0, pending: 0, timeWaits: 0, bufferBytes: 0, tcp: {}, udp: {} };
    return Promise.resolve({ stack: { ...stack, proxies } } as unknown as PlaneStats);
  }

  load(): Promise<readonly RememberedProxy[]> {
    return Promise.resolve(this.file);
  }

  save(proxies: readonly RememberedProxy[]): Promise<void> {
    if (this.full) return Promise.reject(new OmertaError("disk-full", "Cannot write: it is full"));
    this.file = proxies;
    return Promise.resolve();
  }
}

/** What a test works with. */
interface Scene extends Disposable {
  readonly plane: FakePlane;
  readonly proxies: OpenProxies;
  readonly stacks: () => number;
}

function scene(plane = new FakePlane()): Scene {
  const folder = Deno.makeTempDirSync();
  const events = new EventLog(folder);
  let stacks = 0;
  const openStack = (): Promise<void> => {
    stacks++;
    return Promise.resolve();
  };
  const proxies = new OpenProxies({ plane, store: plane, openStack, events });
  return {
    plane,
    proxies,
    stacks: () => stacks,
    [Symbol.dispose](): void {
      proxies[Symbol.dispose]();
      events[Symbol.dispose]();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

const FORWARD = {
  kind: "forward",
  listen: { address: "127.0.0.1", port: 8080 },
  host: "web",
  port: 80,
} as const;

Deno.test("open() makes the stack, then the proxy; list() leaves the pipe out", async () => {
  using s = scene();
  assert.deepEqual(await s.proxies.list(), []);
  const { id, kind, background, error } = await s.proxies.open(FORWARD, false);
  assert.deepEqual([kind, background, error], ["forward", false, undefined]);
  assert.equal(s.stacks(), 1);
  assert.deepEqual(s.plane.open.get(id), {
    ...FORWARD,
    listen: { kind: "tcp", ...FORWARD.listen },
  });
  assert.deepEqual((await s.proxies.list()).map((proxy) => proxy.id), [id]);
  assert.deepEqual(s.plane.file, []);
});

Deno.test("close() closes what is open, and says so of what is not", async () => {
  using s = scene();
  const reverse = { ...FORWARD, kind: "reverse", to: FORWARD.listen } as const;
  const { id } = await s.proxies.open(reverse, true);
  assert.deepEqual(s.plane.file.map((one) => one.id), [id]);
  assert.equal((await s.proxies.close(id)).id, id);
  assert.deepEqual(s.plane.file, []);
  await assert.rejects(s.proxies.close(id), { code: "unknown-proxy", exit: 2 });
  await assert.rejects(s.proxies.close("pipe"), { code: "unknown-proxy" });
  assert.deepEqual(Array.from(s.plane.open.keys()), ["pipe"]);
});

Deno.test("hold() closes it when its client goes away, and ends when it is closed", async () => {
  using s = scene();
  const socks = {
    kind: "socks",
    listen: FORWARD.listen,
    credentials: { user: "u", password: "p" },
  } as const;
  const { id } = await s.proxies.open(socks, false);
  const gone = new AbortController();
  const held = s.proxies.hold(id, gone.signal);
  assert.ok(s.plane.open.has(id));
  gone.abort();
  assert.equal(await held, false);
  assert.equal(s.plane.open.has(id), false);

  const other = await s.proxies.open(socks, false);
  const alsoHeld = s.proxies.hold(other.id, new AbortController().signal);
  await Promise.all([s.proxies.close(other.id), alsoHeld]);
  assert.equal(await alsoHeld, true);
  assert.deepEqual(await s.proxies.list(), []);
});

Deno.test("G6: resume() opens those of the background, and retry() those that could not be", async () => {
  using before = scene();
  const kept = await before.proxies.open(FORWARD, true);
  const taken = await before.proxies.open(
    { ...FORWARD, listen: { ...FORWARD.listen, port: 1 } },
    true,
  );
  await before.proxies.open({ ...FORWARD, listen: { ...FORWARD.listen, port: 2 } }, false);

  const plane = new FakePlane();
  plane.file = before.plane.file;
  plane.taken.add(1);
  using s = scene(plane);
  const warnings: string[] = [];
  await s.proxies.resume((warning) => warnings.push(warning));
  assert.deepEqual(warnings, [`Cannot open forward ${taken.id} yet: Cannot listen: it is taken`]);
  const states = (): Promise<unknown[]> =>
    s.proxies.list().then((all) => all.map(({ id, error, background }) => [id, error, background]));
  const why = "Cannot listen: it is taken";
  assert.deepEqual(await states(), [[kept.id, undefined, true], [taken.id, why, true]]);
  const [, waiting] = await s.proxies.list();
  assert.deepEqual([waiting?.listen, waiting?.to, waiting?.active], ["127.0.0.1:1", "web:80", 0]);
  await s.proxies.retry();
  assert.deepEqual((await states())[1], [taken.id, why, true]);
  plane.taken.clear();
  await s.proxies.retry();
  assert.deepEqual(await states(), [[kept.id, undefined, true], [taken.id, undefined, true]]);
  assert.ok(plane.open.has(taken.id));
});

Deno.test("G6: close() forgets one that could not be opened", async () => {
  const plane = new FakePlane();
  plane.file = [{ id: "0123abcd", request: FORWARD }];
  plane.taken.add(FORWARD.listen.port);
  using s = scene(plane);
  await s.proxies.resume(() => {});
  await s.proxies.close("0123abcd");
  assert.deepEqual([plane.file, await s.proxies.list()], [[], []]);
  plane.taken.clear();
  await s.proxies.retry();
  assert.deepEqual(Array.from(plane.open.keys()), ["pipe"]);
});

Deno.test("G6: open() leaves nothing when it cannot be remembered, and close() everything", async () => {
  using s = scene();
  const { id } = await s.proxies.open(FORWARD, true);
  s.plane.full = true;
  await assert.rejects(s.proxies.open(FORWARD, true), { code: "disk-full" });
  await assert.rejects(s.proxies.close(id), { code: "disk-full" });
  assert.deepEqual(Array.from(s.plane.open.keys()), ["pipe", id]);
  assert.deepEqual((await s.proxies.list()).map((proxy) => proxy.id), [id]);
});

Deno.test("G6: open() refuses more than the cap, whether the others are open or not", async () => {
  const plane = new FakePlane();
  plane.file = Array.from({ length: MAX_REMEMBERED }, (_, i) => ({
    id: i.toString(16).padStart(8, "0"),
    request: FORWARD,
  }));
  plane.taken.add(FORWARD.listen.port);
  using s = scene(plane);
  await s.proxies.resume(() => {});
  const free = { ...FORWARD, listen: { ...FORWARD.listen, port: 1 } };
  await assert.rejects(s.proxies.open(free, true), { code: "too-many-proxies", exit: 5 });
  await s.proxies.close("00000000");
  assert.equal((await s.proxies.open(free, true)).error, undefined);
});

Deno.test("G6: hold() says of one that was closed since it was opened that it was closed", async () => {
  using s = scene();
  const { id } = await s.proxies.open(FORWARD, false);
  await s.proxies.close(id);
  assert.equal(await s.proxies.hold(id, new AbortController().signal), true);
  // Also when that falls into the same moment.
  const other = await s.proxies.open(FORWARD, false);
  const closing = s.proxies.close(other.id);
  const held = s.proxies.hold(other.id, new AbortController().signal);
  await closing;
  assert.equal(await held, true);
});
