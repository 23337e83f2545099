import assert from "node:assert/strict";
import fc from "fast-check";
import {
  MemorySink,
  MemoryWriter,
  obviousSum,
  segment,
  type SegmentFields,
} from "./_offload_fixture.ts";
import { OffloadJoin } from "./offload_join.ts";
import { OffloadSplit } from "./offload_split.ts";

const ACK = 0x10;
const PSH_ACK = 0x18;
const NO_OPTIONS = new Uint8Array(0);

/** Joins packets and returns what reached the device, virtio headers first. */
function join(packets: readonly Uint8Array[], unsummed: readonly number[] = []): Uint8Array[] {
  const buffer = new Uint8Array(new ArrayBuffer(256 * 1024)).fill(0xa5);
  const writer = new MemoryWriter();
  const sink = new OffloadJoin(buffer, writer);
  writer.buffer = buffer;
  for (const [i, packet] of packets.entries()) {
    const at = sink.reserve(packet.length);
    sink.buffer.set(packet, at);
    if (unsummed.includes(i)) sink.commitUnsummed(packet.length);
    else sink.commit(packet.length);
  }
  sink.flush();
  return writer.packets;
}

/** Cuts what reached the device as the kernel would. */
function splitAll(large: readonly Uint8Array[]): Uint8Array[] {
  const sink = new MemorySink();
  for (const packet of large) {
    assert.equal(typeof new OffloadSplit(packet).split(0, packet.length, sink), "number");
  }
  return sink.packets;
}

/** `count` segments of `size` bytes in a row. */
function run(count: number, size: number, fields: Partial<SegmentFields> = {}): Uint8Array[] {
  const options = fields.options ?? NO_OPTIONS;
  return Array.from({ length: count }, (_, i) =>
    segment({
      flags: i === count - 1 ? PSH_ACK : ACK,
      payload: new Uint8Array(size).map((_, j) => i + j),
      ...fields,
      options,
      id: ((fields.id ?? 100) + i) & 0xffff,
      seq: ((fields.seq ?? 1000) + i * size) >>> 0,
    }));
}

Deno.test("OffloadJoin makes one packet of the segments of one flow", () => {
  const [large, ...more] = join(run(40, 1348, { options: new Uint8Array(12).fill(1) }));
  assert.equal(more.length, 0);
  assert.ok(large);
  const view = new DataView(large.buffer);
  assert.equal(large.length, 10 + 52 + 40 * 1348);
  // needs checksum, TCPv4, 52 bytes of headers, 1348 a segment, checksum at 20 + 16
  assert.equal(large.subarray(0, 10).toHex(), "01013400440514001000");
  assert.equal(view.getUint16(12), large.length - 10);
});

Deno.test("OffloadJoin: split(join(x)) gives x back for flows that mix, break off and begin anew", () => {
  const piece = fc.record({
    count: fc.integer({ min: 1, max: 60 }),
    size: fc.integer({ min: 1, max: 1400 }),
    options: fc.constantFrom(0, 12),
    id: fc.constantFrom(0, 100, 65_530),
    seq: fc.constantFrom(1000, 0xffff_fe00),
    port: fc.constantFrom(1, 2),
    flags: fc.constantFrom(ACK, PSH_ACK, 0x11, 0x02, 0x90),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 4 }), (pieces) => {
      const packets = pieces.flatMap(({ count, size, flags, options, ...rest }) => {
        const all = run(count, size, { ...rest, options: new Uint8Array(options).fill(1) });
        // One odd segment at the end.
        return [
          ...all,
          segment({
            ...rest,
            seq: rest.seq + count * size,
            id: (rest.id + count) & 0xffff,
            flags,
            options: new Uint8Array(options).fill(1),
            payload: new Uint8Array(3),
          }),
        ];
      });
      const back = splitAll(join(packets));
      assert.deepEqual(back.map((p) => p.toHex()), packets.map((p) => p.toHex()));
    }),
    { numRuns: 60 },
  );
});

Deno.test("OffloadJoin leaves every packet as it is, in order, whatever its bytes", () => {
  const damaged = fc.record({ at: fc.nat(60), value: fc.nat(255), which: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(damaged, { maxLength: 6 }), (changes) => {
      const packets = run(6, 100);
      for (const { at, value, which } of changes) {
        const packet = packets[which];
        if (packet !== undefined) packet[at] = value;
      }
      const back = splitAll(join(packets));
      assert.deepEqual(back.map((p) => p.toHex()), packets.map((p) => p.toHex()));
    }),
  );
});

Deno.test("OffloadJoin never throws on any bytes", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (packets) => {
    assert.equal(join(packets).length, packets.length);
  }));
});

Deno.test("OffloadJoin does not join a segment whose checksum is wrong", () => {
  const packets = run(3, 100);
  const middle = packets[1];
  assert.ok(middle);
  middle[60] = (middle[60] ?? 0) ^ 1;
  assert.deepEqual(join(packets).map((p) => p.length), [150, 150, 150]);
});

Deno.test("OffloadJoin never makes a packet longer than IP can say", () => {
  const large = join(run(100, 1400));
  assert.ok(large.length >= 3);
  for (const packet of large) assert.ok(packet.length - 10 <= 65_535);
});

/** What stands in the checksum field of a packet that comes without one: the sum of its pseudo header. */
function withoutSum(packet: Uint8Array): Uint8Array {
  const length = packet.length - 20;
  const pseudo = obviousSum(packet.subarray(12, 20), Uint8Array.of(0, 6, length >>> 8, length));
  new DataView(packet.buffer).setUint16(36, pseudo);
  return packet;
}

Deno.test("OffloadJoin joins segments without checksums, and what is cut again has them", () => {
  const packets = run(40, 1348).map(withoutSum);
  const joined = join(packets, Array.from(packets.keys()));
  assert.equal(joined.length, 1);
  assert.equal(joined[0]?.subarray(0, 10).toHex(), "01012800440514001000");
  const want = run(40, 1348).map((p) => p.toHex());
  assert.deepEqual(splitAll(joined).map((p) => p.toHex()), want);
});

Deno.test("OffloadJoin says so of a single segment without a checksum, with data or without", () => {
  const whole = [run(1, 500), run(1, 0)].flat();
  const joined = join([run(1, 500), run(1, 0)].flat().map(withoutSum), [0, 1]);
  assert.deepEqual(joined.map((p) => p.subarray(0, 10).toHex()), [
    "01000000000014001000",
    "01000000000014001000",
  ]);
  assert.deepEqual(splitAll(joined).map((p) => p.toHex()), whole.map((p) => p.toHex()));
});

Deno.test("OffloadJoin does not join segments with and without checksums", () => {
  const packets = run(4, 100);
  for (const i of [1, 2]) withoutSum(packets[i] ?? new Uint8Array(40));
  assert.deepEqual(join(packets, [1, 2]).map((p) => p.length), [150, 250, 150]);
  // Positive control.
  assert.deepEqual(join(run(4, 100)).map((p) => p.length), [450]);
});
