import assert from "node:assert/strict";
import fc from "fast-check";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { AsyncReactor } from "../os/reactor.ts";
import { openStreamsPortable } from "../os/stream_portable.ts";
import { openUdp } from "../os/udp.ts";
import { openUdpPortable } from "../os/udp_portable.ts";
import type { ProxyServer } from "./proxy_server.ts";
import {
  descriptorsMissing,
  echoOn,
  FAR,
  pattern,
  readExactly,
  resolve,
  World,
  writeAll,
} from "./proxy_fixture.ts";
import { openSocks } from "./socks_server.ts";
import { MAX_ASSOCIATIONS } from "./socks_udp.ts";
import { SOCKS_UDP_IPV4_LEN, SocksUdpHeader, writeSocksUdp } from "./socks_udp_header.ts";

const LOOPBACK = { kind: "tcp", address: "127.0.0.1", port: 0 } as const;

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(text.replaceAll(" ", ""));
}

Deno.test("G5: SocksUdpHeader reads an address and a name, and refuses the rest", () => {
  const header = new SocksUdpHeader();
  // RSV FRAG ATYP, 10.0.0.2, port 53, data
  assert.equal(header.read(hex("ff 0000 00 01 0a000002 0035 aabb"), 1, 12), undefined);
  const { address, name, port, length } = header;
  assert.deepEqual([address, name, port, length], [FAR, undefined, 53, 10]);
  assert.equal(header.read(hex("0000 00 03 03 666172 0035"), 0, 10), undefined);
  assert.deepEqual([header.name, header.port, header.length], ["far", 53, 10]);
  const faultOf = (text: string): string | undefined => header.read(hex(text), 0, hex(text).length);
  assert.equal(faultOf(""), "truncated");
  assert.equal(faultOf("0000 00 01 0a000002 00"), "truncated");
  assert.equal(faultOf("0000 00 03 04 666172 0035"), "truncated");
  assert.equal(faultOf("0000 01 01 0a000002 0035"), "fragment");
  assert.equal(faultOf(`0000 00 04 ${"00".repeat(16)} 0035`), "address-type");
  assert.equal(faultOf("0000 00 03 00 0035"), "bad-name");
  assert.equal(faultOf("0000 00 03 02 6100 0035"), "bad-name");
});

Deno.test("G5: SocksUdpHeader reads names in lower case, one after the other", () => {
  const header = new SocksUdpHeader();
  const nameIn = (name: string): string | undefined => {
    const bytes = datagramFor(name, 53, pattern(3));
    const fault = header.read(bytes, 0, bytes.length);
    return fault ?? header.name;
  };
  for (const name of ["Far", "FAR", "far", "fax", "fa", "bad name", "fa", "", "far.Omerta"]) {
    const isName = name !== "" && !name.includes(" ");
    assert.equal(nameIn(name), isName ? name.toLowerCase() : "bad-name", name);
  }
  // An address in between is none.
  assert.equal(header.read(hex("0000 00 01 0a000002 0035"), 0, 10), undefined);
  assert.equal(header.name, undefined);
  assert.equal(nameIn("far.Omerta"), "far.omerta");
});

Deno.test("G5: SocksUdpHeader gives back what writeSocksUdp() wrote, and never throws", () => {
  const header = new SocksUdpHeader();
  const number = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(fc.property(number, fc.integer({ min: 0, max: 65535 }), (address, port) => {
    const out = new Uint8Array(SOCKS_UDP_IPV4_LEN + 4).fill(0xa5);
    writeSocksUdp(out, 2, address, port);
    assert.equal(header.read(out, 2, SOCKS_UDP_IPV4_LEN), undefined);
    assert.deepEqual([header.address, header.port], [address, port]);
    assert.deepEqual([out[1], out[12]], [0xa5, 0xa5]);
  }));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    if (header.read(bytes, 0, bytes.length) === undefined) {
      assert.ok(header.length <= bytes.length);
    }
  }));
});

function socksOn(w: World, open = openUdp): ProxyServer {
  const udp = { udp: w.nearUdp, resolve, reactor: w.reactor, openUdp: open };
  return openSocks(w.loop, w.dialer, { listen: LOOPBACK, udp });
}

