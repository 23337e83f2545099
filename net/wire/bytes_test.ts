import assert from "node:assert/strict";
import fc from "fast-check";
import { copyBytes, readU16, readU32, viewOf, writeU16, writeU32 } from "./bytes.ts";

Deno.test("readU32() and readU16() read in network order", () => {
  const bytes = Uint8Array.fromHex("00fedcba98");
  assert.equal(readU16(bytes, 1), 0xfedc);
  assert.equal(readU32(bytes, 1), 0xfedcba98);
});

Deno.test("readU32() reads bytes past the end as zero", () => {
  const bytes = Uint8Array.fromHex("ff");
  assert.equal(readU16(bytes, 0), 0xff00);
  assert.equal(readU32(bytes, 0), 0xff000000);
  assert.equal(readU32(bytes, 9), 0);
});

Deno.test("writeU32() and writeU16() write their bytes and no other", () => {
  fc.assert(fc.property(fc.nat(0xffffffff), fc.nat(8), (value, at) => {
    const long = new Uint8Array(12).fill(0xa5);
    writeU32(long, at, value);
    assert.equal(readU32(long, at), value);
    assert.equal(long.filter((b, i) => (i < at || i >= at + 4) && b !== 0xa5).length, 0);
    const short = new Uint8Array(12).fill(0xa5);
    writeU16(short, at, value);
    assert.equal(readU16(short, at), value % 65536);
    assert.equal(short.filter((b, i) => (i < at || i >= at + 2) && b !== 0xa5).length, 0);
  }));
});

Deno.test("viewOf() gives the same view again, over the array's own part of its buffer", () => {
  const part = Uint8Array.fromHex("000102030405").subarray(2, 4);
  assert.equal(viewOf(part), viewOf(part));
  assert.equal(viewOf(part).byteLength, 2);
  assert.equal(viewOf(part).getUint16(0), 0x0203);
});

Deno.test("copyBytes() copies exactly the range at any offset and length", () => {
  const offset = fc.nat(9);
  fc.assert(fc.property(offset, offset, fc.nat(600), (at, to, length) => {
    const from = new Uint8Array(620).map((_, i) => i * 7);
    const target = new Uint8Array(620).fill(0xa5);
    copyBytes(from, at, target, to, length);
    const want = new Uint8Array(620).fill(0xa5);
    want.set(from.subarray(at, at + length), to);
    assert.deepEqual(target, want);
  }));
});
