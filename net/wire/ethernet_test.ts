import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import {
  emitEthernet,
  ETH_HEADER_LEN,
  ETHERTYPE,
  formatEthernet,
  formatMac,
  MAC_BROADCAST,
  parseEthernet,
  parseMac,
  readMac,
  writeEthernet,
  writeMac,
} from "./ethernet.ts";

const GUEST = 0x525400006402;
const GATEWAY = 0x020000006401;

Deno.test("N1: parseEthernet() reads a captured IPv4 frame", () => {
  const bytes = captured("ping");
  assert.deepEqual(parseEthernet(bytes), {
    destination: GATEWAY,
    source: GUEST,
    type: ETHERTYPE.ipv4,
    payload: bytes.slice(14),
  });
});

Deno.test("N1: parseEthernet() reads a captured ARP frame", () => {
  const bytes = captured("arpRequest");
  assert.deepEqual(parseEthernet(bytes), {
    destination: MAC_BROADCAST,
    source: GUEST,
    type: ETHERTYPE.arp,
    payload: bytes.slice(14),
  });
});

Deno.test("N1: parseEthernet() reads a captured IPv6 frame", () => {
  const bytes = captured("routerSolicitation");
  assert.deepEqual(parseEthernet(bytes), {
    destination: 0x333300000002,
    source: GUEST,
    type: ETHERTYPE.ipv6,
    payload: bytes.slice(14),
  });
});

Deno.test("N1: parseEthernet() refuses every frame below 14 bytes", () => {
  const bytes = captured("ping");
  for (let n = 0; n < ETH_HEADER_LEN; n++) {
    assert.equal(parseEthernet(bytes.subarray(0, n)), "truncated");
  }
});

Deno.test("N1: parseEthernet() takes a header without payload", () => {
  const frame = parseEthernet(captured("ping").subarray(0, 14));
  assert.deepEqual(frame, {
    destination: GATEWAY,
    source: GUEST,
    type: ETHERTYPE.ipv4,
    payload: new Uint8Array(0),
  });
});

Deno.test("N1: emitEthernet(parseEthernet(x)) gives the bytes of x back", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 14, maxLength: 1514 }), (bytes) => {
    const frame = parseEthernet(bytes);
    assert.ok(typeof frame !== "string");
    assert.deepEqual(emitEthernet(frame), bytes);
  }));
});

Deno.test.each([
  { text: "00:00:00:00:00:00", mac: 0 },
  { text: "52:54:00:12:34:56", mac: 0x525400123456 },
  { text: "80:00:00:00:00:01", mac: 0x800000000001 },
  { text: "00:00:ff:ff:ff:ff", mac: 0x0000ffffffff },
  { text: "ff:ff:ff:ff:ff:ff", mac: MAC_BROADCAST },
])("N1: readMac() extracts $text", ({ text, mac }) => {
  const bytes = Uint8Array.fromHex(`a5${text.replaceAll(":", "")}a5`);
  assert.equal(readMac(bytes, 1), mac);
  assert.equal(parseMac(text), mac);
  assert.equal(formatMac(mac), text);
});

Deno.test("N1: parseEthernet() never throws on any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
    parseEthernet(bytes);
  }));
});

Deno.test("writeMac() writes six bytes and no other", () => {
  fc.assert(fc.property(fc.maxSafeNat(), (n) => {
    const mac = n % 2 ** 48;
    const out = new Uint8Array(8).fill(0xa5);
    writeMac(out, 1, mac);
    assert.equal(readMac(out, 1), mac);
    assert.deepEqual([out[0], out[7]], [0xa5, 0xa5]);
  }));
});

Deno.test("writeEthernet() writes every byte of the header", () => {
  const out = new Uint8Array(15).fill(0xa5);
  writeEthernet(out, 0, GATEWAY, GUEST, ETHERTYPE.arp);
  assert.equal(out.toHex(), "0200000064015254000064020806a5");
});

Deno.test.each([
  "",
  "52:54:00:12:34",
  "52:54:00:12:34:56:78",
  "52-54-00-12-34-56",
  "525400123456",
  "52:54:00:12:34:5g",
  " 52:54:00:12:34:56",
  "2:54:00:12:34:56",
])("parseMac(%j) refuses", (text) => {
  assert.equal(parseMac(text), undefined);
});

Deno.test("parseMac() takes upper case", () => {
  assert.equal(parseMac("AA:bb:CC:00:00:01"), 0xaabbcc000001);
});

Deno.test("formatEthernet() says who, to whom and what", () => {
  const frame = parseEthernet(captured("routerSolicitation"));
  assert.ok(typeof frame !== "string");
  assert.equal(
    formatEthernet(frame),
    "52:54:00:00:64:02 > 33:33:00:00:00:02 type 0x86dd len 56",
  );
});
