import assert from "node:assert/strict";
import fc from "fast-check";
import { Random } from "../../tests/doubles/random.ts";
import { viewOf } from "../wire/bytes.ts";
import { nativeSum } from "../wire/checksum.ts";
import { IPV4_MF, PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import {
  HOLD_MS,
  MAX_DATAGRAMS,
  MAX_OF_SOURCE,
  type Reassembled,
  Reassembly,
} from "./fragments.ts";
import { StackCounters } from "./counters.ts";
import { IpPacket } from "./ip_in.ts";
import { LEFT, RIGHT } from "./pair_fixture.ts";

/** A piece with these bytes at this offset. */
function piece(
  bytes: Uint8Array,
  offset: number,
  more: boolean,
  { id = 1, from = LEFT, protocol = PROTOCOL.udp as number, options = 0 } = {},
): IpPacket {
  const header = 20 + options;
  const raw = new Uint8Array(header + bytes.length);
  raw.set(bytes, header);
  writeIpv4(raw, 0, from, RIGHT, protocol, raw.length, id);
  const view = viewOf(raw);
  raw[0] = 0x40 | header / 4;
  raw.fill(1, 20, header);
  view.setUint16(6, (more ? IPV4_MF : 0) | offset / 8);
  view.setUint16(10, 0);
  view.setUint16(10, ~nativeSum(view, 0, header), true);
  const packet = new IpPacket();
  assert.ok(packet.read(view, raw, 0, raw.length, undefined, new StackCounters()));
  return packet;
}

/** What of a whole packet lies behind its header, which must be sound and say so. */
function payloadOf(whole: Reassembled): Uint8Array {
  const packet = new IpPacket();
  const { view, buffer, at, length } = whole;
  assert.ok(packet.read(view, buffer, at, length, undefined, new StackCounters()));
  assert.equal(packet.fragment, false);
  assert.equal(packet.end, at + length);
  return buffer.slice(packet.payloadAt, packet.end);
}

/** Pieces of `size` bytes. */
function cut(bytes: Uint8Array, size: number, how = {}): IpPacket[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => {
    const end = Math.min(bytes.length, (i + 1) * size);
    return piece(bytes.subarray(i * size, end), i * size, end < bytes.length, how);
  });
}

Deno.test("take() makes a packet whole whatever the order and however often pieces come", () => {
  fc.assert(fc.property(
    fc.integer({ min: 9, max: 5000 }),
    fc.integer({ min: 1, max: 200 }),
    fc.constantFrom(0, 4, 40),
    fc.integer(),
    (length, units, options, seed) => {
      const random = new Random(seed);
      const bytes = new Uint8Array(length).map(() => random.below(256));
      const pieces = cut(bytes, Math.min(units * 8, (length - 1) & ~7), { options });
      const once = pieces.slice();
      for (let i = once.length - 1; i > 0; i--) {
        const j = random.below(i + 1);
        const [a, b] = [once[i], once[j]];
        if (a && b) [once[i], once[j]] = [b, a];
      }
      // Repetitions of anything but the last to come, which would begin another packet.
      const order = once.flatMap((p, i) => i > 0 ? [once[random.below(i)] ?? p, p] : [p]);
      const reassembly = new Reassembly();
      const whole = order.map((p) => reassembly.take(p, 0)).filter((one) => one !== undefined);
      assert.equal(whole.length, 1);
      assert.ok(whole[0]);
      assert.deepEqual(payloadOf(whole[0]), bytes);
      assert.equal(reassembly.waiting, 0);
      assert.equal(reassembly.counters.overlaps, 0);
    },
  ));
});

Deno.test("take() keeps packets apart by source, protocol and identification", () => {
  const reassembly = new Reassembly();
  const kinds = [{}, { id: 2 }, { from: LEFT + 7 }, { protocol: 99 }];
  const pieces = kinds.map((how, i) => cut(new Uint8Array(16).fill(i), 8, how));
  for (const [first] of pieces) assert.equal(first && reassembly.take(first, 0), undefined);
  assert.equal(reassembly.waiting, kinds.length);
  for (const [i, [, last]] of pieces.entries()) {
    const whole = last && reassembly.take(last, 0);
    assert.deepEqual(whole && payloadOf(whole), new Uint8Array(16).fill(i));
  }
});

const OVERLAPS: readonly { what: string; pieces: () => IpPacket[] }[] = [
  {
    what: "a piece covers the end of another",
    pieces: () => [piece(new Uint8Array(16), 0, true), piece(new Uint8Array(16), 8, true)],
  },
  {
    what: "the same piece comes with other bytes",
    pieces: () => [
      piece(new Uint8Array(16), 0, true),
      piece(new Uint8Array(16).fill(1), 0, true),
    ],
  },
  {
    what: "a piece lies behind the last one",
    pieces: () => [piece(new Uint8Array(8), 8, false), piece(new Uint8Array(8), 16, true)],
  },
  {
    what: "the last piece ends in front of another",
    pieces: () => [piece(new Uint8Array(8), 24, true), piece(new Uint8Array(8), 16, false)],
  },
  {
    what: "there are two last pieces",
    pieces: () => [piece(new Uint8Array(8), 16, false), piece(new Uint8Array(8), 24, false)],
  },
];

