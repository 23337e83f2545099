import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryDatagramSink, MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { endpoint, node, packet, Pair, prefix } from "../../tests/doubles/wireguard_pair.ts";
import { nodeAead } from "./aead_node.ts";
import type { CryptoSuite } from "./crypto.ts";
import { MAX_STAGED, REJECT_AFTER_MS, REKEY_AFTER_MS } from "./constants.ts";
import { nodeDh } from "./dh_node.ts";
import { INITIATION, RESPONSE, TRANSPORT } from "./messages.ts";
import { REPLAY_WINDOW } from "./replay.ts";
import { FASTEST_SUITE, NOBLE_SUITE } from "./suite.ts";

const LEFT_TO_RIGHT = packet("10.0.0.1", "10.0.0.2");

/** Types of messages, to compare an exchange at a glance. */
function types(messages: readonly Uint8Array[]): (number | undefined)[] {
  return messages.map((message) => message[0]);
}

/** All counters that are not 0. */
function drops(one: { device: { counters: object } }): Record<string, number> {
  return Object.fromEntries(Object.entries(one.device.counters).filter(([, n]) => n !== 0));
}

// Packets through a session.

Deno.test.each([
  { name: "the fastest suite", options: {} },
  { name: "noble", options: { suite: NOBLE_SUITE } },
  { name: "node", options: { suite: { aead: nodeAead, dh: nodeDh } } },
])("W1: Device carries packets both ways with $name", ({ options }) => {
  using pair = new Pair({ left: options });
  assert.deepEqual(pair.leftToRight(1400), [packet("10.0.0.1", "10.0.0.2", 1400)]);
  assert.deepEqual(pair.rightToLeft(33), [packet("10.0.0.2", "10.0.0.1", 33)]);
  assert.deepEqual(pair.left.events, ["handshake 192.0.2.2:2000"]);
  assert.deepEqual(pair.right.events, ["handshake 192.0.2.1:1000"]);
  assert.deepEqual([drops(pair.left), drops(pair.right)], [{}, {}]);
});

Deno.test("W1: Device exchanges initiation, response and packets in this order", () => {
  using pair = new Pair();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const initiation = pair.take(pair.left);
  assert.deepEqual(types(initiation), [INITIATION]);
  pair.give(pair.left, pair.right, initiation[0] ?? LEFT_TO_RIGHT);
  const response = pair.take(pair.right);
  assert.deepEqual(types(response), [RESPONSE]);
  pair.give(pair.right, pair.left, response[0] ?? LEFT_TO_RIGHT);
  const first = pair.take(pair.left);
  assert.deepEqual(types(first), [TRANSPORT]);
  pair.give(pair.left, pair.right, first[0] ?? LEFT_TO_RIGHT);
  assert.deepEqual(pair.right.inner.take(), [LEFT_TO_RIGHT]);
});

Deno.test("W1: Device confirms a session by a keepalive when nothing waits for it", () => {
  using pair = new Pair({ keepaliveSeconds: 25 });
  pair.left.device.tick(pair.now);
  assert.equal(pair.settle(), 3);
  assert.deepEqual(pair.right.events, ["handshake 192.0.2.1:1000"]);
  assert.equal(pair.right.inner.take().length, 0);
});

Deno.test.each([
  { size: 20, want: 32 },
  { size: 32, want: 32 },
  { size: 100, want: 112 },
  { size: 1408, want: 1408 },
  { size: 1409, want: 1420 },
  { size: 1420, want: 1420 },
  { size: 1421, want: 1421 },
])("W1: Device pads $size bytes to $want and the receiver takes it off", ({ size, want }) => {
  using pair = new Pair();
  pair.leftToRight();
  const sent = packet("10.0.0.1", "10.0.0.2", size);
  pair.send(pair.left, sent);
  const [message] = pair.take(pair.left);
  assert.ok(message);
  assert.equal(message.length, 16 + want + 16);
  pair.give(pair.left, pair.right, message);
  assert.deepEqual(pair.right.inner.take(), [sent]);
});

Deno.test("W1: Device takes each packet once, in any order", () => {
  using pair = new Pair();
  pair.leftToRight();
  const sent = Array.from({ length: 200 }, (_, i) => packet("10.0.0.1", "10.0.0.2", 60, i));
  for (const one of sent) pair.send(pair.left, one);
  const messages = pair.take(pair.left);
  // 77 and 200 have no common divisor: a fixed order that is no order.
  for (let i = 0; i < 200; i++) {
    const message = messages[(i * 77) % 200];
    assert.ok(message);
    pair.give(pair.left, pair.right, message);
    pair.give(pair.left, pair.right, message);
  }
  const fills = pair.right.inner.take().map((one) => one[59]);
  assert.deepEqual(fills, Array.from({ length: 200 }, (_, i) => (i * 77) % 200));
  assert.deepEqual(drops(pair.right), { replayed: 200 });
});

