import assert from "node:assert/strict";
import fc from "fast-check";
import { generateIdentity, Identity } from "../../lib/core/identity.ts";
import { directNetwork, EnvelopeOpener, type NetworkKey, sealEnvelope } from "./envelope.ts";
import { envelopeKeyOf, presharedKeyOf } from "./network_key.ts";

const NOW = 1_800_000_000_000;
const KEY = new Uint8Array(32).fill(7);
const direct = directNetwork(KEY);
const named: NetworkKey = { id: "0123456789abcdef", key: KEY, envelopeKey: envelopeKeyOf(KEY) };
const sender = new Identity({
  peerSeed: new Uint8Array(32).fill(1),
  machineKey: new Uint8Array(32).fill(2),
  machineCreated: 0,
});

/** Deterministic bytes 1, 2, 3 ... so that an envelope can be pinned. */
function counting(): (length: number) => Uint8Array {
  let next = 0;
  return (length) => Uint8Array.from({ length }, () => ++next);
}

Deno.test("I1: sealEnvelope() gives the pinned bytes", () => {
  const datagram = sealEnvelope({ a: 1 }, direct, sender, { now: NOW, random: counting() });
  assert.equal(
    datagram.toHex(),
    "00" + // no network id
      "0102030405060708090a0b0c" + // nonce
      PINNED_CIPHERTEXT,
  );
});

/** Computed once by this code and checked below by noble, an independent implementation. */
const PINNED_CIPHERTEXT =
  "e281d4e6a53476827624a6fa722b31ee95f04afa558bc610d456fdd9d4a6435486efff526cddf5c3" +
  "a5c24299ae21ce8e0965a06469430b0362bcd4e3b39a95606076e8327407ed16c3ba7d5ce86272ca" +
  "5b35fac66f79389ff6674a41ea4edbfdca9cd2170a0548d0cd2d47d3028e672bbeb0aabe3ead95b6" +
  "6310addc61598a8ac67d3b9641177ec13ac3046b1743f69f0c85de9467fefb8a328354e9cabe63d7" +
  "f420bd4bce10eefe7f053c73ddf98c98";

Deno.test("I1: the pinned envelope opens with another implementation", async () => {
  const { chacha20poly1305 } = await import("@noble/ciphers/chacha.js");
  const datagram = sealEnvelope({ a: 1 }, named, sender, { now: NOW, random: counting() });
  const plaintext = chacha20poly1305(
    envelopeKeyOf(KEY),
    datagram.subarray(17, 29),
    datagram.subarray(0, 29),
  ).decrypt(datagram.subarray(29));
  assert.equal(
    plaintext.subarray(0, 25).toHex(),
    "01" + "000001a3185c5000" + "0d0e0f101112131415161718191a1b1c",
  );
  assert.equal(plaintext.subarray(25, 57).toHex(), sender.machineKey.toHex());
  assert.equal(plaintext.subarray(57, 89).toHex(), sender.peerKey.toHex());
  assert.equal(new TextDecoder().decode(plaintext.subarray(153)), '{"a":1}');
});

Deno.test("I1: open(sealEnvelope(x)) gives x and the sender back", () => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 2 }), fc.boolean(), (message, isNamed) => {
    const network = isNamed ? named : direct;
    if (JSON.stringify(message).length > 400) return;
    const datagram = sealEnvelope(message, network, sender, { now: NOW });
    const opened = new EnvelopeOpener().open(datagram, [named, direct], NOW);
    assert.ok(typeof opened !== "string", String(opened));
    assert.equal(JSON.stringify(opened.message), JSON.stringify(message));
    assert.deepEqual(opened.machineKey, sender.machineKey);
    assert.deepEqual(opened.peerKey, sender.peerKey);
    assert.equal(opened.network, network);
  }));
});

Deno.test("I1: open() tries every key that fits and names what is wrong", () => {
  const opener = new EnvelopeOpener();
  const other = directNetwork(new Uint8Array(32).fill(8));
  const seal = (now = NOW): Uint8Array => sealEnvelope("x", direct, sender, { now });
  assert.equal(opener.open(seal(), [other], NOW), "wrong-key");
  assert.equal(opener.open(seal(), [named], NOW), "unknown-network");
  assert.equal(opener.open(seal(), [], NOW), "unknown-network");
  assert.equal(typeof opener.open(seal(), [other, direct], NOW), "object");
  assert.equal(opener.open(seal(NOW - 300_001), [direct], NOW), "wrong-time");
  assert.equal(opener.open(seal(NOW + 300_001), [direct], NOW), "wrong-time");
  const once = seal();
  assert.equal(typeof opener.open(once, [direct], NOW), "object");
  assert.equal(opener.open(once, [direct], NOW), "replayed");
  assert.equal(opener.open(once.subarray(0, 100), [direct], NOW), "truncated");
  assert.equal(opener.open(Uint8Array.of(5, 1, 2), [direct], NOW), "unknown-network");
  assert.equal(opener.open(new Uint8Array(0), [direct], NOW), "unknown-network");
  assert.equal(opener.faults["wrong-time"], 2);
});

Deno.test("I1: open() refuses every envelope with one bit changed", () => {
  const datagram = sealEnvelope({ some: "message" }, named, sender, { now: NOW });
  fc.assert(fc.property(fc.nat(datagram.length * 8 - 1), (bit) => {
    const changed = datagram.slice();
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.equal(typeof new EnvelopeOpener().open(changed, [named, direct], NOW), "string");
  }));
});

Deno.test("I1: open() refuses a member who signs for somebody else", () => {
  const liar = new Identity(generateIdentity(0));
  const forged = Object.create(liar, {
    peerKey: { value: sender.peerKey },
    sign: { value: (data: Uint8Array) => liar.sign(data) },
  });
  const datagram = sealEnvelope("x", direct, forged, { now: NOW });
  assert.equal(new EnvelopeOpener().open(datagram, [direct], NOW), "bad-signature");
});

Deno.test("I1: open() never throws on any bytes", () => {
  const opener = new EnvelopeOpener();
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    assert.equal(typeof opener.open(bytes, [direct, named], NOW), "string");
  }));
});

Deno.test("I1: a flood of good messages cannot make a replay acceptable", () => {
  const opener = new EnvelopeOpener();
  const first = sealEnvelope("first", direct, sender, { now: NOW });
  assert.equal(typeof opener.open(first, [direct], NOW), "object");
  for (let i = 1; i <= 16_384; i++) {
    const next = sealEnvelope(i, direct, sender, { now: NOW + i });
    assert.equal(typeof opener.open(next, [direct], NOW + i), "object");
  }
  assert.equal(opener.open(first, [direct], NOW + 16_384), "replayed");
});

Deno.test("sealEnvelope() refuses a message that would not fit", () => {
  assert.throws(() => sealEnvelope("x".repeat(1100), direct, sender, { now: NOW }), RangeError);
});

Deno.test("presharedKeyOf() is the same from both ends and differs by pair and network", () => {
  const a = new Uint8Array(32).fill(1);
  const b = new Uint8Array(32).fill(2);
  assert.deepEqual(presharedKeyOf(KEY, a, b), presharedKeyOf(KEY, b, a));
  assert.notDeepEqual(presharedKeyOf(KEY, a, b), presharedKeyOf(KEY, a, a));
  assert.notDeepEqual(presharedKeyOf(KEY, a, b), presharedKeyOf(b, a, b));
});
