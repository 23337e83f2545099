import assert from "node:assert/strict";
import fc from "fast-check";
import { PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { writeUdp } from "../wire/udp.ts";
import { LEFT, Pair, RIGHT } from "./pair_fixture.ts";
import { UdpQueue, WAITING } from "./_udp_queue.ts";
import { MAX_UDP_PAYLOAD } from "./udp.ts";
import type { UdpHandler, UdpListener, UdpListenHandler, UdpPort } from "./udp_socket.ts";

/** Keeps what it is told. */
class Kept implements UdpHandler {
  readonly datagrams: { readonly bytes: Uint8Array; readonly from: string }[] = [];
  readonly errors: string[] = [];

  onDatagram(
    _socket: UdpPort,
    buffer: Uint8Array,
    at: number,
    length: number,
    address: number,
    port: number,
  ): void {
    this.datagrams.push({ bytes: buffer.slice(at, at + length), from: `${address}:${port}` });
  }

  onError(_socket: UdpPort, kind: string, address: number, port: number): void {
    this.errors.push(`${kind} ${address}:${port}`);
  }
}

function bound(pair: Pair, side: "left" | "right", port?: number): { socket: UdpPort; kept: Kept } {
  const kept = new Kept();
  const socket = pair[side].udp.bind({ handler: kept, ...(port === undefined ? {} : { port }) });
  assert.ok(typeof socket !== "string");
  return { socket, kept };
}

Deno.test("sendTo() carries datagrams of any length both ways, in fragments above the MTU", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: MAX_UDP_PAYLOAD }), { minLength: 1, maxLength: 6 }),
      fc.constantFrom(576, 1400, 9000),
      (lengths, mtu) => {
        const pair = new Pair(mtu);
        const client = bound(pair, "left");
        const server = bound(pair, "right", 53);
        const sent = lengths.map((length, i) => new Uint8Array(length).map((_, j) => i + j));
        for (const bytes of sent) {
          assert.equal(client.socket.sendTo(RIGHT, 53, bytes), "sent");
          pair.settle();
        }
        const from = `${LEFT}:${client.socket.port}`;
        assert.deepEqual(server.kept.datagrams, sent.map((bytes) => ({ bytes, from })));
        assert.equal(server.socket.sendTo(LEFT, client.socket.port, new Uint8Array([7])), "sent");
        pair.settle();
        assert.deepEqual(client.kept.datagrams, [{
          bytes: new Uint8Array([7]),
          from: `${RIGHT}:53`,
        }]);
        assert.equal(pair.right.stack.fragments.waiting, 0);
      },
    ),
    { numRuns: 20 },
  );
});

Deno.test("onError() is told port unreachable when nobody has the port", () => {
  const pair = new Pair();
  const { socket, kept } = bound(pair, "left");
  socket.sendTo(RIGHT, 9, new Uint8Array(10));
  pair.settle();
  assert.deepEqual(kept.errors, [`unreachable ${RIGHT}:9`]);
  assert.equal(pair.right.udp.counters.noSocket, 1);
});

Deno.test("sendTo() says why not when it cannot", () => {
  const pair = new Pair();
  const { socket } = bound(pair, "left", 5000);
  const one = new Uint8Array(1);
  assert.equal(socket.sendTo(RIGHT, 1, new Uint8Array(MAX_UDP_PAYLOAD + 1)), "too-long");
  assert.equal(socket.sendTo(0xffffffff, 1, one), "bad-address");
  assert.equal(socket.sendTo(LEFT, 1, one), "bad-address");
  assert.equal(socket.sendTo(RIGHT, 0, one), "bad-address");
  let sent = 0;
  while (socket.sendTo(RIGHT, 1, one) === "sent") sent++;
  assert.equal(socket.sendTo(RIGHT, 1, one), "no-room");
  assert.equal(pair.left.udp.counters.datagramsOut, sent);
  socket.close();
  assert.equal(socket.sendTo(RIGHT, 1, one), "closed");
});

Deno.test("bind() refuses a port that is taken, and gives it out again once it is free", () => {
  const pair = new Pair();
  const { socket } = bound(pair, "left", 5000);
  assert.equal(pair.left.udp.bind({ port: 5000, handler: new Kept() }), "in-use");
  assert.equal(pair.left.udp.bind({ port: 0, handler: new Kept() }), "no-port");
  socket.close();
  socket.close();
  bound(pair, "left", 5000);
  const ports = new Set(Array.from({ length: 4095 }, () => bound(pair, "left").socket.port));
  assert.equal(ports.size, 4095);
  assert.equal(pair.left.udp.bind({ handler: new Kept() }), "too-many-sockets");
});

Deno.test("L6: disposing of a port and of a listener closes them", () => {
  const pair = new Pair(1400, true);
  {
    using socket = bound(pair, "right", 53).socket;
    using _listener = listening(pair).listener;
    assert.equal(socket.port, 53);
    assert.equal(pair.right.udp.bind({ port: 53, handler: new Kept() }), "in-use");
  }
  bound(pair, "right", 53);
  listening(pair);
});