Deno.test("W1: Device refuses a packet that is behind the replay window", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.send(pair.left, LEFT_TO_RIGHT);
  pair.send(pair.left, LEFT_TO_RIGHT);
  const [late, inTime] = pair.take(pair.left);
  assert.ok(late && inTime);
  // Counter 0 went with the handshake, 1 is late, 2 in time; all between are lost but the last.
  for (let i = 3; i <= REPLAY_WINDOW; i++) {
    pair.send(pair.left, LEFT_TO_RIGHT);
    pair.take(pair.left);
  }
  assert.equal(pair.leftToRight().length, 1);
  pair.give(pair.left, pair.right, late);
  assert.deepEqual(drops(pair.right), { replayed: 1 });
  pair.give(pair.left, pair.right, inTime);
  assert.equal(pair.right.inner.take().length, 1);
});

Deno.test("W1: Device refuses a packet of which any bit is changed", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const [message] = pair.take(pair.left);
  assert.ok(message);
  for (let i = 0; i < message.length; i++) {
    const changed = message.slice();
    changed[i] = (changed[i] ?? 0) ^ 0x10;
    pair.give(pair.left, pair.right, changed);
  }
  assert.equal(pair.right.inner.take().length, 0);
  pair.give(pair.left, pair.right, message);
  assert.equal(pair.right.inner.take().length, 1);
});

// Packets that wait.

Deno.test(`W1: Device keeps ${MAX_STAGED} packets for a session and drops the oldest`, () => {
  using pair = new Pair();
  for (let i = 0; i < MAX_STAGED + 2; i++) {
    pair.send(pair.left, packet("10.0.0.1", "10.0.0.2", 60, i));
  }
  assert.equal(pair.left.device.stats()[0]?.staged, MAX_STAGED);
  pair.settle();
  const fills = pair.right.inner.take().map((one) => one[59]);
  assert.deepEqual(fills, Array.from({ length: MAX_STAGED }, (_, i) => i + 2));
  assert.deepEqual(drops(pair.left), { stagedDropped: 2 });
});

Deno.test("W1: Device tries a handshake for 90 s, then drops what waits for it", () => {
  using pair = new Pair();
  pair.send(pair.left, LEFT_TO_RIGHT);
  let initiations = pair.take(pair.left).length;
  const begin = pair.now;
  while (pair.left.device.stats()[0]?.staged) {
    pair.now = pair.left.device.tick(pair.now);
    pair.left.device.tick(pair.now);
    initiations += pair.take(pair.left).length;
    assert.ok(pair.now - begin < 120_000);
  }
  assert.equal(initiations, 19);
  assert.ok(pair.now - begin >= 95_000);
  assert.deepEqual(drops(pair.left), { stagedDropped: 1 });
  // And begins anew with the next packet.
  assert.equal(pair.leftToRight().length, 1);
});

Deno.test("W1: Device begins again 5 s after a lost initiation or a lost response", () => {
  using pair = new Pair();
  pair.send(pair.left, LEFT_TO_RIGHT);
  assert.equal(pair.take(pair.left).length, 1);
  pair.advance(4999, true);
  pair.now += 400;
  pair.left.device.tick(pair.now);
  for (const message of pair.take(pair.left)) pair.give(pair.left, pair.right, message);
  assert.equal(pair.take(pair.right).length, 1);
  pair.advance(6000);
  assert.deepEqual(pair.right.inner.take(), [LEFT_TO_RIGHT]);
});

Deno.test("W1: Device lets the responder's packets wait until the session is confirmed", () => {
  using pair = new Pair();
  pair.send(pair.left, LEFT_TO_RIGHT);
  for (const message of pair.take(pair.left)) pair.give(pair.left, pair.right, message);
  pair.send(pair.right, packet("10.0.0.2", "10.0.0.1"));
  assert.deepEqual(types(pair.take(pair.right)), [RESPONSE]);
  pair.advance(6000);
  assert.equal(pair.left.inner.take().length, 1);
  assert.equal(pair.right.inner.take().length, 1);
});

