import assert from "node:assert/strict";
import { Gateway, type GatewayOptions } from "./gateway.ts";
import { GATEWAY, GUEST, Inside, SERVER, STRANGER } from "./gateway_fixture.ts";
import { MAX_PEERS, OutwardUdp } from "./outward_udp.ts";

/** A gateway. */
class Made implements Disposable {
  readonly inside = new Inside();
  readonly gateway: Gateway;

  constructor(options: GatewayOptions = {}) {
    const { datagrams, link, loop } = this.inside;
    this.gateway = new Gateway(loop, link, { datagrams, ...options });
  }

  get outward(): OutwardUdp {
    return this.gateway.udp;
  }

  [Symbol.dispose](): void {
    this.gateway[Symbol.dispose]();
    this.inside[Symbol.dispose]();
    assert.equal(this.inside.datagrams.open.size, 0);
  }
}

function socketOf(inside: Inside, i: number): Inside["datagrams"]["udp"][number] {
  const socket = inside.datagrams.udp[i];
  assert.ok(socket);
  return socket;
}

Deno.test("G1: OutwardUdp has one socket for an inside address and port, whoever it sends to", () => {
  using all = new Made();
  const { inside, outward } = all;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  inside.send(GUEST, 5000, STRANGER, 123, "bb");
  inside.send(GUEST, 5001, SERVER, 53, "");
  inside.send(GUEST + 1, 5000, SERVER, 53, "cc");
  inside.send(GUEST, 5000, GATEWAY, 7, "dd");
  const { udp } = inside.datagrams;
  assert.deepEqual(udp.map(({ sent }) => sent), [
    ["192.0.2.7:53 aa", "192.0.2.8:123 bb", "10.0.0.1:7 dd"],
    ["192.0.2.7:53 "],
    ["192.0.2.7:53 cc"],
  ]);
  assert.equal(outward.mappings, 3);
  const { mappings, datagramsOut, bytesOut } = outward.counters;
  assert.deepEqual([mappings, datagramsOut, bytesOut], [3, 5, 4]);
});

Deno.test("G1: OutwardUdp lets in whom the mapping has sent to, from any port, and nobody else", () => {
  using all = new Made();
  const { inside, outward } = all;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  inside.send(GUEST, 5001, STRANGER, 53, "aa");
  const socket = socketOf(inside, 0);
  socket.arrive(SERVER, 53, new Uint8Array(3));
  socket.arrive(STRANGER, 53, new Uint8Array(4));
  socket.arrive(SERVER, 54, new Uint8Array(0));
  inside.turn();
  assert.deepEqual(inside.said(), [
    "UDP 192.0.2.7:53 > 10.0.0.2:5000 len 3",
    "UDP 192.0.2.7:54 > 10.0.0.2:5000 len 0",
  ]);
  const { datagramsIn, bytesIn, strangers } = outward.counters;
  assert.deepEqual([datagramsIn, bytesIn, strangers], [2, 3, 1]);
});

Deno.test("G1: OutwardUdp gives the inside datagrams above the MTU in fragments", () => {
  using all = new Made();
  const { inside } = all;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  socketOf(inside, 0).arrive(SERVER, 53, new Uint8Array(4000));
  inside.turn();
  const lengths = inside.sink.take().map(({ length }) => length);
  assert.deepEqual(lengths, [20 + 1376, 20 + 1376, 20 + 8 + 4000 - 2 * 1376]);
});

Deno.test("G1: OutwardUdp forgets a mapping when nothing has left for its time, whatever comes in", () => {
  using all = new Made();
  const { inside, outward } = all;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  inside.send(GUEST, 5001, SERVER, 53, "aa");
  for (let i = 0; i < 119; i++) {
    if (i === 60) inside.send(GUEST, 5001, SERVER, 53, "aa");
    socketOf(inside, 0).arrive(SERVER, 53, new Uint8Array(1));
    inside.turn(1000);
  }
  assert.equal(inside.said().length, 119);
  assert.equal(outward.mappings, 2);
  inside.turn(2000);
  assert.equal(outward.mappings, 1);
  assert.deepEqual(inside.datagrams.udp.map(({ closed }) => closed), [true, false]);
  inside.send(GUEST, 5000, SERVER, 53, "bb");
  assert.deepEqual(socketOf(inside, 2).sent, ["192.0.2.7:53 bb"]);
});

