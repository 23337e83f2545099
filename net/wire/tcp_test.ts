import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { tcpPacket } from "../../tests/doubles/captured_packets.ts";
import { formatTcp, formatTcpFlags, parseTcp, TCP_FLAG, tcpChecksumValid } from "./tcp.ts";

const GUEST = 0xc0a86402;
const GATEWAY = 0xc0a86401;

Deno.test("parseTcp() reads every field of a captured SYN", () => {
  assert.deepEqual(tcpPacket("tcpSyn"), {
    sourcePort: 60398,
    destinationPort: 22,
    sequence: 4213205800,
    acknowledgment: 0,
    flags: TCP_FLAG.syn,
    window: 64240,
    checksum: 0xd443,
    options: Uint8Array.fromHex("020405b40402080a784564e0000000000103030a"),
    payload: new Uint8Array(0),
  });
});

Deno.test("parseTcp() refuses every header that is cut", () => {
  const segment = captured("tcpSyn").subarray(34);
  for (let n = 0; n < 40; n++) assert.equal(parseTcp(segment.subarray(0, n)), "truncated");
});

Deno.test("parseTcp() refuses a data offset below five words", () => {
  const segment = captured("tcpReset").subarray(34);
  segment[12] = 0x40;
  assert.equal(parseTcp(segment), "bad-header-length");
});

Deno.test("parseTcp() never throws on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (b) => {
    parseTcp(b);
  }));
});

Deno.test("tcpChecksumValid() accepts what a kernel sent and refuses a flipped bit", () => {
  const frame = captured("tcpReset");
  assert.equal(tcpChecksumValid(frame, 34, 20, GATEWAY, GUEST), true);
  frame[40] = (frame[40] ?? 0) ^ 1;
  assert.equal(tcpChecksumValid(frame, 34, 20, GATEWAY, GUEST), false);
});

Deno.test("formatTcpFlags() names every bit", () => {
  assert.equal(formatTcpFlags(0xff), "FIN|SYN|RST|PSH|ACK|URG|ECE|CWR");
  assert.equal(formatTcpFlags(0), "none");
});

Deno.test("formatTcp() writes both ends, flags and the length of the payload", () => {
  assert.equal(
    formatTcp(tcpPacket("tcpReset"), GATEWAY, GUEST),
    "TCP 192.168.100.1:22 > 192.168.100.2:60398 RST|ACK len 0",
  );
});