Deno.test("W1: Device gets a session when both sides begin at once", () => {
  using pair = new Pair();
  pair.right.device.addPeer({
    publicKey: pair.left.device.publicKey,
    endpoint: pair.left.address,
    allowedIps: [prefix("10.0.0.1/32")],
  });
  pair.send(pair.left, LEFT_TO_RIGHT);
  pair.send(pair.right, packet("10.0.0.2", "10.0.0.1"));
  const [a, b] = [pair.take(pair.left), pair.take(pair.right)];
  for (const message of a) pair.give(pair.left, pair.right, message);
  for (const message of b) pair.give(pair.right, pair.left, message);
  pair.settle();
  assert.equal(pair.left.inner.take().length, 1);
  assert.equal(pair.right.inner.take().length, 1);
  for (let i = 0; i < 400; i++) {
    assert.equal(pair.leftToRight().length, 1);
    assert.equal(pair.rightToLeft().length, 1);
    pair.advance(1000);
  }
  assert.deepEqual([drops(pair.left), drops(pair.right)], [{}, {}]);
});

// The life of a session.

Deno.test("W1: Device renews a session after 120 s, and only its initiator does", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.now += REKEY_AFTER_MS - 1;
  assert.equal(pair.leftToRight().length, 1);
  assert.equal(pair.left.events.length, 1);
  pair.now += 1;
  assert.equal(pair.rightToLeft().length, 1);
  assert.equal(pair.right.events.length, 1);
  assert.equal(pair.leftToRight().length, 1);
  assert.equal(pair.left.events.length, 2);
  assert.equal(pair.right.events.length, 2);
});

Deno.test("W1: Device carries every packet of an hour of rekeying", () => {
  using pair = new Pair();
  for (let i = 0; i < 3600; i++) {
    assert.equal(pair.leftToRight(60, i & 255).length, 1);
    assert.equal(pair.rightToLeft(60, i & 255).length, 1);
    pair.advance(1000);
  }
  assert.deepEqual([drops(pair.left), drops(pair.right)], [{}, {}]);
  assert.equal(pair.left.events.length, 30);
});

Deno.test("W1: Device takes packets of the session before, for those still under way", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const [late, later] = [pair.take(pair.left)[0], LEFT_TO_RIGHT];
  assert.ok(late && later);
  pair.now += REKEY_AFTER_MS;
  pair.leftToRight();
  assert.equal(pair.left.events.length, 2);
  pair.give(pair.left, pair.right, late);
  assert.equal(pair.right.inner.take().length, 1);
});

Deno.test("W1: Device uses no session of 180 s, neither to send nor to receive", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const [late] = pair.take(pair.left);
  assert.ok(late);
  pair.now += REJECT_AFTER_MS;
  pair.give(pair.left, pair.right, late);
  assert.deepEqual(drops(pair.right), { expired: 1 });
  pair.send(pair.left, LEFT_TO_RIGHT);
  assert.deepEqual(types(pair.take(pair.left)), [INITIATION]);
});

Deno.test("W1: Device renews a session in time when it only receives", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.now += REJECT_AFTER_MS - 15_000 - 1;
  assert.equal(pair.rightToLeft().length, 1);
  assert.equal(pair.left.events.length, 1);
  pair.now += 1;
  assert.equal(pair.rightToLeft().length, 1);
  assert.equal(pair.left.events.length, 2);
});

Deno.test("W1: Device renews a session after its number of messages, and ends it after more", () => {
  const timing = { rekeyAfterMessages: 10, rejectAfterMessages: 12 };
  using pair = new Pair({ left: { timing }, right: { timing } });
  pair.leftToRight();
  pair.now += 10_000;
  for (let i = 0; i < 9; i++) assert.equal(pair.leftToRight().length, 1);
  assert.equal(pair.left.events.length, 2);
  // The next rekey is not allowed before 5 s have gone: at the limit, packets wait for it.
  for (let i = 0; i < 12; i++) pair.leftToRight();
  assert.ok((pair.left.device.stats()[0]?.staged ?? 0) > 0);
  pair.advance(6000);
  assert.equal(pair.left.device.stats()[0]?.staged, 0);
  assert.equal(pair.left.events.length, 3);
});

Deno.test("W1: Device forgets the keys of sessions that nobody used for 540 s", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const [late] = pair.take(pair.left);
  assert.ok(late);
  pair.advance(3 * REJECT_AFTER_MS - 1, true);
  pair.give(pair.left, pair.right, late);
  assert.equal(pair.right.device.counters.expired, 1);
  pair.advance(1, true);
  pair.give(pair.left, pair.right, late);
  assert.equal(pair.right.device.counters.unknownIndex, 1);
  assert.equal(pair.right.device.tick(pair.now), Infinity);
});

