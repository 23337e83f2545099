import assert from "node:assert/strict";
import fc from "fast-check";
import { fold, pseudoSum4, sum16 } from "./checksum.ts";

/** RFC 1071 section 4.1, word by word. */
function slowSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

function swap(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

Deno.test("sum16() gives the sum of RFC 1071 section 3", () => {
  const bytes = Uint8Array.fromHex("0001f203f4f5f6f7");
  assert.equal(swap(sum16(new DataView(bytes.buffer), 0, 8)), 0xddf2);
});

Deno.test("sum16() equals the word-by-word sum at any offset and length", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(17), (bytes, at) => {
      const padded = new Uint8Array(at + bytes.length + 20).fill(0xa5);
      padded.set(bytes, at);
      const sum = swap(sum16(new DataView(padded.buffer), at, bytes.length));
      // Zero and all ones are the same number in one's complement.
      assert.equal(sum % 0xffff, slowSum(bytes) % 0xffff);
    }),
  );
});

Deno.test("sum16() does not overflow on the longest packet of the largest words", () => {
  const bytes = new Uint8Array(65535).fill(0xff);
  assert.equal(swap(sum16(new DataView(bytes.buffer), 0, bytes.length)) % 0xffff, 0xff00);
});

Deno.test("fold() adds every carry back", () => {
  assert.equal(fold(0x1ffff), 0x0001);
  assert.equal(fold(0xffffffff), 0xffff);
  assert.equal(fold(0xffff0001), 0x0001);
});

Deno.test("pseudoSum4() sums addresses, protocol and length", () => {
  const ip = Uint8Array.fromHex("450000280000000040060000c0a80001c0a80002");
  const pseudo = Uint8Array.fromHex("c0a80001c0a8000200060123");
  assert.equal(swap(pseudoSum4(new DataView(ip.buffer), 0, 0x123)), slowSum(pseudo));
});