for (const { what, pieces } of OVERLAPS) {
  Deno.test(`take() gives the whole packet up when ${what}`, () => {
    const reassembly = new Reassembly();
    for (const one of pieces()) assert.equal(reassembly.take(one, 0), undefined);
    assert.equal(reassembly.counters.overlaps, 1);
    for (const one of cut(new Uint8Array(64), 8)) {
      assert.equal(reassembly.take(one, 0), undefined);
    }
    // Once it is forgotten, the identification is as good as any.
    const again = cut(new Uint8Array(16), 8).map((one) => reassembly.take(one, HOLD_MS));
    assert.ok(again[1] !== undefined);
  });
}

Deno.test("take() refuses a piece that is empty, uneven or too far out", () => {
  const reassembly = new Reassembly();
  assert.equal(reassembly.take(piece(new Uint8Array(0), 8, false), 0), undefined);
  assert.equal(reassembly.take(piece(new Uint8Array(9), 0, true), 0), undefined);
  assert.equal(reassembly.take(piece(new Uint8Array(16), 65528, false), 0), undefined);
  assert.equal(reassembly.counters.bad, 3);
  assert.equal(reassembly.waiting, 0);
});

Deno.test("tick() forgets a packet 30 s after its first piece, and says when", () => {
  const reassembly = new Reassembly();
  assert.equal(reassembly.tick(0), Infinity);
  reassembly.take(piece(new Uint8Array(8), 0, true), 100);
  reassembly.take(piece(new Uint8Array(8), 8, true), 200);
  assert.equal(reassembly.tick(200), 100 + HOLD_MS);
  assert.equal(reassembly.tick(100 + HOLD_MS), Infinity);
  assert.equal(reassembly.waiting, 0);
  assert.equal(reassembly.counters.late, 1);
});

Deno.test("take() gives up the oldest packet of a source that has too many", () => {
  const reassembly = new Reassembly();
  const others = LEFT + 7;
  reassembly.take(piece(new Uint8Array(8), 0, true, { from: others, id: 7 }), 0);
  for (let id = 0; id <= MAX_OF_SOURCE; id++) {
    reassembly.take(piece(new Uint8Array(8), 0, true, { id }), 0);
  }
  assert.equal(reassembly.waiting, MAX_OF_SOURCE + 1);
  assert.equal(reassembly.counters.evicted, 1);
  const end = (id: number, from = LEFT): IpPacket =>
    piece(new Uint8Array(8), 8, false, { id, from });
  assert.ok(reassembly.take(end(1), 0) !== undefined);
  assert.ok(reassembly.take(end(7, others), 0) !== undefined);
  assert.equal(reassembly.take(end(0), 0), undefined);
});

Deno.test("take() gives up a packet of whoever holds most when all places are taken", () => {
  const reassembly = new Reassembly();
  const begin = (from: number, id: number): void => {
    assert.equal(reassembly.take(piece(new Uint8Array(8), 0, true, { from, id }), 0), undefined);
  };
  const ends = (from: number, id: number): boolean =>
    reassembly.take(piece(new Uint8Array(8), 8, false, { from, id }), 0) !== undefined;
  begin(LEFT, 1);
  begin(LEFT, 2);
  // Four strangers take all they can, and go on; there is no place left.
  const strangers = [11, 12, 13, 14].map((n) => LEFT + n);
  for (let id = 0; id < 3 * MAX_OF_SOURCE; id++) for (const one of strangers) begin(one, id);
  assert.equal(reassembly.waiting, MAX_DATAGRAMS);
  // Who holds less than they do gets a place, and keeps those that he has.
  begin(LEFT, 3);
  assert.equal(reassembly.waiting, MAX_DATAGRAMS);
  assert.deepEqual([1, 2, 3].map((id) => ends(LEFT, id)), [true, true, true]);
  assert.ok(strangers.every((one) => ends(one, 3 * MAX_OF_SOURCE - 1)));
});

Deno.test("take() holds to its limits on any sequence of pieces", () => {
  const reassembly = new Reassembly();
  const random = new Random(7);
  let whole = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = new Uint8Array(random.below(5) * 8 + random.below(2));
    const from = LEFT + 10 + random.below(6);
    const how = { id: random.below(60), options: random.below(3) * 4, from };
    const made = reassembly.take(piece(bytes, random.below(4) * 8, random.below(2) === 0, how), i);
    if (made !== undefined) {
      whole++;
      payloadOf(made);
    }
    assert.ok(reassembly.waiting <= MAX_DATAGRAMS);
  }
  assert.ok(whole > 100, `${whole}`);
});