Deno.test("W1: Device begins a handshake 15 s after it sent data and heard nothing", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.rightToLeft();
  pair.send(pair.left, LEFT_TO_RIGHT);
  pair.take(pair.left);
  pair.advance(14_999, true);
  assert.deepEqual(types(pair.take(pair.left)), []);
  pair.now += 400;
  pair.left.device.tick(pair.now);
  assert.deepEqual(types(pair.take(pair.left)), [INITIATION]);
});

Deno.test("W1: Device answers data by a keepalive after 10 s when it has nothing to send", () => {
  using pair = new Pair();
  pair.leftToRight();
  const { txBytes } = pair.right.device.stats()[0] ?? { txBytes: 0 };
  pair.advance(9_999);
  assert.equal(pair.right.device.stats()[0]?.txBytes, txBytes);
  pair.advance(1);
  assert.equal(pair.right.device.stats()[0]?.txBytes, txBytes + 32);
  pair.advance(60_000);
  assert.equal(pair.right.device.stats()[0]?.txBytes, txBytes + 32);
  assert.equal(pair.left.events.length, 1);
});

Deno.test("W1: Device sends persistent keepalives at their interval and begins with one", () => {
  using pair = new Pair({ keepaliveSeconds: 25 });
  pair.advance(100_000);
  const { rxBytes } = pair.right.device.stats()[0] ?? {};
  assert.equal(rxBytes, 148 + 32 * 5);
  assert.equal(pair.left.events.length, 1);
  // At 125 s one is the first packet of a session that is too old to go on.
  pair.advance(100_000);
  assert.equal(pair.left.events.length, 2);
});

// Who may.

Deno.test("W1: Device makes no session with another preshared key", () => {
  using pair = new Pair({ leftPsk: new Uint8Array(32).fill(1) });
  assert.deepEqual(pair.leftToRight(), []);
  assert.deepEqual(drops(pair.left), { badHandshake: 1 });
  assert.deepEqual([pair.left.events, pair.right.events], [[], []]);
});

Deno.test("W1: Device carries packets with the same preshared key", () => {
  const psk = new Uint8Array(32).fill(1);
  using pair = new Pair({ leftPsk: psk, rightPsk: psk });
  assert.equal(pair.leftToRight().length, 1);
});

Deno.test("W1: Device makes no session with somebody who is not a peer", () => {
  using pair = new Pair({ left: { privateKey: new Uint8Array(32).fill(77) } });
  pair.right.device.removePeer(pair.left.device.publicKey);
  assert.deepEqual(pair.leftToRight(), []);
  assert.deepEqual(drops(pair.right), { unknownPeer: 1 });
  assert.deepEqual(pair.take(pair.right), []);
});

Deno.test("W1: Device ignores an initiation made for another key", () => {
  using pair = new Pair();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const third = node(9, "192.0.2.9:9", pair.now);
  for (const message of pair.take(pair.left)) pair.give(pair.left, third, message);
  assert.deepEqual(drops(third), { badMac1: 1 });
  assert.deepEqual(pair.take(third), []);
  third.device.close();
});

Deno.test("W1: Device takes an initiation once, and not two within 20 ms", () => {
  using pair = new Pair();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const [initiation] = pair.take(pair.left);
  assert.ok(initiation);
  pair.give(pair.left, pair.right, initiation);
  assert.equal(pair.take(pair.right).length, 1);
  pair.now += 19;
  pair.give(pair.left, pair.right, initiation);
  assert.deepEqual(drops(pair.right), { flood: 1 });
  pair.now += 1;
  pair.give(pair.left, pair.right, initiation);
  assert.deepEqual(drops(pair.right), { flood: 1, replayedInitiation: 1 });
  assert.deepEqual(pair.take(pair.right), []);
});

Deno.test("W1: Device under load asks for a cookie and takes the proof", () => {
  using pair = new Pair({ right: { handshakesPerSecond: 0 } });
  pair.send(pair.left, LEFT_TO_RIGHT);
  pair.settle();
  assert.deepEqual(drops(pair.right), { cookieSent: 1 });
  assert.deepEqual(pair.right.inner.take(), []);
  pair.advance(5400);
  assert.deepEqual(pair.right.inner.take(), [LEFT_TO_RIGHT]);
  assert.deepEqual(drops(pair.right), { cookieSent: 1 });
});

