import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { udpPacket } from "../../tests/doubles/captured_packets.ts";
import { readU16, writeU16 } from "./bytes.ts";
import {
  formatUdp,
  parseUdp,
  UDP_CHECKSUM,
  UDP_HEADER_LEN,
  udpChecksumValid,
  writeUdp,
} from "./udp.ts";

const GUEST = 0xc0a86402;
const GATEWAY = 0xc0a86401;

Deno.test("parseUdp() reads every field of a captured datagram", () => {
  assert.deepEqual(udpPacket("dns"), {
    sourcePort: 40000,
    destinationPort: 53,
    checksum: 0xd637,
    payload: new TextEncoder().encode("hello"),
  });
});

Deno.test.each([
  { hex: "", want: "truncated" },
  { hex: "bf000035000c12", want: "truncated" },
  { hex: "bf00003500070000", want: "bad-length" },
  { hex: "bf00003500090000", want: "bad-length" },
])("parseUdp($hex) refuses: $want", ({ hex, want }) => {
  assert.equal(parseUdp(Uint8Array.fromHex(hex)), want);
});

Deno.test("parseUdp() never throws on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (b) => {
    parseUdp(b);
  }));
});

Deno.test("udpChecksumValid() accepts a captured datagram and refuses any flipped bit of it", () => {
  const frame = captured("dns");
  const length = frame.length - 34;
  assert.equal(udpChecksumValid(frame, 34, length, GUEST, GATEWAY), true);
  for (let bit = 0; bit < 8 * length; bit++) {
    const broken = captured("dns");
    broken[34 + (bit >> 3)] = (broken[34 + (bit >> 3)] ?? 0) ^ (1 << (bit & 7));
    assert.equal(udpChecksumValid(broken, 34, length, GUEST, GATEWAY), false, `bit ${bit}`);
  }
});

Deno.test("udpChecksumValid() accepts a datagram whose sender computed none", () => {
  const frame = captured("dns");
  writeU16(frame, 34 + UDP_CHECKSUM, 0);
  assert.equal(udpChecksumValid(frame, 34, frame.length - 34, GUEST, GATEWAY), true);
});

Deno.test("writeUdp() never sends 0 for a checksum that is 0", () => {
  const out = new Uint8Array(UDP_HEADER_LEN + 2).fill(0xa5);
  // The pseudo header, ports and length of this datagram and this word add up to 0xffff.
  writeU16(out, UDP_HEADER_LEN, 0xffff - (17 + 10 + 10));
  writeUdp(out, 0, 0, 0, 0, 0, 2);
  assert.equal(readU16(out, UDP_CHECKSUM), 0xffff);
  assert.equal(udpChecksumValid(out, 0, out.length, 0, 0), true);
});

Deno.test("parseUdp(writeUdp(x)) gives x back with a valid checksum", () => {
  const ip = fc.nat(0xffffffff);
  const port = fc.nat(65535);
  const body = fc.uint8Array({ maxLength: 64 });
  fc.assert(fc.property(ip, port, ip, port, body, (source, from, destination, to, payload) => {
    // Dirty buffer: a field that is not written shows up here.
    const out = new Uint8Array(UDP_HEADER_LEN + payload.length).fill(0xa5);
    out.set(payload, UDP_HEADER_LEN);
    writeUdp(out, 0, source, from, destination, to, payload.length);
    const checksum = readU16(out, UDP_CHECKSUM);
    assert.deepEqual(parseUdp(out), { sourcePort: from, destinationPort: to, checksum, payload });
    assert.notEqual(checksum, 0);
    assert.equal(udpChecksumValid(out, 0, out.length, source, destination), true);
  }));
});

Deno.test("formatUdp() writes both ends and the length of the payload", () => {
  assert.equal(
    formatUdp(udpPacket("dns"), GUEST, GATEWAY),
    "UDP 192.168.100.2:40000 > 192.168.100.1:53 len 5",
  );
});
