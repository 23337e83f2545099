import assert from "node:assert/strict";
import fc from "fast-check";
import { pseudoRandom } from "../../tests/doubles/wireguard_pair.ts";
import type { CryptoSuite } from "./crypto.ts";
import { Handshake, type Identity, openInitiation } from "./handshake.ts";
import { FASTEST_SUITE, NOBLE_SUITE } from "./suite.ts";
import { tai64n } from "./tai64n.ts";

const NOW = 1_700_000_000_000;
const PSK = new Uint8Array(32).fill(0x33);

interface Side {
  readonly identity: Identity;
  readonly handshake: Handshake;
}

/** Two identities with fixed keys and fixed "random" bytes, each with the other as peer. */
function sides(suite: CryptoSuite = FASTEST_SUITE): [Side, Side] {
  const identity = (fill: number): Identity => ({
    key: suite.dh.key(new Uint8Array(32).fill(fill)),
    dh: suite.dh,
    random: pseudoRandom(fill),
  });
  const [a, b] = [identity(0x11), identity(0x22)];
  const handshake = (own: Identity, other: Identity): Handshake => {
    const made = Handshake.with(own, other.key.publicKey);
    assert.ok(made);
    made.setPresharedKey(PSK);
    return made;
  };
  return [
    { identity: a, handshake: handshake(a, b) },
    { identity: b, handshake: handshake(b, a) },
  ];
}

/** Carries a handshake through and returns what both sides made of it. */
function shake(a: Side, b: Side, now = NOW): {
  initiation: Uint8Array;
  response: Uint8Array;
  keys: string[];
} {
  const initiation = a.handshake.createInitiation(0x01020304, tai64n(now));
  const opened = openInitiation(b.identity, initiation);
  assert.ok(opened);
  assert.deepEqual(opened.remoteStatic, a.identity.key.publicKey);
  assert.equal(b.handshake.consumeInitiation(opened, initiation), undefined);
  const answer = b.handshake.createResponse(0x05060708);
  assert.ok(answer);
  const theirs = a.handshake.consumeResponse(answer.message);
  assert.ok(theirs);
  assert.deepEqual(theirs.send, answer.keys.receive);
  assert.deepEqual(theirs.receive, answer.keys.send);
  assert.equal(theirs.remoteIndex, 0x05060708);
  assert.equal(answer.keys.remoteIndex, 0x01020304);
  return {
    initiation,
    response: answer.message,
    keys: [theirs.send.toHex(), theirs.receive.toHex()],
  };
}

Deno.test.each([
  { name: "noble", suite: NOBLE_SUITE },
  { name: "the fastest suite", suite: FASTEST_SUITE },
])("W1: Handshake gives these very bytes with fixed keys: $name", ({ suite }) => {
  const [a, b] = sides(suite);
  const { initiation, response, keys } = shake(a, b);
  // Checked against another implementation by the interop tests; here so that it stays so.
  assert.equal(
    initiation.toHex(),
    [
      "01000000" + "04030201", // type, sender
      "e046fcef57ade574547af1a96b740999fda800408517dbfe39786ab727052951",
      "90a2fe265ad6be939ba83c58d791b702c1edc1765d5d329de61cde8745ef9616" +
      "decb70f48db39e6e2759b28dc4aa0e61",
      "1ebd1ceb7249bc351766d1025837cac971568d2e83c314af496227ab",
      "00".repeat(32), // MACs are not the handshake's
    ].join(""),
  );
  assert.equal(
    response.toHex(),
    [
      "02000000" + "08070605" + "04030201", // type, sender, receiver
      "23cb2bcf335e1aaf009a899cac20668513bd2d1b38922a5d80989ca298505434",
      "c53017c637d3d260c542d9669cda744d",
      "00".repeat(32),
    ].join(""),
  );
  assert.deepEqual(keys, [
    "4d57ac9cb8f2a27b394680644f4025fbfab1687cb0dde1ad19851409121b704e",
    "f4cbee54dd9cb2ffc3eafd3ef56380a72874165920dc8671c173c30b0184a684",
  ]);
});

Deno.test("Handshake.consumeInitiation() refuses one that was seen, or an earlier one", () => {
  const [a, b] = sides();
  const { initiation } = shake(a, b);
  const consume = (message: Uint8Array): string | undefined => {
    const opened = openInitiation(b.identity, message);
    assert.ok(opened);
    return b.handshake.consumeInitiation(opened, message);
  };
  assert.equal(consume(initiation), "replayed");
  assert.equal(consume(a.handshake.createInitiation(1, tai64n(NOW - 1))), "replayed");
  assert.equal(consume(a.handshake.createInitiation(1, tai64n(NOW + 1))), undefined);
});