Deno.test("W1: Device that begins under load asks the responder for a cookie too", () => {
  using pair = new Pair({ left: { handshakesPerSecond: 0 } });
  pair.send(pair.left, LEFT_TO_RIGHT);
  pair.advance(5400);
  assert.deepEqual(pair.right.inner.take(), [LEFT_TO_RIGHT]);
  assert.equal(pair.left.device.counters.cookieSent, 1);
});

Deno.test("W1: Device under load limits each source", () => {
  using pair = new Pair({ right: { handshakesPerSecond: 0 } });
  pair.send(pair.left, LEFT_TO_RIGHT);
  pair.settle();
  pair.now += 5400;
  pair.left.device.tick(pair.now);
  const [proved] = pair.take(pair.left);
  assert.ok(proved);
  for (let i = 0; i < 20; i++) pair.give(pair.left, pair.right, proved);
  assert.equal(pair.right.device.counters.rateLimited, 15);
  assert.equal(pair.right.device.counters.flood, 4);
});

Deno.test("W1: Device follows a peer by authenticated messages only", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.send(pair.right, packet("10.0.0.2", "10.0.0.1"));
  const [message] = pair.take(pair.right);
  assert.ok(message);
  const forged = message.slice();
  forged[30] = (forged[30] ?? 0) ^ 1;
  pair.right.address = endpoint("198.51.100.7:7");
  pair.give(pair.right, pair.left, forged);
  assert.equal(String(pair.left.device.stats()[0]?.endpoint), "192.0.2.2:2000");
  pair.give(pair.right, pair.left, message);
  assert.equal(String(pair.left.device.stats()[0]?.endpoint), "198.51.100.7:7");
  // The same again, a replay from elsewhere, moves nothing.
  pair.right.address = endpoint("203.0.113.1:1");
  pair.give(pair.right, pair.left, message);
  assert.deepEqual(pair.left.events, ["handshake 192.0.2.2:2000", "roamed 198.51.100.7:7"]);
  pair.send(pair.left, LEFT_TO_RIGHT);
  assert.deepEqual(pair.left.out.take().map(({ to }) => String(to)), ["198.51.100.7:7"]);
});

Deno.test("W1: Device checks inner addresses on the way in and out", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.left.inner.take();
  pair.send(pair.left, packet("10.0.0.9", "10.0.0.2"));
  pair.send(pair.left, packet("10.0.0.1", "10.0.0.3"));
  pair.send(pair.left, LEFT_TO_RIGHT.slice(0, 19));
  pair.send(pair.left, new Uint8Array(60).fill(0x60));
  pair.settle();
  assert.deepEqual(pair.right.inner.take(), []);
  assert.deepEqual(drops(pair.left), { noRoute: 1, badOutbound: 2 });
  assert.deepEqual(drops(pair.right), { wrongSource: 1 });
});

Deno.test.each([
  { name: "total length beyond the content", at: 2, bytes: [0xff, 0xff] },
  { name: "total length below a header", at: 2, bytes: [0, 19] },
])("W1: Device refuses an inner packet with a $name", ({ at, bytes }) => {
  using pair = new Pair();
  pair.leftToRight();
  const bad = packet("10.0.0.1", "10.0.0.2");
  bad.set(bytes, at);
  pair.send(pair.left, bad);
  pair.settle();
  assert.deepEqual(pair.right.inner.take(), []);
  assert.deepEqual(drops(pair.right), { badInner: 1 });
});

Deno.test("W1: Device keeps its peers apart", () => {
  using pair = new Pair();
  const server = pair.right;
  const other = node(3, "192.0.2.3:3000", pair.now);
  server.device.addPeer({
    publicKey: other.device.publicKey,
    allowedIps: [prefix("10.0.0.3/32"), prefix("10.3.0.0/16")],
  });
  other.device.addPeer({
    publicKey: server.device.publicKey,
    endpoint: server.address,
    allowedIps: [prefix("10.0.0.0/24")],
  });
  const settle = (): void => {
    for (let round = 0; round < 4; round++) {
      for (const one of [pair.left, other]) {
        for (const message of pair.take(one)) pair.give(one, server, message);
      }
      for (const { payload, to } of server.out.take()) {
        pair.give(server, to.equals(other.address) ? other : pair.left, payload);
      }
    }
  };
  pair.send(pair.left, LEFT_TO_RIGHT);
  pair.send(other, packet("10.0.0.3", "10.0.0.2"));
  pair.send(other, packet("10.3.9.9", "10.0.0.2"));
  // With the address of the first peer.
  pair.send(other, packet("10.0.0.1", "10.0.0.2"));
  settle();
  const sources = server.inner.take().map((one) => one.slice(12, 16).join("."));
  assert.deepEqual(sources.sort(), ["10.0.0.1", "10.0.0.3", "10.3.9.9"]);
  assert.deepEqual(drops(server), { wrongSource: 1 });

  pair.send(server, packet("10.0.0.2", "10.0.0.1", 50));
  pair.send(server, packet("10.0.0.2", "10.0.0.3", 60));
  settle();
  assert.deepEqual(pair.left.inner.take().map((one) => one.length), [50]);
  assert.deepEqual(other.inner.take().map((one) => one.length), [60]);

  // An address that is given to another peer is taken from the first.
  server.device.addPeer({
    publicKey: pair.left.device.publicKey,
    allowedIps: [prefix("10.0.0.1/32"), prefix("10.0.0.3/32")],
  });
  pair.send(other, packet("10.0.0.3", "10.0.0.2"));
  settle();
  assert.deepEqual(drops(server), { wrongSource: 2 });
  const shown = server.device.stats().map(({ allowedIps }) => allowedIps.length);
  assert.deepEqual(shown, [2, 1]);
  other.device.close();
});

