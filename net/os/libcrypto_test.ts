import assert from "node:assert/strict";
import { Libcrypto } from "./libcrypto.ts";

const available = Libcrypto.load();
available?.[Symbol.dispose]();

function test(name: string, fn: (library: Libcrypto) => void): void {
  const reason = available ? "" : " [skipped: libcrypto.so.3 is not here]";
  Deno.test({
    name: `${name}${reason}`,
    ignore: !available,
    fn: () => {
      using library = Libcrypto.load();
      assert.ok(library);
      fn(library);
    },
  });
}

const KEY = new Uint8Array(32).fill(7);

test("Libcrypto seals and opens in place and across arrays, small ones too", (library) => {
  const sealer = library.sealer(KEY);
  const opener = library.opener(KEY);
  // More arrays than addresses are remembered, of sizes that live on and off the engine's heap.
  for (let size = 0; size < 200; size += 7) {
    const text = new Uint8Array(size).fill(size);
    const sealed = new Uint8Array(size + 16 + 3);
    sealer.seal(size, text, 0, size, sealed, 3);
    const plain = new Uint8Array(size);
    assert.ok(opener.open(size, sealed, 3, size + 16, plain, 0), `size ${size}`);
    assert.deepEqual(plain, text);
    assert.ok(opener.open(size, sealed, 3, size + 16, sealed, 3));
    assert.deepEqual(sealed.slice(3, 3 + size), text);
  }
  sealer.wipe();
  opener.wipe();
});

test("Libcrypto works on views into the middle of a buffer", (library) => {
  const sealer = library.sealer(KEY);
  const whole = new Uint8Array(300);
  const direct = new Uint8Array(116);
  sealer.seal(1, new Uint8Array(100), 0, 100, whole.subarray(50), 10);
  sealer.seal(1, new Uint8Array(100), 0, 100, direct, 0);
  assert.deepEqual(whole.slice(60, 176), direct);
  sealer.wipe();
});

test("Libcrypto refuses ranges outside of an array", (library) => {
  const sealer = library.sealer(KEY);
  const opener = library.opener(KEY);
  const a = new Uint8Array(100);
  assert.throws(() => sealer.seal(0, a, 0, 101, new Uint8Array(200), 0), RangeError);
  assert.throws(() => sealer.seal(0, a, 0, 100, a, 0), RangeError);
  assert.throws(() => sealer.seal(0, a, -1, 10, a, 0), RangeError);
  assert.equal(opener.open(0, a, 90, 20, a, 0), false);
  assert.equal(opener.open(0, a, 0, 15, a, 0), false);
  assert.equal(opener.open(0, a, 0, 100, new Uint8Array(10), 0), false);
  sealer.wipe();
  opener.wipe();
});

test("Libcrypto does nothing with a key that was wiped", (library) => {
  const sealer = library.sealer(KEY);
  const opener = library.opener(KEY);
  const a = new Uint8Array(100);
  for (const one of [sealer, opener]) {
    one.wipe();
    one.wipe();
  }
  assert.throws(() => sealer.seal(0, a, 0, 10, a, 0), RangeError);
  assert.equal(opener.open(0, a, 0, 30, a, 0), false);
});

test("Libcrypto refuses a key of another length", (library) => {
  assert.throws(() => library.sealer(new Uint8Array(31)), RangeError);
  assert.throws(() => library.opener(new Uint8Array(33)), RangeError);
});

Deno.test({
  name: "Libcrypto.load() gives nothing and asks nobody when the process may not load libraries",
  permissions: { ffi: false },
  fn: () => assert.equal(Libcrypto.load(), undefined),
});
