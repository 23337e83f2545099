import assert from "node:assert/strict";
import { join } from "node:path";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import {
  descriptorsMissing,
  readExactly,
  resolve,
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

testIf(
  descriptorsMissing(1500),
  "G5: Proxies serve UDP to no more clients than the cap, whichever server they use",
  async () => {
    await using w = new World();
    const { near: stack, nearUdp: udp, reactor } = w;
    using proxies = new Proxies({ stack, udp, resolve, reactor, begin: () => w.now }, w.now);
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
    await until(() => udp.sockets === MAX_ASSOCIATIONS - 1, { what: "one to end" });
    const [again, reply] = await associate(ports[0] ?? 0);
    assert.equal(reply, 0);
    for (const conn of [again, ...conns]) conn.close();
    await until(() => udp.sockets === 0, { what: "all to end" });
  },
);

testIf(
  descriptorsMissing(400),
  "G6: Proxies open as many as a user may have beside the pipe, and one more not",
  async () => {
    await using w = new World();
    const { near: stack, nearUdp: udp, reactor } = w;
    using proxies = new Proxies({ stack, udp, resolve, reactor, begin: () => w.now }, w.now);
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