// Peers come and go.

Deno.test("Device.addPeer() changes a peer and keeps its session", () => {
  using pair = new Pair();
  pair.leftToRight();
  const publicKey = pair.right.device.publicKey;
  pair.left.device.addPeer({ publicKey, allowedIps: [prefix("10.0.9.0/24")] });
  assert.equal(pair.left.device.stats().length, 1);
  pair.send(pair.left, LEFT_TO_RIGHT);
  assert.deepEqual(drops(pair.left), { noRoute: 1 });
  pair.left.device.addPeer({ publicKey, allowedIps: [prefix("10.0.0.0/24")] });
  assert.equal(pair.leftToRight().length, 1);
  assert.equal(pair.left.events.length, 1);
});

Deno.test("Device.leadsTo() says whose an address is, and nothing of who is no peer", () => {
  using pair = new Pair();
  const { device } = pair.left;
  const { publicKey } = pair.right.device;
  const address = (text: string): number => prefix(`${text}/32`).address;
  assert.ok(device.leadsTo(address("10.0.0.2"), publicKey));
  assert.ok(!device.leadsTo(address("192.0.2.1"), publicKey));
  assert.ok(!device.leadsTo(address("10.0.0.2"), device.publicKey));
  assert.ok(device.leadsTo(address("10.0.0.2")));
  assert.ok(!device.leadsTo(address("192.0.2.1")));
  device.removePeer(publicKey);
  assert.ok(!device.leadsTo(address("10.0.0.2"), publicKey));
  assert.ok(!device.leadsTo(address("10.0.0.2")));
});

Deno.test("Device.removePeer() ends the session, and addPeer() makes a new one possible", () => {
  using pair = new Pair();
  pair.leftToRight();
  const publicKey = pair.left.device.publicKey;
  pair.right.device.removePeer(publicKey);
  pair.right.device.removePeer(publicKey);
  assert.deepEqual(pair.leftToRight(), []);
  assert.deepEqual(drops(pair.right), { unknownIndex: 1 });
  assert.deepEqual(pair.right.device.stats(), []);
  pair.right.device.addPeer({ publicKey, allowedIps: [prefix("10.0.0.1/32")] });
  pair.advance(21_000);
  assert.equal(pair.leftToRight().length, 1);
});

Deno.test("Device.addPeer() refuses bad keys", () => {
  using pair = new Pair();
  const { device } = pair.left;
  const allowedIps = [prefix("10.0.0.7/32")];
  for (
    const publicKey of [new Uint8Array(31), new Uint8Array(32), device.publicKey]
  ) assert.throws(() => device.addPeer({ publicKey, allowedIps }), { code: "bad-key" });
  const psk = { publicKey: new Uint8Array(32).fill(9), presharedKey: new Uint8Array(3) };
  assert.throws(() => device.addPeer({ ...psk, allowedIps }), { code: "bad-key" });
  assert.equal(device.stats().length, 1);
});

Deno.test("Device.close() ends everything", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.send(pair.left, LEFT_TO_RIGHT);
  const [message] = pair.take(pair.left);
  assert.ok(message);
  pair.right.device.close();
  pair.right.device.close();
  pair.give(pair.left, pair.right, message);
  pair.send(pair.right, packet("10.0.0.2", "10.0.0.1"));
  assert.equal(pair.right.device.tick(pair.now + 1e9), Infinity);
  assert.deepEqual([pair.take(pair.right), pair.right.inner.take()], [[], []]);
  const publicKey = new Uint8Array(32).fill(9);
  assert.throws(() => pair.right.device.addPeer({ publicKey, allowedIps: [] }), {
    code: "device-closed",
  });
});