Deno.test("G1: OutwardUdp drops at its caps what needs a new mapping, and others go on", () => {
  using all = new Made({ udp: { mappings: 3, perSource: 2, idleMs: 10_000 } });
  const { inside, outward } = all;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  inside.turn(5000);
  inside.send(GUEST, 5001, SERVER, 53, "aa");
  inside.send(GUEST, 5002, SERVER, 53, "aa");
  assert.equal(outward.counters.tooMany, 1);
  inside.send(GUEST + 1, 5000, SERVER, 53, "aa");
  inside.send(GUEST + 2, 5000, SERVER, 53, "aa");
  assert.equal(outward.counters.tooMany, 2);
  assert.equal(outward.mappings, 3);
  inside.send(GUEST, 5001, SERVER, 53, "bb");
  assert.equal(socketOf(inside, 1).sent.length, 2);
  // One is forgotten, and makes room.
  inside.turn(6000);
  assert.equal(outward.mappings, 2);
  inside.send(GUEST + 2, 5000, SERVER, 53, "aa");
  assert.deepEqual([outward.mappings, outward.counters.tooMany], [3, 2]);
  assert.equal(inside.said().length, 0);
});

Deno.test("G1: OutwardUdp gives an address its share again when its mappings are forgotten", () => {
  using all = new Made({ udp: { perSource: 1, idleMs: 10_000 } });
  const { inside, outward } = all;
  for (const port of [5000, 5001, 5002]) {
    inside.send(GUEST, port, SERVER, 53, "aa");
    inside.send(GUEST, port + 10, SERVER, 53, "aa");
    assert.equal(outward.mappings, 1);
    inside.turn(11_000);
    assert.equal(outward.mappings, 0);
  }
  assert.deepEqual([outward.counters.mappings, outward.counters.tooMany], [3, 3]);
});

Deno.test("G1: OutwardUdp drops what finds no descriptor, until there is one", () => {
  using all = new Made();
  const { inside, outward } = all;
  inside.datagrams.most = 1; // the pings'
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  assert.deepEqual([outward.counters.tooMany, outward.mappings], [1, 0]);
  inside.datagrams.most = 2;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  assert.equal(outward.mappings, 1);
});

Deno.test("G1: OutwardUdp counts what a full queue drops, and tells that no way leads there", () => {
  using all = new Made();
  const { inside, outward } = all;
  inside.datagrams.fault = "full";
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  assert.deepEqual(inside.said(), []);
  inside.datagrams.fault = "unreachable";
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  const told = "ICMP 192.0.2.7 > 10.0.0.2 unreachable code 1 len 28";
  assert.deepEqual(inside.said(), [told]);
  const { full, unreachable, datagramsOut } = outward.counters;
  assert.deepEqual([full, unreachable, datagramsOut], [1, 1, 0]);
  // The way in can be full too.
  inside.datagrams.fault = undefined;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  const held = 1024;
  for (let i = 0; i < held + 5; i++) socketOf(inside, 0).arrive(SERVER, 53, new Uint8Array(1));
  for (let i = 0; i < 20; i++) inside.turn();
  assert.deepEqual([outward.counters.full, outward.counters.datagramsIn], [6, held]);
});

