import assert from "node:assert/strict";
import fc from "fast-check";
import { MemorySink, obviousSum, segment, tcpSum } from "./_offload_fixture.ts";
import { OffloadSplit } from "./offload_split.ts";

const PSH_ACK = 0x18;

/** A virtio header in front of `packet`. */
function withHeader(
  packet: Uint8Array,
  fields: { flags: number; type: number; gso: number; start: number; offset: number },
): Uint8Array {
  const out = new Uint8Array(10 + packet.length);
  const view = new DataView(out.buffer);
  view.setUint8(0, fields.flags);
  view.setUint8(1, fields.type);
  view.setUint16(4, fields.gso, true);
  view.setUint16(6, fields.start, true);
  view.setUint16(8, fields.offset, true);
  out.set(packet, 10);
  return out;
}

/** A super-packet as the kernel gives it: pseudo header's sum where the checksum belongs. */
function large(payload: Uint8Array, options: Uint8Array, gso: number, flags: number): Uint8Array {
  const packet = segment({ id: 65_534, seq: 0xffff_fff0, flags, options, payload });
  new DataView(packet.buffer).setUint16(36, 0x1234);
  return withHeader(packet, { flags: 1, type: 1, gso, start: 20, offset: 16 });
}

Deno.test("split() cuts a super-packet into the segments a sender would have sent", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 5000 }),
      fc.constantFrom(0, 12, 40),
      fc.integer({ min: 1, max: 1500 }),
      (payload, optionLength, gso) => {
        fc.pre(payload.length / gso < 100);
        const options = new Uint8Array(optionLength).fill(1);
        const input = large(payload, options, gso, PSH_ACK);
        const sink = new MemorySink();
        const count = new OffloadSplit(input).split(0, input.length, sink);
        assert.equal(count, Math.ceil(payload.length / gso));
        const want = Array.from({ length: Math.ceil(payload.length / gso) }, (_, i) =>
          segment({
            // Both wrap around.
            id: (65_534 + i) & 0xffff,
            seq: (0xffff_fff0 + i * gso) >>> 0,
            flags: (i + 1) * gso >= payload.length ? PSH_ACK : 0x10,
            options,
            payload: payload.subarray(i * gso, (i + 1) * gso),
          }));
        assert.deepEqual(sink.packets.map((p) => p.toHex()), want.map((p) => p.toHex()));
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("split() leaves FIN and PSH to the last segment and CWR to the first", () => {
  const input = large(new Uint8Array(30), new Uint8Array(0), 10, 0x80 | 0x10 | 0x08 | 0x01);
  const sink = new MemorySink();
  new OffloadSplit(input).split(0, input.length, sink);
  assert.deepEqual(sink.packets.map((p) => p[33]), [0x90, 0x10, 0x19]);
});

Deno.test("split() completes the checksum of a single packet", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 1400 }), (payload) => {
      const whole = segment({ id: 7, seq: 9, flags: 0x10, options: new Uint8Array(0), payload });
      const packet = whole.slice();
      const length = packet.length - 20;
      const pseudo = obviousSum(
        packet.subarray(12, 20),
        Uint8Array.of(0, 6, length >>> 8, length),
      );
      new DataView(packet.buffer).setUint16(36, pseudo);
      const input = withHeader(packet, { flags: 1, type: 0, gso: 0, start: 20, offset: 16 });
      const sink = new MemorySink();
      assert.equal(new OffloadSplit(input).split(0, input.length, sink), 1);
      assert.equal(tcpSum(sink.packets[0] ?? new Uint8Array(0)), 0xffff);
    }),
  );
});

Deno.test("split() passes on a packet that needs nothing", () => {
  const packet = new Uint8Array(100).fill(7);
  const input = withHeader(packet, { flags: 0, type: 0, gso: 0, start: 0, offset: 0 });
  const sink = new MemorySink();
  assert.equal(new OffloadSplit(input).split(0, input.length, sink), 1);
  assert.deepEqual(sink.packets, [packet]);
});

Deno.test("split() never throws on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(2), (bytes, type) => {
    if (bytes.length > 1) bytes[1] = type;
    const sink = new MemorySink();
    const result = new OffloadSplit(bytes).split(0, bytes.length, sink);
    if (typeof result === "string") assert.equal(sink.packets.length, 0);
  }));
});

/** Takes packets as they are, too. */
class WholeSink extends MemorySink {
  readonly whole: Uint8Array[] = [];
  takeWhole(buffer: Uint8Array, at: number, length: number): void {
    this.whole.push(buffer.slice(at, at + length));
  }
}

Deno.test("split() hands TCP without a checksum over as it is when the sink takes it", () => {
  const payload = new Uint8Array(40_000).map((_, i) => i);
  for (const type of [0, 1]) {
    const input = large(payload, new Uint8Array(12).fill(1), 1400, PSH_ACK);
    input[1] = type;
    const sink = new WholeSink();
    assert.equal(new OffloadSplit(input).split(0, input.length, sink), 1);
    assert.deepEqual(sink.whole.map((p) => p.toHex()), [input.subarray(10).toHex()]);
    assert.equal(sink.packets.length, 0);
  }
});

Deno.test("split() commits to such a sink what has its checksum, and what is not TCP", () => {
  const tcp = segment({
    id: 1,
    seq: 1,
    flags: PSH_ACK,
    options: new Uint8Array(0),
    payload: new Uint8Array(10),
  });
  const summed = withHeader(tcp, { flags: 0, type: 0, gso: 0, start: 0, offset: 0 });
  const udp = withHeader(tcp, { flags: 1, type: 0, gso: 0, start: 20, offset: 6 });
  udp[10 + 9] = 17;
  for (const input of [summed, udp]) {
    const sink = new WholeSink();
    assert.equal(new OffloadSplit(input).split(0, input.length, sink), 1);
    assert.deepEqual([sink.whole.length, sink.packets.length], [0, 1]);
  }
});

Deno.test("split() hands nothing malformed over, whatever the bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 10, maxLength: 200 }), (input) => {
    const sink = new WholeSink();
    new OffloadSplit(input).split(0, input.length, sink);
    for (const packet of sink.whole) {
      assert.equal((packet[0] ?? 0) >>> 4, 4);
      assert.equal(packet[9], 6);
      assert.ok(packet.length >= 40);
    }
  }));
});