Deno.test("L6: UdpQueue.next() makes no property name of a datagram's length", () => {
  const queue = new UdpQueue();
  assert.ok(queue.add(new Uint8Array(100), 0, 100, 1, 2, 3, 4));
  assert.ok(queue.addError("too-big", 1, 2, 3, 4));
  let asked = 0;
  Object.defineProperty(Object.prototype, "-101", { configurable: true, get: () => asked++ });
  try {
    assert.ok(queue.next());
  } finally {
    Reflect.deleteProperty(Object.prototype, "-101");
  }
  assert.deepEqual([asked, queue.length, queue.error], [0, 100, undefined]);
  assert.ok(queue.next());
  assert.deepEqual([queue.length, queue.error], [0, "too-big"]);
});

Deno.test("close() forgets what waits, also for the next owner of the port", () => {
  const pair = new Pair();
  const client = bound(pair, "left");
  const server = bound(pair, "right", 53);
  client.socket.sendTo(RIGHT, 53, new Uint8Array(1));
  pair.left.stack.flush(pair.now);
  for (const packet of pair.left.sink.take()) {
    pair.right.stack.input(packet, 0, packet.length, pair.now);
  }
  server.socket.close();
  const next = bound(pair, "right", 53);
  pair.settle();
  assert.deepEqual(server.kept.datagrams, []);
  assert.deepEqual(next.kept.datagrams, []);
});

Deno.test("input() drops and counts what is more than may wait", () => {
  const pair = new Pair();
  const server = bound(pair, "right", 53);
  const packet = new Uint8Array(29);
  writeUdp(packet, 20, LEFT, 1, RIGHT, 53, 1);
  writeIpv4(packet, 0, LEFT, RIGHT, PROTOCOL.udp, packet.length, 1);
  for (let i = 0; i < WAITING + 5; i++) pair.right.stack.input(packet, 0, packet.length, 0);
  pair.settle();
  assert.equal(server.kept.datagrams.length, WAITING);
  assert.equal(pair.right.udp.counters.dropped, 5);
  pair.right.stack.input(packet, 0, packet.length, 0);
  pair.settle();
  assert.equal(server.kept.datagrams.length, WAITING + 1);
});

Deno.test("flush() goes on behind a handler that throws", () => {
  const pair = new Pair();
  const client = bound(pair, "left");
  let calls = 0;
  pair.right.udp.bind({
    port: 53,
    handler: {
      onDatagram(): void {
        calls++;
        if (calls === 1) throw new Error("Cannot take it");
      },
    },
  });
  client.socket.sendTo(RIGHT, 53, new Uint8Array(1));
  client.socket.sendTo(RIGHT, 53, new Uint8Array(2));
  assert.throws(() => pair.settle(), /Cannot take it/);
  pair.settle();
  assert.equal(calls, 2);
});

Deno.test("input() never throws on any payload, and hands on only what has a right checksum", () => {
  const pair = new Pair();
  const server = bound(pair, "right", 53);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (payload, sound) => {
    const packet = new Uint8Array(20 + payload.length);
    packet.set(payload, 20);
    if (sound && payload.length >= 8) {
      writeUdp(packet, 20, LEFT, 1, RIGHT, 53, payload.length - 8);
    }
    writeIpv4(packet, 0, LEFT, RIGHT, PROTOCOL.udp, packet.length, 1);
    const before = server.kept.datagrams.length;
    pair.right.stack.input(packet, 0, packet.length, pair.now);
    pair.settle();
    if (sound && payload.length >= 8) assert.equal(server.kept.datagrams.length, before + 1);
  }));
});

/** 192.0.2.7, which is nobody's (RFC 5737). */
const ELSEWHERE = 0xc0000207;

/** Sends everything back, as whoever it was for. */
class Everybody implements UdpListenHandler {
  readonly seen: string[] = [];

  onDatagram(
    listener: UdpListener,
    buffer: Uint8Array,
    at: number,
    length: number,
    toAddress: number,
    toPort: number,
    address: number,
    port: number,
  ): void {
    this.seen.push(`${toAddress}:${toPort} from ${address}:${port} len ${length}`);
    assert.equal(
      listener.sendFrom(toAddress, toPort, address, port, buffer, at, length),
      "sent",
    );
  }
}

function listening(pair: Pair): { everybody: Everybody; listener: UdpListener } {
  const everybody = new Everybody();
  const listener = pair.right.udp.listen(everybody);
  assert.ok(typeof listener !== "string");
  return { everybody, listener };
}

