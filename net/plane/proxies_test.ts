import assert from "node:assert/strict";
import { join } from "node:path";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import {
  descriptorsMissing,
  readExactly,
  resolve,
  SILENT,
  World,
  writeAll,
} from "../proxy/proxy_fixture.ts";
import { MAX_ASSOCIATIONS } from "../proxy/socks_udp.ts";
import { MAX_PROXIES, Proxies } from "./proxies.ts";

const HELLO = Uint8Array.of(5, 1, 0);
const UDP_ASSOCIATE = Uint8Array.of(5, 3, 0, 1, 0, 0, 0, 0, 0, 0);
const SOCKS = {
  kind: "socks",
  listen: { kind: "tcp", address: "127.0.0.1", port: 0 },
  credentials: undefined,
} as const;

function proxiesOf(w: World): Proxies {
  const { near: stack, nearUdp: udp, reactor } = w;
  const begin = (): number => w.now;
  const isInside = (address: number): boolean => address !== SILENT;
  return new Proxies({ stack, udp, resolve, isInside, reactor, begin }, w.now);
}

testIf(
  descriptorsMissing(1500),
  "G5: Proxies serve UDP to no more clients than the cap, whichever server they use",
  async () => {
    await using w = new World();
    using proxies = proxiesOf(w);
    const ports = ["one", "two"].map((id) => proxies.open(id, SOCKS));
    /** A client, and the server's reply. */
    const associate = async (port: number): Promise<[Deno.Conn, number | undefined]> => {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await writeAll(conn, HELLO);
      await readExactly(conn, 2);
      await writeAll(conn, UDP_ASSOCIATE);
      return [conn, (await readExactly(conn, 10))[1]];
    };
    const conns: Deno.Conn[] = [];
    for (let i = 0; i < MAX_ASSOCIATIONS; i++) {
      const [conn, reply] = await associate(ports[i % 2] ?? 0);
      assert.equal(reply, 0);
      conns.push(conn);
    }
    for (const port of ports) {
      const [late, refusal] = await associate(port);
      assert.equal(refusal, 1);
      late.close();
    }
    conns.pop()?.close();
    await until(() => w.nearUdp.sockets === MAX_ASSOCIATIONS - 1, { what: "one to end" });
    const [again, reply] = await associate(ports[0] ?? 0);
    assert.equal(reply, 0);
    for (const conn of [again, ...conns]) conn.close();
    await until(() => w.nearUdp.sockets === 0, { what: "all to end" });
  },
);

testIf(
  descriptorsMissing(400),
  "G6: Proxies open as many as a user may have beside the pipe, and one more not",
  async () => {
    await using w = new World();
    using proxies = proxiesOf(w);
    const folder = await Deno.makeTempDir();
    try {
      proxies.open("pipe", { kind: "pipe", path: join(folder, "pipe") });
      for (let i = 0; i < MAX_PROXIES - 1; i++) proxies.open(`${i}`, SOCKS);
      assert.throws(() => proxies.open("more", SOCKS), { code: "too-many-proxies" });
      assert.ok(proxies.close("0"));
      proxies.open("more", SOCKS);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

Deno.test("G6: Proxies list addresses of IPv6 in brackets, whichever end they are", async () => {
  await using w = new World();
  using proxies = proxiesOf(w);
  const listen = { kind: "tcp", address: "::1", port: 0 } as const;
  const to = { ...listen, port: 8080 };
  const there = proxies.open("there", { kind: "forward", listen, host: "::1", port: 80 });
  const socks = proxies.open("socks", { ...SOCKS, listen });
  proxies.open("back", { kind: "reverse", port: 80, to });
  assert.deepEqual(proxies.stats().map((one) => [one.listen, one.to]), [
    [`[::1]:${there}`, "[::1]:80"],
    [`[::1]:${socks}`, undefined],
    ["80", "[::1]:8080"],
  ]);
});
