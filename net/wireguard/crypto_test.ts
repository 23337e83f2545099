import assert from "node:assert/strict";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import fc from "fast-check";
import { nobleAead } from "./aead_noble.ts";
import { nodeAead } from "./aead_node.ts";
import { nobleDh } from "./dh_noble.ts";
import { nodeDh } from "./dh_node.ts";
import { aeadWorks, dhWorks, FASTEST_SUITE } from "./suite.ts";

/** The fastest one is libcrypto where it is there; else a test runs twice over the same one. */
const AEADS = [
  { name: "noble", aead: nobleAead },
  { name: "node", aead: nodeAead },
  { name: `fastest (${FASTEST_SUITE.aead.name})`, aead: FASTEST_SUITE.aead },
];
const DHS = [{ name: "noble", dh: nobleDh }, { name: "node", dh: nodeDh }];

Deno.test("chacha20poly1305() of noble, the reference, gives RFC 8439 section 2.8.2", () => {
  const key = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
  const nonce = Uint8Array.fromHex("070000004041424344454647");
  const data = Uint8Array.fromHex("50515253c0c1c2c3c4c5c6c7");
  const text = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for " +
    "the future, sunscreen would be it.";
  const sealed = chacha20poly1305(key, nonce, data).encrypt(new TextEncoder().encode(text)).toHex();
  assert.equal(sealed.slice(0, 32), "d31a8d34648e60db7b86afbc53ef7ec2");
  assert.equal(sealed.slice(-32), "1ae10b594f09e26a7e902ecbd0600691");
});

Deno.test.each(AEADS)("$name: seal() gives RFC 8439 appendix A.1, vectors 2 and 3", ({ aead }) => {
  // Text of zeros under counter 0: the ciphertext is block 1 of the key stream.
  const cases = [
    [
      "00",
      "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed" +
      "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
    ],
    [
      "01",
      "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a" +
      "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
    ],
  ] as const;
  for (const [last, want] of cases) {
    const sealer = aead.sealer(Uint8Array.fromHex("00".repeat(31) + last));
    const out = new Uint8Array(80);
    sealer.seal(0, new Uint8Array(64), 0, 64, out, 0);
    sealer.wipe();
    assert.equal(out.toHex().slice(0, 128), want);
  }
});

Deno.test.each(AEADS)("$name: seal() and open() agree with noble for any packet", ({ aead }) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.oneof(fc.nat(70_000), fc.maxSafeNat()),
      fc.uint8Array({ maxLength: 1500 }),
      fc.nat(40),
      fc.nat(40),
      fc.boolean(),
      (key, counter, text, srcAt, dstAt, inPlace) => {
        const wanted = new Uint8Array(text.length + 16);
        nobleAead.sealer(key).seal(counter, text, 0, text.length, wanted, 0);

        const src = new Uint8Array(srcAt + text.length + 56).fill(0xa5);
        src.set(text, srcAt);
        const dst = inPlace ? src : new Uint8Array(dstAt + text.length + 56).fill(0xa5);
        const at = inPlace ? srcAt : dstAt;
        const sealer = aead.sealer(key);
        sealer.seal(counter, src, srcAt, text.length, dst, at);
        sealer.wipe();
        const end = at + text.length + 16;
        assert.deepEqual(dst.slice(at, end), wanted);
        assert.ok(dst.subarray(0, at).every((b) => b === 0xa5), "wrote in front");
        assert.ok(dst.subarray(end).every((b) => b === 0xa5), "wrote behind");

        const opener = aead.opener(key);
        const plain = inPlace ? dst : new Uint8Array(text.length + 20).fill(0xa5);
        const plainAt = inPlace ? at : 3;
        assert.ok(opener.open(counter, dst, at, text.length + 16, plain, plainAt));
        assert.deepEqual(plain.slice(plainAt, plainAt + text.length), text);
        opener.wipe();
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test.each(AEADS)("$name: open() refuses a changed byte, counter or key", ({ aead }) => {
  const key = new Uint8Array(32).fill(9);
  const sealer = aead.sealer(key);
  const opener = aead.opener(key);
  const stranger = aead.opener(new Uint8Array(32).fill(8));
  const sealed = new Uint8Array(40 + 16);
  sealer.seal(5, new Uint8Array(40), 0, 40, sealed, 0);
  const out = new Uint8Array(40);
  for (let i = 0; i < sealed.length; i++) {
    const changed = sealed.slice();
    changed[i] = (changed[i] ?? 0) ^ 1;
    assert.equal(opener.open(5, changed, 0, changed.length, out, 0), false, `byte ${i}`);
  }
  assert.equal(opener.open(4, sealed, 0, sealed.length, out, 0), false);
  assert.equal(opener.open(5 + 2 ** 32, sealed, 0, sealed.length, out, 0), false);
  assert.equal(stranger.open(5, sealed, 0, sealed.length, out, 0), false);
  // None of which harms the key.
  assert.ok(opener.open(5, sealed, 0, sealed.length, out, 0));
  for (const one of [sealer, opener, stranger]) one.wipe();
});

Deno.test.each(AEADS)("$name: open() never throws on any bytes and ranges", ({ aead }) => {
  const opener = aead.opener(new Uint8Array(32).fill(9));
  const dst = new Uint8Array(100);
  const any = fc.nat(150);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), any, any, any, (src, at, length, to) => {
    assert.equal(opener.open(1, src, at, length, dst, to), false);
  }));
  opener.wipe();
});

