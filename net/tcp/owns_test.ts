import assert from "node:assert/strict";
import fc from "fast-check";
import { PROTOCOL } from "../wire/ipv4.ts";
import { Pair, RIGHT } from "./pair_fixture.ts";

const IGNORE = { onDatagram(): void {} };

/** What each side sends to the other, once, until nothing comes any more. */
function packets(pair: Pair): { toLeft: Uint8Array[]; toRight: Uint8Array[] } {
  pair.left.stack.flush(pair.now);
  pair.right.stack.flush(pair.now);
  return { toLeft: pair.right.sink.take(), toRight: pair.left.sink.take() };
}

function owns(pair: Pair, packet: Uint8Array): boolean {
  return pair.left.stack.owns(packet, 0, packet.length);
}

Deno.test("owns() knows connections, and what listens", () => {
  const pair = new Pair();
  pair.right.stack.listen({ port: 80, onSyn: (pending) => void pending.accept({}) });
  pair.left.stack.connect({ to: RIGHT, port: 80, handler: {} });
  for (const packet of packets(pair).toRight) {
    assert.ok(pair.right.stack.owns(packet, 0, packet.length));
    pair.right.stack.input(packet, 0, packet.length, pair.now);
  }
  const [answer] = packets(pair).toLeft;
  assert.ok(answer && owns(pair, answer));
  // The same to another port of ours is somebody else's.
  const other = answer.slice();
  other[23] = (other[23] ?? 0) ^ 1;
  assert.equal(owns(pair, other), false);
  const fragment = answer.slice();
  fragment[6] = 0x20;
  assert.equal(owns(pair, fragment), false);
});

Deno.test("owns() knows sockets of UDP, pings, and errors about either; no echo request", () => {
  const pair = new Pair();
  const socket = pair.left.udp.bind({ handler: IGNORE });
  assert.ok(typeof socket !== "string");
  socket.sendTo(RIGHT, 9, new Uint8Array(20));
  pair.left.pinger.send(RIGHT, { timeoutMs: 1000 }, pair.now, () => {});
  const sent = packets(pair).toRight;
  for (const packet of sent) {
    pair.right.stack.input(packet, 0, packet.length, pair.now);
  }
  const answers = packets(pair).toLeft;
  assert.equal(answers.length, 2); // port unreachable, and the echo
  for (const answer of answers) assert.ok(owns(pair, answer));
  socket.close();
  assert.deepEqual(answers.map((answer) => owns(pair, answer)), [false, true]);
  const [, request] = sent;
  assert.ok(request && request[9] === PROTOCOL.icmp);
  assert.equal(pair.right.stack.owns(request, 0, request.length), false);
});

Deno.test("owns() never throws, whatever the bytes", () => {
  const pair = new Pair();
  pair.left.stack.listen({ port: 80, onSyn: () => {} });
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 80 }),
    fc.constantFrom(0x45, 0x4f, 0x40, undefined),
    fc.constantFrom(1, 6, 17, undefined),
    (bytes, first, protocol) => {
      if (first !== undefined && bytes.length > 0) bytes[0] = first;
      if (protocol !== undefined && bytes.length > 9) bytes[9] = protocol;
      if (bytes.length > 7) bytes[6] = bytes[7] = 0;
      owns(pair, bytes);
    },
  ));
});