Deno.test("G1: OutwardUdp sends nothing to where nobody may, nor to loopback and multicast", () => {
  const asked: number[][] = [];
  using all = new Made({
    allow: (to, port, from) => {
      asked.push([to, port, from]);
      return port !== 25;
    },
  });
  const { inside, outward } = all;
  inside.send(GUEST, 5000, SERVER, 25, "aa");
  assert.deepEqual(inside.said(), ["ICMP 192.0.2.7 > 10.0.0.2 unreachable code 1 len 28"]);
  assert.deepEqual([outward.counters.refused, outward.mappings], [1, 0]);
  for (const to of [0x7f000001, 0, 0xe0000001, 0xf0000001, 0xffffffff]) {
    inside.send(GUEST, 5000, to, 53, "aa");
  }
  inside.send(GUEST, 5000, SERVER, 26, "bb");
  assert.deepEqual(asked, [[SERVER, 25, GUEST], [SERVER, 26, GUEST]]);
  assert.deepEqual(inside.datagrams.udp.map(({ sent }) => sent), [["192.0.2.7:26 bb"]]);
  assert.deepEqual(inside.said(), []);
});

Deno.test("G1: OutwardUdp answers no more than the stack may, however many it refuses", () => {
  using all = new Made({ allow: () => false });
  const { inside, outward } = all;
  let told = 0;
  for (let i = 0; i < 2000; i++) {
    inside.send(GUEST, 5000, SERVER, 53, "aa");
    told += inside.said().length;
  }
  assert.deepEqual([outward.counters.refused, told], [2000, 500]);
});

Deno.test("G1: OutwardUdp leaves to others the ports that they have bound on the stack", () => {
  using all = new Made();
  const { inside } = all;
  const got: number[] = [];
  const socket = inside.link.udp.bind({
    port: 53,
    handler: { onDatagram: (_socket, _bytes, _at, length) => void got.push(length) },
  });
  assert.ok(typeof socket !== "string");
  inside.send(GUEST, 5000, GATEWAY, 53, "aabb");
  inside.send(GUEST, 5000, SERVER, 53, "cc");
  assert.deepEqual(got, [2]);
  assert.deepEqual(inside.datagrams.udp.map(({ sent }) => sent), [["192.0.2.7:53 cc"]]);
});

Deno.test("G1: OutwardUdp forgets of too many addresses the one that it sent to longest ago", () => {
  using all = new Made();
  const { inside, outward } = all;
  const first = SERVER + 1;
  for (let i = 0; i < MAX_PEERS; i++) inside.send(GUEST, 5000, first + i, 53, "aa");
  inside.send(GUEST, 5000, first, 53, "aa");
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  const socket = socketOf(inside, 0);
  for (const from of [first, first + 1, first + 2, SERVER]) {
    socket.arrive(from, 53, new Uint8Array(1));
  }
  inside.turn();
  assert.equal(outward.counters.strangers, 1);
  assert.deepEqual(inside.said().map((line) => line.split(" ")[1]), [
    "192.0.2.8:53",
    "192.0.2.10:53",
    "192.0.2.7:53",
  ]);
});

Deno.test("G1: OutwardUdp closes everything when it is stopped, and another may begin", () => {
  using all = new Made();
  const { inside, gateway } = all;
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  const again = (): OutwardUdp => new OutwardUdp(inside.loop, inside.link.udp, inside.datagrams);
  assert.throws(again, { code: "port-in-use" });
  gateway[Symbol.dispose]();
  assert.equal(inside.datagrams.open.size, 0);
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  assert.deepEqual(inside.said(), ["ICMP 192.0.2.7 > 10.0.0.2 unreachable code 3 len 28"]);
  using _next = again();
  inside.send(GUEST, 5000, SERVER, 53, "aa");
  assert.equal(inside.datagrams.open.size, 1);
});

Deno.test("G1: Gateway wants a promiscuous stack that has no other", () => {
  using plain = new Inside(false);
  const { datagrams } = plain;
  assert.throws(() => new Gateway(plain.loop, plain.link, { datagrams }), {
    code: "not-promiscuous",
  });
  using inside = new Inside();
  inside.link.stack.listen({ onSyn: () => {} });
  assert.throws(
    () => new Gateway(inside.loop, inside.link, { datagrams: inside.datagrams }),
    { code: "port-in-use" },
  );
  // What it had begun is over.
  assert.ok(typeof inside.link.udp.listen({ onDatagram(): void {} }) !== "string");
});
