import assert from "node:assert/strict";
import { isWireguardShaped } from "../../../net/filter/wireguard_shape.ts";
import { IMIX, initiation, LARGE, MEDIUM, probeAt, SMALL, transportData } from "./loads.ts";

Deno.test("B1: IMIX is 7 small to 4 medium to 1 large, with no two large or medium in a row", () => {
  const count = (length: number): number => IMIX.filter((one) => one === length).length;
  assert.deepEqual([SMALL, MEDIUM, LARGE].map(count), [7, 4, 1]);
  assert.equal(IMIX.length, 12);
  const twice = [...IMIX, ...IMIX];
  for (const [i, length] of IMIX.entries()) {
    if (length !== SMALL) assert.notEqual(twice[i + 1], length);
  }
});

Deno.test("B1: every message of a load has the shape that the filter lets through", () => {
  const messages = [initiation(7), ...IMIX.map((length) => transportData(length, 7))];
  for (const message of messages) assert.ok(isWireguardShaped(message, 0, message.length));
});

Deno.test("B2: probeAt() finds the number of a probe and nothing in other messages", () => {
  const behind = (message: Uint8Array): DataView => {
    const buffer = new Uint8Array(42 + message.length);
    buffer.set(message, 42);
    return new DataView(buffer.buffer);
  };
  assert.equal(probeAt(behind(transportData(SMALL, 7, 4999)), 42), 4999);
  assert.equal(probeAt(behind(transportData(SMALL, 7, 0)), 42), 0);
  for (const length of IMIX) assert.equal(probeAt(behind(transportData(length, 7)), 42), -1);
});
