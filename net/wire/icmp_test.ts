import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { icmpPacket } from "../../tests/doubles/captured_packets.ts";
import { formatIcmp, ICMP, parseIcmp } from "./icmp.ts";

const GUEST = 0xc0a86402;
const GATEWAY = 0xc0a86401;

Deno.test("parseIcmp() reads every field of a captured echo request", () => {
  assert.deepEqual(icmpPacket("ping"), {
    type: ICMP.echoRequest,
    code: 0,
    rest: 30855 * 65536 + 1,
    data: captured("ping").slice(42),
  });
});

Deno.test("parseIcmp() reads a captured port unreachable", () => {
  const message = icmpPacket("unreachable");
  assert.deepEqual([message.type, message.code], [ICMP.unreachable, 3]);
});

Deno.test("parseIcmp() refuses every message below 8 bytes", () => {
  for (let n = 0; n < 8; n++) assert.equal(parseIcmp(new Uint8Array(n)), "truncated");
});

Deno.test("parseIcmp() refuses a wrong checksum", () => {
  const message = captured("ping").subarray(34);
  message[20] = (message[20] ?? 0) ^ 1;
  assert.equal(parseIcmp(message), "bad-checksum");
});

Deno.test("parseIcmp() never throws on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (b) => {
    parseIcmp(b);
  }));
});

Deno.test.each([
  { hex: "0800000000070001", want: "echo request id 7 seq 1 len 0" },
  { hex: "0000000000070001ff", want: "echo reply id 7 seq 1 len 1" },
  { hex: "0303000000000000", want: "unreachable code 3 len 0" },
  { hex: "0b00000000000000", want: "time exceeded code 0 len 0" },
  { hex: "2a01000000000000", want: "type 42 code 1 len 0" },
])("formatIcmp($hex) writes: $want", ({ hex, want }) => {
  assert.equal(
    formatIcmp(Uint8Array.fromHex(hex), GUEST, GATEWAY),
    `ICMP 192.168.100.2 > 192.168.100.1 ${want}`,
  );
});