Deno.test("Device goes on when its owner removes the peer while told of it", () => {
  using a: Pair = new Pair({ left: { onEvent: (key) => a.left.device.removePeer(key) } });
  assert.deepEqual(a.leftToRight(), []);
  assert.deepEqual(a.left.device.stats(), []);
  a.advance(1000_000);

  using b: Pair = new Pair({ right: { onEvent: (key) => b.right.device.removePeer(key) } });
  assert.equal(b.leftToRight().length, 1);
  assert.deepEqual(b.rightToLeft(), []);
  assert.deepEqual(b.right.device.stats(), []);
  b.advance(1000_000);
});

Deno.test("Device.stats() counts what Device sends and receives", () => {
  using pair = new Pair();
  pair.leftToRight(100);
  const [left] = pair.left.device.stats();
  const [right] = pair.right.device.stats();
  assert.equal(left?.txBytes, 148 + 16 + 112 + 16);
  assert.equal(left?.rxBytes, 92);
  assert.equal(right?.rxBytes, left?.txBytes);
  assert.equal(right?.txBytes, left?.rxBytes);
  assert.equal(left?.lastHandshakeMs, pair.now);
  assert.deepEqual(left?.publicKey, pair.right.device.publicKey);
});

Deno.test("Device goes on as before when the clock is set back", () => {
  using pair = new Pair();
  pair.leftToRight();
  pair.now -= 3600_000;
  assert.equal(pair.leftToRight().length, 1);
  const due = pair.left.device.tick(pair.now);
  assert.ok(due > pair.now && due <= pair.now + 20_000, String(due - pair.now));
  pair.now += REKEY_AFTER_MS;
  assert.equal(pair.leftToRight().length, 1);
  // Which shows that the timestamp of the second initiation was later than that of the first.
  assert.equal(pair.right.events.length, 2);
});

/** A suite that counts the keys it holds. */
function counting(): { suite: CryptoSuite; live: () => number } {
  const { aead, dh } = FASTEST_SUITE;
  const held = new Set<object>();
  const hold = <T extends { wipe(): void }>(key: T): T => {
    const inner = key.wipe.bind(key);
    held.add(key);
    key.wipe = (): void => {
      held.delete(key);
      inner();
    };
    return key;
  };
  return {
    suite: {
      aead: {
        name: aead.name,
        sealer: (key) => hold(aead.sealer(key)),
        opener: (key) => hold(aead.opener(key)),
      },
      dh: { name: dh.name, key: (privateKey) => hold(dh.key(privateKey)) },
    },
    live: () => held.size,
  };
}

Deno.test("W1: Device holds few keys at any time and none in the end", () => {
  const left = counting();
  const right = counting();
  const pair = new Pair({ left, right });
  for (let i = 0; i < 50; i++) {
    // Every third round the line is cut, so that handshakes are left half done.
    if (i % 2) pair.send(pair.right, packet("10.0.0.2", "10.0.0.1"));
    pair.send(pair.left, LEFT_TO_RIGHT);
    pair.advance(70_000, i % 3 === 0);
    // The device's own, one ephemeral, and two for each of three sessions.
    for (const { live } of [left, right]) assert.ok(live() <= 8, `${live()} keys`);
  }
  assert.ok(pair.left.events.length > 10);
  pair.advance(3 * REJECT_AFTER_MS + 100_000, true);
  assert.deepEqual([left.live(), right.live()], [1, 1]);
  pair.leftToRight();
  pair[Symbol.dispose]();
  assert.deepEqual([left.live(), right.live()], [0, 0]);
});

Deno.test("Device.removePeer() wipes the keys of a session and of a handshake", () => {
  const left = counting();
  const right = counting();
  using pair = new Pair({ left, right });
  pair.send(pair.left, LEFT_TO_RIGHT);
  assert.equal(left.live(), 2);
  pair.left.device.removePeer(pair.right.device.publicKey);
  assert.equal(left.live(), 1);
  pair.settle();
  assert.equal(right.live(), 3);
  pair.right.device.removePeer(pair.left.device.publicKey);
  assert.equal(right.live(), 1);
});

// When there is no room.

