import assert from "node:assert/strict";
import { hash, INITIAL_CHAINING_KEY, INITIAL_HASH, kdf, mac, SymmetricState } from "./noise.ts";

Deno.test("W1: INITIAL_CHAINING_KEY and INITIAL_HASH are those of every implementation", () => {
  // As they stand written out in the sources of WireGuard implementations.
  assert.equal(
    INITIAL_CHAINING_KEY.toHex(),
    "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36",
  );
  assert.equal(
    INITIAL_HASH.toHex(),
    "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3",
  );
});

// From device/kdf_test.go of wireguard-go.
Deno.test.each([
  {
    key: "746573742d6b6579",
    input: "746573742d696e707574",
    keys: [
      "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
      "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
      "fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24",
    ],
  },
  {
    key: "776972656775617264",
    input: "776972656775617264",
    keys: [
      "491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8",
      "1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f",
      "31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160",
    ],
  },
  {
    key: "",
    input: "",
    keys: [
      "8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
      "58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
      "0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e",
    ],
  },
])("W1: kdf($key) gives the published keys", ({ key, input, keys }) => {
  for (const n of [1, 2, 3] as const) {
    const got = kdf(n, Uint8Array.fromHex(key), Uint8Array.fromHex(input));
    assert.deepEqual(got.map((one) => one.toHex()), keys.slice(0, n));
  }
});

Deno.test("hash() gives the example of RFC 7693 appendix B", () => {
  assert.equal(
    hash(new TextEncoder().encode("a"), new TextEncoder().encode("bc")).toHex(),
    "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
  );
});

Deno.test("mac() has 16 bytes and depends on the key", () => {
  const input = new Uint8Array(10);
  const a = mac(new Uint8Array(32), input);
  assert.equal(a.length, 16);
  assert.notDeepEqual(mac(new Uint8Array(32).fill(1), input), a);
});

Deno.test("SymmetricState opens what an equal one sealed, and wipes the key", () => {
  const start = SymmetricState.start(new Uint8Array(32).fill(1));
  const other = start.clone();
  const input = new Uint8Array(32).fill(2);
  const key = start.mixKeyToKey(input);
  const sealed = start.sealAndHash(key, Uint8Array.of(1, 2, 3));
  assert.ok(key.every((b) => b === 0));
  assert.deepEqual(other.openAndHash(other.mixKeyToKey(input), sealed), Uint8Array.of(1, 2, 3));
  const [a] = start.split();
  const [b] = other.split();
  assert.deepEqual(a, b);
});

Deno.test("SymmetricState gives undefined for a forged text", () => {
  const state = SymmetricState.start(new Uint8Array(32).fill(1));
  const key = state.mixKeyToKey(new Uint8Array(32));
  assert.equal(state.openAndHash(key, new Uint8Array(20)), undefined);
  assert.ok(key.every((b) => b === 0));
});
