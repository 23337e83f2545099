import assert from "node:assert/strict";
import { nativeSum } from "../wire/checksum.ts";
import { PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { LEFT, Pair, RIGHT } from "./pair_fixture.ts";
import { MAX_PING_BYTES, MAX_PINGS, type PingAnswer } from "./ping.ts";

function ask(pair: Pair, to: number, bytes?: number): { answers: PingAnswer[]; fault?: string } {
  const answers: PingAnswer[] = [];
  const options = { timeoutMs: 1000, ...(bytes === undefined ? {} : { bytes }) };
  const fault = pair.left.pinger.send(to, options, pair.now, (answer) => answers.push(answer));
  return { answers, ...(fault === undefined ? {} : { fault }) };
}

Deno.test("send() is answered with the round trip, whatever the size", () => {
  const pair = new Pair();
  for (const bytes of [0, 1, 56, MAX_PING_BYTES]) {
    const { answers } = ask(pair, RIGHT, bytes);
    pair.settle();
    assert.deepEqual(answers, [{ kind: "reply", roundTripMs: 2 }]);
  }
  assert.equal(pair.left.pinger.waiting, 0);
});

Deno.test("send() ends with a timeout when nobody answers, and a late answer changes nothing", () => {
  const pair = new Pair();
  const { answers } = ask(pair, RIGHT);
  pair.left.stack.flush(pair.now);
  const [request] = pair.left.sink.take();
  assert.ok(request !== undefined);
  assert.equal(pair.left.stack.tick(pair.now), pair.now + 1000);
  pair.now += 1000;
  pair.left.stack.tick(pair.now);
  assert.deepEqual(answers, [{ kind: "timeout" }]);
  pair.right.stack.input(request, 0, request.length, pair.now);
  pair.settle();
  assert.equal(answers.length, 1);
});

Deno.test("send() ends with unreachable when ICMP says so about this request", () => {
  const pair = new Pair();
  const { answers } = ask(pair, RIGHT);
  const other = ask(pair, RIGHT);
  pair.left.stack.flush(pair.now);
  const [request] = pair.left.sink.take();
  assert.ok(request !== undefined);
  // What a router on the way would say: it quotes the request.
  const at = 20 + 8;
  const packet = new Uint8Array(at + 28);
  packet.set(request.subarray(0, 28), at);
  packet.set([3, 1], 20);
  sign(packet);
  pair.left.stack.input(packet, 0, packet.length, pair.now);
  pair.settle();
  assert.deepEqual(answers, [{ kind: "unreachable", code: 1 }]);
  assert.deepEqual(other.answers, []);
});

Deno.test("reply() takes no answer from another address or with other data", () => {
  const pair = new Pair();
  const { answers } = ask(pair, RIGHT, 8);
  pair.left.stack.flush(pair.now);
  const [request] = pair.left.sink.take();
  assert.ok(request !== undefined);
  const reply = request.slice();
  reply[20] = 0;
  for (
    const change of [
      (p: Uint8Array): void => void (p[35] = 99), // data
      (p: Uint8Array): void => void (p[24] = (p[24] ?? 0) ^ 1), // identifier
    ]
  ) {
    const forged = reply.slice();
    change(forged);
    swapAndSign(forged, RIGHT);
    pair.left.stack.input(forged, 0, forged.length, pair.now);
  }
  const elsewhere = reply.slice();
  swapAndSign(elsewhere, RIGHT + 1);
  pair.left.stack.input(elsewhere, 0, elsewhere.length, pair.now);
  pair.left.stack.flush(pair.now);
  assert.equal(answers.length, 0);
  swapAndSign(reply, RIGHT);
  pair.left.stack.input(reply, 0, reply.length, pair.now);
  pair.left.stack.flush(pair.now);
  assert.deepEqual(answers.map(({ kind }) => kind), ["reply"]);
});

Deno.test("send() says why not when it cannot", () => {
  const pair = new Pair();
  assert.equal(ask(pair, LEFT).fault, "bad-address");
  assert.equal(ask(pair, 0xe0000001).fault, "bad-address");
  assert.equal(ask(pair, RIGHT, MAX_PING_BYTES + 1).fault, "bad-size");
  for (let i = 0; i < MAX_PINGS; i++) assert.equal(ask(pair, RIGHT).fault, undefined);
  assert.equal(ask(pair, RIGHT).fault, "too-many");
});

Deno.test("L6: a request that is longer than the MTU goes in fragments, and is answered", () => {
  const pair = new Pair(576);
  for (const bytes of [548, 549, MAX_PING_BYTES]) {
    const { answers } = ask(pair, RIGHT, bytes);
    const sent = pair.left.sink.take();
    assert.ok(sent.every((packet) => packet.length <= 576));
    assert.equal(sent.length, bytes === 548 ? 1 : 2);
    for (const packet of sent) pair.right.stack.input(packet, 0, packet.length, pair.now);
    pair.settle();
    assert.deepEqual(answers.map(({ kind }) => kind), ["reply"]);
  }
});

Deno.test("L6: send() says no-room, and waits for nothing, when a fragment has none", () => {
  const pair = new Pair(576);
  const socket = pair.left.udp.bind({ handler: { onDatagram(): void {} } });
  assert.ok(typeof socket === "object");
  // One place is left.
  for (let i = 0; i < 4095; i++) socket.sendTo(RIGHT, 9, new Uint8Array(1));
  assert.equal(ask(pair, RIGHT, MAX_PING_BYTES).fault, "no-room");
  assert.equal(pair.left.pinger.waiting, 0);
});

Deno.test("L6: tick() is due again at once when somebody was told, who may have connected", () => {
  const { left, now } = new Pair();
  const connect = (): void => {
    left.stack.connect({ to: RIGHT, port: 80, handler: {} });
  };
  left.pinger.send(RIGHT + 9, { timeoutMs: 10 }, now, connect);
  left.stack.flush(now);
  left.sink.take();
  assert.equal(left.stack.tick(now + 10), now + 10);
  left.stack.tick(now + 10);
  assert.equal(left.sink.take().length, 1);
});

/** Makes a packet from a router of what lies behind its headers. */
function sign(packet: Uint8Array): void {
  swapAndSign(packet, RIGHT + 7);
}

function swapAndSign(packet: Uint8Array, from: number): void {
  const view = new DataView(packet.buffer);
  view.setUint16(22, 0);
  view.setUint16(22, ~nativeSum(view, 20, packet.length - 20), true);
  writeIpv4(packet, 0, from, LEFT, PROTOCOL.icmp, packet.length, 1);
}
