/**
 * Where a client of SOCKS5 is told to send datagrams, whatever its server listens on, and for how long.
 *
 * @module
 */

import assert from "node:assert/strict";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { AsyncReactor } from "../os/reactor.ts";
import { openStreamsPortable } from "../os/stream_portable.ts";
import { openUdp } from "../os/udp.ts";
import { openUdpPortable } from "../os/udp_portable.ts";
import { formatIpv6, ipv4ToString } from "../wire/ip_address.ts";
import {
  echoOn,
  FAR,
  NEAR,
  pattern,
  readExactly,
  resolve,
  World,
  writeAll,
} from "./proxy_fixture.ts";
import type { ProxyServer } from "./proxy_server.ts";
import { openSocks } from "./socks_server.ts";
import { SOCKS_UDP_IPV4_LEN, writeSocksUdp } from "./socks_udp_header.ts";

const IDLE_MS = 60_000;
/** Length of the reply in front of address and port, and its place that says which kind it is. */
const [REPLY_HEAD, ADDRESS_TYPE] = [4, 3];

function socksOn(w: World, address: string, open = openUdp): ProxyServer {
  const udp = { udp: w.nearUdp, resolve, reactor: w.reactor, openUdp: open };
  return openSocks(w.loop, w.dialer, { listen: { kind: "tcp", address, port: 0 }, udp });
}

/** Asks for UDP; the connection, and where the server says to send datagrams. */
async function associate(
  server: ProxyServer,
  hostname: string,
): Promise<[Deno.TcpConn, Deno.NetAddr]> {
  const conn = await Deno.connect({ hostname, port: server.port });
  await writeAll(conn, Uint8Array.of(5, 1, 0));
  await readExactly(conn, 2);
  await writeAll(conn, Uint8Array.of(5, 3, 0, 1, 0, 0, 0, 0, 0, 0));
  const head = await readExactly(conn, REPLY_HEAD);
  assert.deepEqual(Array.from(head.subarray(0, ADDRESS_TYPE)), [5, 0, 0]);
  const address = await readExactly(conn, head[ADDRESS_TYPE] === 4 ? 16 : 4);
  const port = new DataView((await readExactly(conn, 2)).buffer).getUint16(0);
  const text = address.length === 16
    ? formatIpv6(address)
    : ipv4ToString(new DataView(address.buffer).getUint32(0));
  return [conn, { transport: "udp", hostname: text, port }];
}

/** A datagram for a port of the host inside. */
function datagramFor(port: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SOCKS_UDP_IPV4_LEN + data.length);
  writeSocksUdp(bytes, 0, FAR, port);
  bytes.set(data, SOCKS_UDP_IPV4_LEN);
  return bytes;
}

const isLinux = Deno.build.os === "linux" ? undefined : "needs Linux, which has all of 127.0.0.0/8";

for (const kind of ["default", "portable"] as const) {
  for (
    const [listen, host, missing] of [
      ["127.0.0.1", "127.0.0.1"],
      ["0.0.0.0", "127.0.0.1"],
      ["0.0.0.0", "127.0.0.2", isLinux],
      ["::1", "::1"],
      ["::", "::1"],
      // By a socket of IPv6, as ::ffff:127.0.0.2.
      ["::", "127.0.0.2", isLinux],
    ] as const
  ) {
    testIf(
      missing,
      `G5: openSocks() at ${listen} has UDP at ${host} for who reaches it there (${kind})`,
      async () => {
        await using w = kind === "default" ? new World() : new World({
          streams: openStreamsPortable(),
          reactor: new AsyncReactor(),
        });
        echoOn(w, 53);
        using server = socksOn(w, listen, kind === "default" ? openUdp : openUdpPortable);
        const [conn, to] = await associate(server, host);
        assert.equal(to.hostname, host);
        // The client sends from the address that its connection comes from, to what it was told.
        const { hostname } = conn.localAddr as Deno.NetAddr;
        const client = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
        await client.send(datagramFor(53, pattern(100)), to);
        const [answer, from] = await client.receive(new Uint8Array(1000));
        assert.deepEqual(new Uint8Array(answer.subarray(SOCKS_UDP_IPV4_LEN)), pattern(100));
        assert.deepEqual([from.transport, (from as Deno.NetAddr).hostname], ["udp", host]);
        client.close();
        conn.close();
        await until(() => w.nearUdp.sockets === 0, { what: "the end" });
      },
    );
  }
}

Deno.test("G5: an association ends, with its connection, when no datagram goes either way", async () => {
  await using w = new World({ idleMs: IDLE_MS });
  const inside = { received: 0, from: 0 };
  const bound = w.farUdp.bind({
    port: 53,
    handler: {
      onDatagram: (_socket, _buffer, _at, _length, _address, from) => {
        inside.received++;
        inside.from = from;
      },
    },
  });
  assert.ok(typeof bound !== "string");
  using server = socksOn(w, "127.0.0.1");
  const [conn, to] = await associate(server, "127.0.0.1");
  const client = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  /** The time that has passed, and that the deadlines were looked at. */
  const pass = async (ms: number): Promise<void> => {
    w.ahead += ms;
    const at = w.now;
    await until(() => w.loop.now >= at, { what: "the loop to know the time" });
  };
  await pass(IDLE_MS - 10_000);
  await client.send(datagramFor(53, pattern(10)), to);
  await until(() => inside.received === 1, { what: "the datagram inside" });
  await pass(IDLE_MS - 10_000);
  assert.equal(server.connections, 1);
  bound.sendTo(NEAR, inside.from, pattern(10));
  await client.receive(new Uint8Array(100));
  await pass(IDLE_MS - 10_000);
  assert.deepEqual([server.connections, w.nearUdp.sockets], [1, 1]);
  w.ahead += 10_000;
  await until(() => server.connections === 0, { what: "the association to end" });
  await assert.rejects(conn.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  conn.close();
  client.close();
  assert.deepEqual([w.nearUdp.sockets, w.loop.connections], [0, 0]);
  assert.deepEqual([server.counters.aborted, server.counters.failed], [1, 0]);
});

Deno.test("G5: datagrams of strangers keep no association", async () => {
  await using w = new World({ idleMs: IDLE_MS });
  using server = socksOn(w, "127.0.0.1");
  const [conn, to] = await associate(server, "127.0.0.1");
  const client = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const stranger = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  await client.send(datagramFor(53, pattern(10)), to);
  await until(() => server.counters.bytesIn === 10, { what: "the datagram" });
  w.ahead += IDLE_MS - 10_000;
  await stranger.send(datagramFor(53, pattern(10)), to);
  w.ahead += 10_000;
  await until(() => server.connections === 0, { what: "the association to end" });
  for (const one of [conn, client, stranger]) one.close();
});