/** Asks for UDP; the reply. */
async function associate(server: ProxyServer): Promise<[Deno.TcpConn, Uint8Array]> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await writeAll(conn, hex("050100 05030001 00000000 0000"));
  assert.equal((await readExactly(conn, 2)).toHex(), "0500");
  return [conn, await readExactly(conn, 10)];
}

function portIn(reply: Uint8Array): number {
  return ((reply[8] ?? 0) << 8) | (reply[9] ?? 0);
}

function datagramFor(host: string, port: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(host);
  return Uint8Array.from([0, 0, 0, 3, name.length, ...name, port >>> 8, port & 255, ...data]);
}

for (const kind of ["default", "portable"] as const) {
  Deno.test(`G5: openSocks() carries datagrams both ways, and only its client's (${kind})`, async () => {
    await using w = kind === "default" ? new World() : new World({
      streams: openStreamsPortable(),
      reactor: new AsyncReactor(),
    });
    echoOn(w, 53);
    using server = socksOn(w, kind === "default" ? openUdp : openUdpPortable);
    const [conn, reply] = await associate(server);
    assert.equal(reply.subarray(0, 8).toHex(), "050000017f000001");
    const to = { transport: "udp", hostname: "127.0.0.1", port: portIn(reply) } as const;
    const client = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    const stranger = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    for (const [host, size] of [["far", 100], ["10.0.0.2", 0], ["far.omerta", 4000]] as const) {
      await client.send(datagramFor(host, 53, pattern(size)), to);
      const [answer] = await client.receive(new Uint8Array(65535));
      assert.equal(answer.subarray(0, 10).toHex(), "00000001" + "0a000002" + "0035");
      assert.deepEqual(new Uint8Array(answer.subarray(10)), pattern(size));
    }
    assert.equal(server.counters.bytesIn, 4100);
    // Somebody else's, one for nobody, and one that is no datagram of this protocol.
    await stranger.send(datagramFor("far", 53, pattern(7)), to);
    await client.send(datagramFor("nobody", 53, pattern(7)), to);
    await client.send(pattern(3), to);
    await client.send(datagramFor("far", 53, pattern(50)), to);
    assert.equal((await client.receive(new Uint8Array(1000)))[0].length, 60);
    assert.deepEqual([server.counters.bytesIn, server.counters.bytesOut], [4150, 4150]);
    assert.equal(w.nearUdp.sockets, 1);
    // It lasts as long as the connection.
    conn.close();
    await until(() => server.connections === 0 && w.nearUdp.sockets === 0, { what: "the end" });
    client.close();
    stranger.close();
  });
}

Deno.test("G5: openSocks() ends associations when it is stopped, and has no UDP unless told", async () => {
  await using w = new World();
  const server = socksOn(w);
  const [conn, reply] = await associate(server);
  assert.equal(reply[1], 0);
  server[Symbol.dispose]();
  assert.equal(w.nearUdp.sockets, 0);
  assert.equal(w.loop.connections, 0);
  conn.close();
  using other = openSocks(w.loop, w.dialer, { listen: LOOPBACK });
  const [second, refusal] = await associate(other);
  assert.equal(refusal[1], 7);
  second.close();
});

testIf(
  descriptorsMissing(1500),
  "G5: openSocks() refuses more associations than the cap, until others end",
  async () => {
    await using w = new World();
    using server = socksOn(w);
    const conns: Deno.Conn[] = [];
    for (let i = 0; i < MAX_ASSOCIATIONS; i++) {
      const [conn, reply] = await associate(server);
      assert.equal(reply[1], 0);
      conns.push(conn);
    }
    const [late, refusal] = await associate(server);
    assert.equal(refusal[1], 1);
    late.close();
    conns.pop()?.close();
    await until(() => w.nearUdp.sockets === MAX_ASSOCIATIONS - 1, { what: "one to end" });
    const [again, reply] = await associate(server);
    assert.equal(reply[1], 0);
    again.close();
    for (const conn of conns) conn.close();
    await until(() => server.connections === 0, { what: "all to end" });
  },
);