Deno.test("Device counts packets for which a sink has no room", () => {
  using full = new Pair({
    left: { out: new MemoryDatagramSink({ capacity: 0 }) },
    right: { inner: new MemoryPacketSink({ capacity: 0 }) },
  });
  full.send(full.left, LEFT_TO_RIGHT);
  assert.equal(full.left.device.outbound.reserve(100), -1);
  assert.equal(full.left.device.outbound.reserve(70_000), -1);
  assert.deepEqual(drops(full.left), { outFull: 3 });

  using pair = new Pair({ right: { inner: new MemoryPacketSink({ capacity: 0 }) } });
  pair.leftToRight();
  assert.deepEqual(drops(pair.right), { innerFull: 1 });
});

Deno.test("Device counts packets for a peer of which nobody knows where it is", () => {
  using pair = new Pair();
  pair.send(pair.right, packet("10.0.0.2", "10.0.0.1"));
  assert.deepEqual(pair.take(pair.right), []);
  assert.deepEqual(drops(pair.right), { noEndpoint: 1 });
  // It goes when the peer begins.
  pair.leftToRight();
  assert.equal(pair.left.inner.take().length, 1);
});

// Anything at all.

Deno.test("Device.receive() never throws on any bytes, at any place", () => {
  using pair = new Pair();
  pair.leftToRight();
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(fc.constantFrom(1, 2, 3, 4), fc.uint8Array({ minLength: 28, maxLength: 200 }))
      .map(([type, rest]) => Uint8Array.of(type, 0, 0, 0, ...rest)),
  );
  const names = pair.left.address.sockaddr;
  fc.assert(
    fc.property(bytes, fc.nat(250), fc.nat(300), fc.nat(40), (b, at, length, nameAt) => {
      pair.right.device.receive(b, at, length, names, nameAt, pair.now);
      pair.right.device.receive(b, 0, b.length, names, 0, pair.now);
    }),
    { numRuns: 500 },
  );
  assert.equal(pair.leftToRight().length, 1);
});

Deno.test("Device.receive() never throws on real messages with changes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(3), fc.nat(200), fc.nat(255), fc.nat(220)), { maxLength: 12 }),
      (changes) => {
        using pair = new Pair();
        pair.send(pair.left, LEFT_TO_RIGHT);
        for (const [what, at, value, length] of changes) {
          for (const [from, to] of [[pair.left, pair.right], [pair.right, pair.left]] as const) {
            for (const message of pair.take(from)) {
              const changed = message.slice(0, what === 0 ? length : message.length);
              if (what === 1 && at < changed.length) changed[at] = value;
              pair.give(from, to, changed);
            }
          }
          pair.advance(what * 2000);
        }
        pair.advance(120_000);
        pair.leftToRight();
        assert.equal(pair.leftToRight().length, 1);
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("W1: Device delivers each packet at most once over a line that loses, copies and reorders", () => {
  const step = fc.record({
    send: fc.constantFrom("left", "right", "nobody"),
    lose: fc.nat(9),
    copy: fc.boolean(),
    reverse: fc.boolean(),
    wait: fc.constantFrom(0, 1, 100, 5_000, 30_000, 120_000, 200_000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      using pair = new Pair();
      const got = new Set<number>();
      const collect = (): void => {
        for (const one of [pair.left, pair.right]) {
          for (const { [59]: fill = -1, length } of one.inner.take()) {
            assert.equal(length, 60);
            assert.ok(!got.has(fill), `packet ${fill} came twice`);
            got.add(fill);
          }
        }
      };
      steps.forEach(({ send, lose, copy, reverse, wait }, i) => {
        if (send === "left") pair.send(pair.left, packet("10.0.0.1", "10.0.0.2", 60, i));
        if (send === "right") pair.send(pair.right, packet("10.0.0.2", "10.0.0.1", 60, i));
        for (const [from, to] of [[pair.left, pair.right], [pair.right, pair.left]] as const) {
          const messages = pair.take(from).filter((_, n) => n % 10 !== lose);
          if (reverse) messages.reverse();
          for (const message of messages) {
            pair.give(from, to, message);
            if (copy) pair.give(from, to, message);
          }
        }
        collect();
        pair.now += wait;
        pair.left.device.tick(pair.now);
        pair.right.device.tick(pair.now);
      });
      // Once the line is good again, so is the tunnel.
      pair.advance(30_000);
      collect();
      pair.leftToRight(60, 200);
      pair.advance(30_000);
      collect();
      assert.equal(pair.leftToRight(60, 201).length, 1);
      assert.equal(pair.rightToLeft(60, 202).length, 1);
    }),
    { numRuns: 60 },
  );
});