Deno.test("Handshake refuses any initiation of which one bit is changed", () => {
  const [a, b] = sides();
  const initiation = a.handshake.createInitiation(7, tai64n(NOW));
  fc.assert(
    fc.property(fc.integer({ min: 8, max: 115 }), fc.nat(7), (at, bit) => {
      const changed = initiation.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << bit);
      const opened = openInitiation(b.identity, changed);
      // The top bit of an X25519 key does not count for the point, but it does for the hash.
      if (opened === undefined) return;
      assert.equal(b.handshake.consumeInitiation(opened, changed), "forged");
    }),
    { numRuns: 60 },
  );
  assert.equal(b.handshake.createResponse(1), undefined);
});

Deno.test("Handshake takes the response after any number of forged ones, and only once", () => {
  const [a, b] = sides();
  const initiation = a.handshake.createInitiation(7, tai64n(NOW));
  const opened = openInitiation(b.identity, initiation);
  assert.ok(opened);
  b.handshake.consumeInitiation(opened, initiation);
  const answer = b.handshake.createResponse(8);
  assert.ok(answer);
  fc.assert(
    fc.property(fc.integer({ min: 12, max: 59 }), fc.nat(7), (at, bit) => {
      const changed = answer.message.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << bit);
      assert.equal(a.handshake.consumeResponse(changed), undefined);
    }),
    { numRuns: 60 },
  );
  assert.ok(a.handshake.consumeResponse(answer.message));
  assert.equal(a.handshake.consumeResponse(answer.message), undefined);
});

Deno.test("W1: Handshake answers and is answered when both sides begin at once", () => {
  const [a, b] = sides();
  const [fromA, fromB] = [a, b].map(({ handshake }, i) =>
    handshake.createInitiation(i, tai64n(NOW))
  );
  assert.ok(fromA && fromB);
  const answer = (side: Side, initiation: Uint8Array): ReturnType<Handshake["createResponse"]> => {
    const opened = openInitiation(side.identity, initiation);
    assert.ok(opened);
    assert.equal(side.handshake.consumeInitiation(opened, initiation), undefined);
    return side.handshake.createResponse(9);
  };
  const [ofB, ofA] = [answer(b, fromA), answer(a, fromB)];
  assert.ok(ofA && ofB);
  assert.deepEqual(a.handshake.consumeResponse(ofB.message)?.send, ofB.keys.receive);
  assert.deepEqual(b.handshake.consumeResponse(ofA.message)?.send, ofA.keys.receive);
});

Deno.test("Handshake refuses a response made with another preshared key", () => {
  const [a, b] = sides();
  b.handshake.setPresharedKey(undefined);
  const initiation = a.handshake.createInitiation(7, tai64n(NOW));
  const opened = openInitiation(b.identity, initiation);
  assert.ok(opened);
  b.handshake.consumeInitiation(opened, initiation);
  const answer = b.handshake.createResponse(8);
  assert.ok(answer);
  assert.equal(a.handshake.consumeResponse(answer.message), undefined);
});

Deno.test("Handshake gives other keys each time, and none after wipe()", () => {
  const [a, b] = sides();
  const first = shake(a, b).keys;
  const second = shake(a, b, NOW + 1).keys;
  assert.equal(new Set([...first, ...second]).size, 4);
  const initiation = a.handshake.createInitiation(1, tai64n(NOW + 2));
  const opened = openInitiation(b.identity, initiation);
  assert.ok(opened);
  b.handshake.consumeInitiation(opened, initiation);
  const answer = b.handshake.createResponse(2);
  assert.ok(answer);
  a.handshake.wipe();
  assert.equal(a.handshake.consumeResponse(answer.message), undefined);
});

Deno.test("Handshake.with() refuses a peer whose key is of low order", () => {
  const [a] = sides();
  assert.equal(Handshake.with(a.identity, new Uint8Array(32)), undefined);
});

Deno.test("openInitiation() never throws on any bytes", () => {
  const [, b] = sides();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 160 }), (bytes) => {
      assert.equal(openInitiation(b.identity, bytes), undefined);
    }),
    { numRuns: 50 },
  );
});
