import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { readU16, writeU16, writeU32 } from "./bytes.ts";
import {
  checksum,
  foldSum,
  nativePseudoSum,
  nativeSum,
  onesSum,
  pseudoHeaderSum,
  updateChecksum,
  updateChecksum32,
} from "./checksum.ts";

/** The sum as RFC 1071 section 1 defines it, one word after the other. */
function naiveSum(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}

Deno.test("onesSum() gives the sum of the example in RFC 1071 section 3", () => {
  assert.equal(onesSum(Uint8Array.fromHex("0001f203f4f5f6f7"), 0, 8), 0xddf2);
});

Deno.test("checksum() of a captured header with its checksum in place is 0", () => {
  assert.equal(checksum(captured("ping"), 14, 20), 0);
  assert.equal(checksum(captured("pingRecordRoute"), 14, 60), 0);
  assert.equal(checksum(captured("ping"), 34, 64), 0);
});

Deno.test("checksum() gives the checksum that the kernel wrote", () => {
  const reset = captured("tcpReset");
  const want = readU16(reset, 34 + 16);
  writeU16(reset, 34 + 16, 0);
  assert.equal(checksum(reset, 34, 20, pseudoHeaderSum(0xc0a86401, 0xc0a86402, 6, 20)), want);
});

Deno.test.each([0, 1, 2, 3, 15, 16, 17, 65534, 65535, 65536, 65537, 131073])(
  "onesSum() agrees with the definition for %i bytes of 0xff",
  (length) => {
    const bytes = new Uint8Array(length + 1).fill(0xff);
    assert.equal(onesSum(bytes, 1, length), naiveSum(bytes.subarray(1)));
  },
);

Deno.test("onesSum() agrees with the definition at any offset, length and initial sum", () => {
  const initial = fc.nat(0x7fffffff);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(9), initial, (bytes, at, sum) => {
      const whole = new Uint8Array(bytes.length + at + 5).fill(0xa5);
      whole.set(bytes, at);
      assert.equal(onesSum(whole, at, bytes.length, sum), naiveSum(bytes, sum));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("onesSum() of two parts, the first of even length, is that of the whole", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 99 }), fc.nat(49), (bytes, half) => {
    const cut = Math.min(2 * half, bytes.length & ~1);
    const first = onesSum(bytes, 0, cut);
    assert.equal(onesSum(bytes, cut, bytes.length - cut, first), onesSum(bytes, 0, bytes.length));
  }));
});

Deno.test("onesSum() never throws on a range outside of the buffer", () => {
  fc.assert(fc.property(fc.nat(99), fc.nat(99), (at, length) => {
    onesSum(new Uint8Array(8), at, length);
  }));
});

Deno.test("updateChecksum() gives the result of RFC 1624 section 4", () => {
  assert.equal(updateChecksum(0xdd2f, 0x5555, 0x3285), 0x0000);
});

Deno.test("updateChecksum() is the checksum computed again", () => {
  const word = fc.nat(65535);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), word, fc.nat(9), (b, v, i) => {
      // RFC 1624 section 3: of the two zeros, the one that is a sum of zeros only is excluded.
      fc.pre(naiveSum(b) !== 0 && naiveSum(b) !== 0xffff);
      const old = readU16(b, 2 * i);
      const before = checksum(b, 0, 20);
      writeU16(b, 2 * i, v);
      fc.pre(naiveSum(b) !== 0 && naiveSum(b) !== 0xffff);
      assert.equal(updateChecksum(before, old, v), checksum(b, 0, 20));
    }),
  );
});

Deno.test("updateChecksum32() keeps a header valid whose address changed", () => {
  fc.assert(fc.property(fc.nat(0xffffffff), (address) => {
    const header = captured("ping").subarray(14, 34);
    writeU16(header, 10, updateChecksum32(readU16(header, 10), 0xc0a86402, address));
    writeU32(header, 12, address);
    assert.equal(checksum(header, 0, 20), 0);
  }));
});

Deno.test("foldSum() folds every carry", () => {
  assert.equal(foldSum(0xffffffff), 0xffff);
  assert.equal(foldSum(0x1ffff), 1);
  assert.equal(foldSum(0xffff), 0xffff);
});

Deno.test("nativeSum() and nativePseudoSum() are the same sums in the order of the machine", () => {
  const swap = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);
  const packet = captured("tcpReset").slice(14);
  const view = new DataView(packet.buffer);
  assert.equal(swap(nativeSum(view, 1, 30)), onesSum(packet, 1, 30));
  const pseudo = foldSum(pseudoHeaderSum(0xc0a86401, 0xc0a86402, 6, 0x123));
  assert.equal(swap(nativePseudoSum(view, 0, 0x123)), pseudo);
});
