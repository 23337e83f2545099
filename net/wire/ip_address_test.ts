import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatIpv6,
  inPrefix,
  ipv4ToString,
  parseIpv4,
  parseIpv4Prefix,
  parseIpv6,
} from "./ip_address.ts";

Deno.test.each([
  { text: "0.0.0.0", value: 0 },
  { text: "255.255.255.255", value: 0xffffffff },
  { text: "192.168.100.1", value: 0xc0a86401 },
  { text: "10.0.0.100", value: 0x0a000064 },
])("parseIpv4($text) gives the address and ipv4ToString() the text", ({ text, value }) => {
  assert.equal(parseIpv4(text), value);
  assert.equal(ipv4ToString(value), text);
});

Deno.test.each([
  "",
  ".",
  "1",
  "1.2.3",
  "1.2.3.4.5",
  "1.2.3.",
  ".1.2.3",
  "1..2.3",
  "1.2.3.4.",
  "256.1.1.1",
  "1.2.3.999",
  "01.2.3.4",
  "00.0.0.0",
  "1.2.3.04",
  " 1.2.3.4",
  "1.2.3.4 ",
  "1.2.3.4\n",
  "1.2.3.4:5",
  "1.2.3.4/8",
  "+1.2.3.4",
  "-1.2.3.4",
  "1e1.2.3.4",
  "0x10.2.3.4",
  "１.2.3.4",
  "::1",
])("parseIpv4(%j) refuses", (text) => {
  assert.equal(parseIpv4(text), undefined);
});

Deno.test("parseIpv4(ipv4ToString(x)) gives x back", () => {
  fc.assert(fc.property(fc.nat(0xffffffff), (address) => {
    assert.equal(parseIpv4(ipv4ToString(address)), address);
  }));
});

Deno.test("parseIpv4() agrees with fast-check's addresses and never throws", () => {
  fc.assert(fc.property(fc.ipV4(), (text) => {
    const want = text.split(".").reduce((value, octet) => value * 256 + Number(octet), 0);
    assert.equal(parseIpv4(text), want);
  }));
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."0123456789.:/ xa") }), (text) => {
    parseIpv4(text);
    parseIpv4Prefix(text);
    parseIpv6(text);
  }));
});

Deno.test.each([
  { text: "::", hex: "00000000000000000000000000000000" },
  { text: "::1", hex: "00000000000000000000000000000001" },
  { text: "1::", hex: "00010000000000000000000000000000" },
  { text: "fe80::5054:ff:fe00:6402", hex: "fe80000000000000505400fffe006402" },
  { text: "2001:db8:1:2:3:4:5:6", hex: "20010db8000100020003000400050006" },
  { text: "2001:DB8::00ff", hex: "20010db80000000000000000000000ff" },
  { text: "1:2:3:4:5:6:7::", hex: "00010002000300040005000600070000" },
  { text: "::2:3:4:5:6:7:8", hex: "00000002000300040005000600070008" },
  { text: "::1.2.3.4", hex: "00000000000000000000000001020304" },
  { text: "::ffff:1.2.3.4", hex: "00000000000000000000ffff01020304" },
  { text: "64:ff9b::1.2.3.4", hex: "0064ff9b000000000000000001020304" },
  { text: "1:2:3:4:5:6:1.2.3.4", hex: "00010002000300040005000601020304" },
  { text: "1:2:3:4:5::1.2.3.4", hex: "00010002000300040005000001020304" },
])("parseIpv6($text) gives $hex", ({ text, hex }) => {
  assert.equal(parseIpv6(text)?.toHex(), hex);
});

Deno.test.each([
  "",
  ":",
  ":::",
  "1",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7:8::",
  "::1:2:3:4:5:6:7:8",
  "1:2:3:4::5:6:7:8",
  "1::2::3",
  "1:::2",
  ":1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:",
  "12345::",
  "g::",
  " ::1",
  "::1 ",
  "fe80::1%eth0",
  "[::1]",
  "1.2.3.4",
  "::1.2.3",
  "::1.2.3.04",
  "::1.2.3.4:5",
  ":1.2.3.4",
  ":::1.2.3.4",
  "1:::1.2.3.4",
  "1.2.3.4::",
  "1:2:3:4:5:6::1.2.3.4",
  "1:2:3:4:5:6:7:1.2.3.4",
])("parseIpv6(%j) refuses", (text) => {
  assert.equal(parseIpv6(text), undefined);
});

Deno.test.each([
  { hex: "20010db8000000000000000000000001", text: "2001:db8::1" },
  { hex: "20010db8000000010001000100010001", text: "2001:db8:0:1:1:1:1:1" },
  { hex: "20010000000000010000000000000001", text: "2001:0:0:1::1" },
  { hex: "20010db8000000000001000000000001", text: "2001:db8::1:0:0:1" },
  { hex: "00000000000000000000000000000000", text: "::" },
  { hex: "00010000000000000000000000000000", text: "1::" },
  { hex: "ABCD0001000200030004000500060007", text: "abcd:1:2:3:4:5:6:7" },
])("formatIpv6() writes $text as RFC 5952 says", ({ hex, text }) => {
  assert.equal(formatIpv6(Uint8Array.fromHex(hex)), text);
});

Deno.test("parseIpv6(formatIpv6(x)) gives x back", () => {
  const group = fc.oneof(fc.constant(0), fc.nat(65535));
  fc.assert(fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
    const bytes = new Uint8Array(groups.flatMap((g) => [g >>> 8, g & 255]));
    assert.deepEqual(parseIpv6(formatIpv6(bytes)), bytes);
  }));
});

Deno.test("parseIpv6() takes every address that fast-check writes", () => {
  fc.assert(fc.property(fc.ipV6(), (text) => {
    assert.equal(parseIpv6(text)?.length, 16, text);
  }));
});

Deno.test.each([
  { text: "0.0.0.0/0", want: { address: 0, mask: 0, bits: 0 } },
  { text: "10.0.0.0/16", want: { address: 0x0a000000, mask: 0xffff0000, bits: 16 } },
  { text: "128.0.0.0/1", want: { address: 0x80000000, mask: 0x80000000, bits: 1 } },
  { text: "1.2.3.4/32", want: { address: 0x01020304, mask: 0xffffffff, bits: 32 } },
])("parseIpv4Prefix($text) gives address, mask and bits", ({ text, want }) => {
  assert.deepEqual(parseIpv4Prefix(text), want);
});

Deno.test.each([
  "10.0.0.0",
  "10.0.0.0/",
  "10.0.0.0/33",
  "10.0.0.0/08",
  "10.0.0.0/-1",
  "10.0.0.0/1e1",
  "10.0.0.0/16/16",
  "10.0.0.1/16",
  "10.0/16",
  "/16",
])("parseIpv4Prefix(%j) refuses", (text) => {
  assert.equal(parseIpv4Prefix(text), undefined);
});

Deno.test("inPrefix() compares the bits of the mask, not text", () => {
  const lan = parseIpv4Prefix("10.0.0.0/16");
  const all = parseIpv4Prefix("0.0.0.0/0");
  const high = parseIpv4Prefix("192.0.0.0/2");
  assert.ok(lan && all && high);
  assert.equal(inPrefix(0x0a00ffff, lan), true);
  assert.equal(inPrefix(0x0a010000, lan), false);
  assert.equal(inPrefix(0xffffffff, all), true);
  assert.equal(inPrefix(0xffffffff, high), true);
  assert.equal(inPrefix(0x7fffffff, high), false);
});