Deno.test.each(AEADS)("$name: seal() and open() carry packets without content", ({ aead }) => {
  const key = new Uint8Array(32).fill(9);
  const sealer = aead.sealer(key);
  const opener = aead.opener(key);
  const sealed = new Uint8Array(16);
  const nothing = new Uint8Array(0);
  sealer.seal(1, nothing, 0, 0, sealed, 0);
  assert.ok(opener.open(1, sealed, 0, 16, nothing, 0));
  assert.equal(opener.open(2, sealed, 0, 16, nothing, 0), false);
  sealer.wipe();
  opener.wipe();
});

Deno.test("aeadWorks() and dhWorks() tell a working implementation from a broken one", () => {
  assert.ok(AEADS.every(({ aead }) => aeadWorks(aead)));
  assert.ok(DHS.every(({ dh }) => dhWorks(dh)));
  const key = new Uint8Array(32).fill(1);
  assert.ok(!aeadWorks({ ...nobleAead, sealer: () => nobleAead.sealer(key) }));
  assert.ok(!dhWorks({ ...nobleDh, key: () => nobleDh.key(key) }));
});

Deno.test.each(DHS)("$name: shared() gives RFC 7748 sections 5.2 and 6.1", ({ dh }) => {
  const scalar = dh.key(
    Uint8Array.fromHex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
  );
  assert.equal(
    scalar.shared(
      Uint8Array.fromHex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    )?.toHex(),
    "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
  );
  const alice = dh.key(
    Uint8Array.fromHex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
  );
  const bob = dh.key(
    Uint8Array.fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
  );
  assert.equal(
    alice.publicKey.toHex(),
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
  );
  const shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  assert.equal(alice.shared(bob.publicKey)?.toHex(), shared);
  assert.equal(bob.shared(alice.publicKey)?.toHex(), shared);
});

Deno.test("shared() of noble and node agree for any keys", () => {
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(bytes, bytes, (privateKey, publicKey) => {
      const [a, b] = DHS.map(({ dh }) => dh.key(privateKey));
      assert.deepEqual(a?.publicKey, b?.publicKey);
      assert.deepEqual(a?.shared(publicKey), b?.shared(publicKey));
    }),
    { numRuns: 50 },
  );
});

// The points of order 1, 2, 4 and 8, and three encodings that are not reduced.
const LOW_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

Deno.test.each(DHS)("$name: shared() refuses points of low order", ({ dh }) => {
  const key = dh.key(new Uint8Array(32).fill(3));
  for (const point of LOW_ORDER) {
    assert.equal(key.shared(Uint8Array.fromHex(point)), undefined, point);
  }
  assert.equal(key.shared(new Uint8Array(31).fill(9)), undefined);
});

Deno.test.each(DHS)("$name: shared() gives nothing useful after wipe()", ({ dh }) => {
  const theirs = dh.key(new Uint8Array(32).fill(4)).publicKey;
  const key = dh.key(new Uint8Array(32).fill(3));
  const before = key.shared(theirs);
  key.wipe();
  assert.notDeepEqual(key.shared(theirs), before);
});
