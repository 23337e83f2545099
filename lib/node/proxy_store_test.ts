import assert from "node:assert/strict";
import { join } from "node:path";
import { ProxyStore, type RememberedProxy } from "./proxy_store.ts";

const SOCKS: RememberedProxy = {
  id: "0123abcd",
  request: {
    kind: "socks",
    listen: { address: "127.0.0.1", port: 1080 },
    credentials: { user: "ann", password: "s3cret" },
  },
};
const REVERSE: RememberedProxy = {
  id: "89abcdef",
  request: { kind: "reverse", port: 80, to: { address: "::1", port: 8080 } },
};

async function withFile(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(join(folder, "forwards.json"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function noWarning(text: string): never {
  assert.fail(text);
}

Deno.test("G6: ProxyStore keeps what it was given, for its user only", () =>
  withFile(async (path) => {
    assert.deepEqual(await new ProxyStore(path).load(noWarning), []);
    await new ProxyStore(path).save([SOCKS, REVERSE]);
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
    assert.deepEqual(await new ProxyStore(path).load(noWarning), [SOCKS, REVERSE]);
  }));

Deno.test("G6: save() leaves what it was given last, however many are under way", () =>
  withFile(async (path) => {
    const store = new ProxyStore(path);
    await Promise.all(
      [[SOCKS], [], [REVERSE], [SOCKS, REVERSE], [REVERSE]].map((proxies) => store.save(proxies)),
    );
    assert.deepEqual(await store.load(noWarning), [REVERSE]);
  }));

for (
  const [what, text] of [
    ["that is no JSON", "{ damaged"],
    ["of another version", JSON.stringify({ version: 2, proxies: [] })],
    [
      "with a port that cannot be",
      JSON.stringify({
        version: 1,
        proxies: [{ id: "89abcdef", request: { ...REVERSE.request, port: 0 } }],
      }),
    ],
  ] as const
) {
  Deno.test(`G6: load() keeps a file aside ${what}`, () =>
    withFile(async (path) => {
      await Deno.writeTextFile(path, text);
      const warnings: string[] = [];
      assert.deepEqual(await new ProxyStore(path).load((words) => warnings.push(words)), []);
      const aside = /kept as (\S+);/.exec(warnings.join())?.[1] ?? assert.fail(warnings.join());
      assert.equal(await Deno.readTextFile(aside), text);
      assert.deepEqual(await new ProxyStore(path).load(noWarning), []);
    }));
}
