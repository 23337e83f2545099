import assert from "node:assert/strict";
import fc from "fast-check";
import { wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { isWireguardShaped } from "./wireguard_shape.ts";

/** The lengths up to 1472 at which a type is taken. */
function lengthsTaken(type: number): number[] {
  const lengths: number[] = [];
  for (let n = 4; n <= 1472; n++) {
    if (isWireguardShaped(wireguardMessage(n, type), 0, n)) lengths.push(n);
  }
  return lengths;
}

Deno.test.each([
  { type: 1, lengths: [148] },
  { type: 2, lengths: [92] },
  { type: 3, lengths: [64] },
  { type: 0, lengths: [] },
  { type: 5, lengths: [] },
  { type: 255, lengths: [] },
])("isWireguardShaped() takes type $type at lengths $lengths", ({ type, lengths }) => {
  assert.deepEqual(lengthsTaken(type), lengths);
});

Deno.test("isWireguardShaped() takes transport data padded to 16, or full packets of the tunnel", () => {
  const want: number[] = [];
  for (let n = 32; n <= 1472; n++) if (n % 16 === 0 || n >= 1312) want.push(n);
  assert.deepEqual(lengthsTaken(4), want);
  // A full packet of tunnels with MTU 1420 and 1400: 16 + MTU + 16, padded no further.
  assert.ok(want.includes(1452) && want.includes(1432));
});

Deno.test.each([1, 2, 3])(
  "isWireguardShaped() refuses a reserved byte %i that is not zero",
  (at) => {
    const message = wireguardMessage(148, 1);
    message[at] = 1;
    assert.equal(isWireguardShaped(message, 0, 148), false);
  },
);

Deno.test("isWireguardShaped() looks at the offset and the length it is given", () => {
  const buffer = new Uint8Array(200).fill(0xa5);
  buffer.set(wireguardMessage(64, 3), 7);
  assert.equal(isWireguardShaped(buffer, 7, 64), true);
  assert.equal(isWireguardShaped(buffer, 6, 64), false);
  assert.equal(isWireguardShaped(buffer, 7, 63), false);
});

Deno.test("isWireguardShaped() never throws on any bytes and range", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(99), fc.integer(), (b, at, n) => {
    isWireguardShaped(b, at, n);
  }));
});
