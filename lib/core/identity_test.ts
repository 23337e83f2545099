import assert from "node:assert/strict";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { generateIdentity, Identity, verifyBinding, verifySignature } from "./identity.ts";

/** RFC 8032 section 7.1, test 1. */
const SEED = Uint8Array.fromHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
const PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const SIGNATURE = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155" +
  "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";

Deno.test("Identity signs as RFC 8032 section 7.1 test 1 says", () => {
  const identity = new Identity({ ...generateIdentity(0), peerSeed: SEED });
  assert.equal(identity.peerKey.toHex(), PUBLIC);
  assert.equal(identity.sign(new Uint8Array(0)).toHex(), SIGNATURE);
});

Deno.test("Identity derives the keys that noble derives", () => {
  const keys = generateIdentity(0);
  const identity = new Identity(keys);
  assert.deepEqual(identity.peerKey, ed25519.getPublicKey(keys.peerSeed));
  assert.deepEqual(identity.machineKey, x25519.getPublicKey(keys.machineKey));
});

Deno.test("verifySignature() refuses another key, other data and damaged input", () => {
  const identity = new Identity(generateIdentity(0));
  const data = new TextEncoder().encode("data");
  const signature = identity.sign(data);
  assert.ok(verifySignature(identity.peerKey, data, signature));
  assert.ok(!verifySignature(new Identity(generateIdentity(0)).peerKey, data, signature));
  assert.ok(!verifySignature(identity.peerKey, new Uint8Array(1), signature));
  assert.ok(!verifySignature(identity.peerKey, data, signature.subarray(1)));
  assert.ok(!verifySignature(new Uint8Array(32).fill(0xff), data, signature));
});

Deno.test("verifyBinding() binds machine, time and peer", () => {
  const identity = new Identity(generateIdentity(1234));
  const binding = identity.bindMachine();
  assert.ok(verifyBinding(identity.peerKey, identity.machineKey, 1234, binding));
  assert.ok(!verifyBinding(identity.peerKey, identity.machineKey, 1235, binding));
  assert.ok(!verifyBinding(identity.peerKey, identity.peerKey, 1234, binding));
});

Deno.test("machines and peers have ids of 16 hex characters", () => {
  const identity = new Identity(generateIdentity(0));
  assert.match(identity.peerId, /^[0-9a-f]{16}$/);
  assert.match(identity.machineId, /^[0-9a-f]{16}$/);
});