Deno.test("G1: listen() takes what no bound port takes, and sendFrom() answers as any address", () => {
  const pair = new Pair(1400, true);
  const { everybody } = listening(pair);
  const server = bound(pair, "right", 53);
  const client = bound(pair, "left", 5000);
  const sizes = [0, 100, 5000];
  for (const size of sizes) {
    client.socket.sendTo(ELSEWHERE, 53, new Uint8Array(size));
    client.socket.sendTo(RIGHT, 53, new Uint8Array(size));
    client.socket.sendTo(RIGHT, 54, new Uint8Array(size));
  }
  pair.settle();
  assert.deepEqual(
    everybody.seen,
    sizes.flatMap((size) =>
      [`${ELSEWHERE}:53`, `${RIGHT}:54`].map((to) => `${to} from ${LEFT}:5000 len ${size}`)
    ),
  );
  assert.deepEqual(server.kept.datagrams.map(({ bytes }) => bytes.length), sizes);
  assert.deepEqual(
    client.kept.datagrams.map(({ bytes, from }) => `${from} len ${bytes.length}`),
    sizes.flatMap((size) => [`${ELSEWHERE}:53 len ${size}`, `${RIGHT}:54 len ${size}`]),
  );
  assert.equal(pair.right.udp.counters.noSocket, 0);
});

Deno.test("G1: listen() is for promiscuous stacks, and for one at a time", () => {
  assert.equal(new Pair().right.udp.listen(new Everybody()), "not-promiscuous");
  const pair = new Pair(1400, true);
  const { everybody, listener } = listening(pair);
  const client = bound(pair, "left");
  const one = new Uint8Array(1);
  assert.equal(pair.right.udp.listen(new Everybody()), "in-use");
  assert.equal(listener.sendFrom(0xffffffff, 1, LEFT, 1, one, 0, 1), "bad-address");
  assert.equal(listener.sendFrom(ELSEWHERE, 0, LEFT, 1, one, 0, 1), "bad-address");
  assert.equal(listener.sendFrom(ELSEWHERE, 1, RIGHT, 1, one, 0, 1), "bad-address");
  assert.equal(listener.sendFrom(LEFT, 1, LEFT, 1, one, 0, 1), "bad-address");
  // What waits is forgotten, also for the next one.
  client.socket.sendTo(ELSEWHERE, 9, one);
  pair.left.stack.flush(pair.now);
  for (const packet of pair.left.sink.take()) {
    pair.right.stack.input(packet, 0, packet.length, pair.now);
  }
  listener.close();
  const next = listening(pair);
  listener.close();
  pair.settle();
  assert.deepEqual([everybody.seen, next.everybody.seen], [[], []]);
  assert.equal(listener.sendFrom(ELSEWHERE, 1, LEFT, 1, one, 0, 1), "closed");
  client.socket.sendTo(ELSEWHERE, 9, one);
  pair.settle();
  assert.equal(next.everybody.seen.length, 1);
});

Deno.test("G1: a bound port is one of the stack's own address, whoever listens", () => {
  const pair = new Pair(1400, true);
  const server = bound(pair, "right", 53);
  const client = bound(pair, "left");
  client.socket.sendTo(ELSEWHERE, 53, new Uint8Array(1));
  client.socket.sendTo(RIGHT, 53, new Uint8Array(2));
  pair.settle();
  assert.deepEqual(client.kept.errors, [`unreachable ${ELSEWHERE}:53`]);
  assert.deepEqual(server.kept.datagrams.map(({ bytes }) => bytes.length), [2]);
});

Deno.test("G1: refuse() tells whoever has sent a datagram that the host is not reached", () => {
  const pair = new Pair(1400, true);
  const { right } = pair;
  const listener = right.udp.listen({
    onDatagram: (one, _buffer, _at, length, to, toPort, address, port): void =>
      one.refuse(to, toPort, address, port, length),
  });
  assert.ok(typeof listener !== "string");
  const client = bound(pair, "left");
  client.socket.sendTo(ELSEWHERE, 9, new Uint8Array(10));
  client.socket.sendTo(ELSEWHERE, 10, new Uint8Array(3000));
  pair.settle();
  assert.deepEqual(client.kept.errors, [
    `unreachable ${ELSEWHERE}:9`,
    `unreachable ${ELSEWHERE}:10`,
  ]);
});

Deno.test("G1: errors about what sendFrom() sent, and datagrams to port 0, are nobody's", () => {
  const pair = new Pair(1400, true);
  const { everybody, listener } = listening(pair);
  const server = bound(pair, "right", 53);
  // Nobody has the port there, so an error comes back to 192.0.2.7 port 53.
  listener.sendFrom(ELSEWHERE, 53, LEFT, 9, new Uint8Array(1), 0, 1);
  pair.settle();
  assert.deepEqual(server.kept.errors, []);
  const packet = new Uint8Array(28);
  writeUdp(packet, 20, LEFT, 1, ELSEWHERE, 0, 0);
  writeIpv4(packet, 0, LEFT, ELSEWHERE, PROTOCOL.udp, packet.length, 1);
  pair.right.stack.input(packet, 0, packet.length, pair.now);
  pair.settle();
  assert.deepEqual(everybody.seen, []);
  assert.equal(pair.right.udp.counters.noSocket, 1);
});
