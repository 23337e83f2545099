import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { ARP_LEN, ARP_REPLY, ARP_REQUEST, formatArp, parseArp, writeArp } from "./arp.ts";

const REQUEST = captured("arpRequest").subarray(14);
const REPLY = captured("arpReply").subarray(14);

Deno.test("parseArp() reads a captured request and its reply", () => {
  assert.deepEqual(parseArp(REQUEST), {
    opcode: ARP_REQUEST,
    senderMac: 0x525400006402,
    senderIp: 0xc0a86402,
    targetMac: 0,
    targetIp: 0xc0a86401,
  });
  assert.deepEqual(parseArp(REPLY), {
    opcode: ARP_REPLY,
    senderMac: 0x020000006401,
    senderIp: 0xc0a86401,
    targetMac: 0x525400006402,
    targetIp: 0xc0a86402,
  });
});

Deno.test("parseArp() ignores padding", () => {
  const padded = new Uint8Array(46).fill(0xa5);
  padded.set(REQUEST);
  assert.deepEqual(parseArp(padded), parseArp(REQUEST));
});

Deno.test("parseArp() refuses every shorter packet", () => {
  for (let n = 0; n < ARP_LEN; n++) assert.equal(parseArp(REQUEST.subarray(0, n)), "truncated");
});

Deno.test.each([
  { what: "hardware type", at: 1 },
  { what: "protocol type", at: 2 },
  { what: "hardware length", at: 4 },
  { what: "protocol length", at: 5 },
])("parseArp() refuses another $what", ({ at }) => {
  const packet = REQUEST.slice();
  packet[at] = 0x42;
  assert.equal(parseArp(packet), "not-ipv4-over-ethernet");
});

Deno.test("parseArp() never throws on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
    parseArp(bytes);
  }));
});

Deno.test("parseArp(writeArp(x)) gives x back and writes 28 bytes", () => {
  const ip = fc.nat(0xffffffff);
  const mac = fc.maxSafeNat().map((n) => n % 2 ** 48);
  fc.assert(fc.property(fc.nat(65535), mac, ip, mac, ip, (opcode, senderMac, senderIp, tm, ti) => {
    const out = new Uint8Array(30).fill(0xa5);
    writeArp(out, 1, opcode, senderMac, senderIp, tm, ti);
    assert.deepEqual(parseArp(out.subarray(1)), {
      opcode,
      senderMac,
      senderIp,
      targetMac: tm,
      targetIp: ti,
    });
    assert.deepEqual([out[0], out[29]], [0xa5, 0xa5]);
  }));
});

Deno.test.each([
  { packet: REQUEST, want: "ARP who-has 192.168.100.1 tell 192.168.100.2" },
  { packet: REPLY, want: "ARP 192.168.100.1 is-at 02:00:00:00:64:01" },
])("formatArp() writes $want", ({ packet, want }) => {
  const arp = parseArp(packet);
  assert.ok(typeof arp !== "string");
  assert.equal(formatArp(arp), want);
});

Deno.test("formatArp() keeps an opcode that it does not know", () => {
  const packet = REQUEST.slice();
  packet[7] = 9;
  const arp = parseArp(packet);
  assert.ok(typeof arp !== "string");
  assert.equal(formatArp(arp), "ARP opcode 9 from 192.168.100.2");
});
