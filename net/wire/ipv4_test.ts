import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { writeU16 } from "./bytes.ts";
import { checksum } from "./checksum.ts";
import {
  icmpPacket,
  ipv4Packet,
  tcpPacket,
  udpPacket,
} from "../../tests/doubles/captured_packets.ts";
import {
  formatIpv4,
  IPV4_CHECKSUM,
  IPV4_HEADER_LEN,
  type Ipv4Fault,
  ipv4HeaderSum,
  type Ipv4Packet,
  parseIpv4Packet,
  PROTOCOL,
  writeIpv4,
} from "./ipv4.ts";

const GUEST = 0xc0a86402;
const GATEWAY = 0xc0a86401;

Deno.test("N2: parseIpv4Packet() reads a captured UDP packet", () => {
  const packet = ipv4Packet("dns");
  assert.deepEqual(packet, {
    source: GUEST,
    destination: GATEWAY,
    protocol: PROTOCOL.udp,
    ttl: 64,
    identification: 0x4e86,
    fragment: false,
    fragmentOffset: 0,
    headerLength: 20,
    options: new Uint8Array(0),
    payload: captured("dns").slice(34),
  });
});

Deno.test("N2: parseIpv4Packet() reads a captured TCP packet", () => {
  const packet = ipv4Packet("tcpSyn");
  assert.deepEqual([packet.source, packet.destination, packet.protocol], [
    GUEST,
    GATEWAY,
    PROTOCOL.tcp,
  ]);
});

Deno.test("N2: parseIpv4Packet() reads a captured ICMP echo request", () => {
  const packet = ipv4Packet("ping");
  assert.deepEqual([packet.protocol, packet.payload.length], [PROTOCOL.icmp, 64]);
  assert.equal(icmpPacket("ping").type, 8);
});

Deno.test("N2: parseIpv4Packet() tells options from payload", () => {
  const packet = ipv4Packet("pingRecordRoute");
  assert.equal(packet.headerLength, 60);
  assert.equal(packet.options.length, 40);
  assert.equal(packet.options.toHex().slice(0, 16), "01072708c0a86402");
  assert.equal(packet.payload.length, 64);
});

Deno.test("N2: parseIpv4Packet() refuses every header that is cut", () => {
  const packet = captured("pingRecordRoute").subarray(14);
  for (let n = 0; n < 60; n++) assert.equal(parseIpv4Packet(packet.subarray(0, n)), "truncated");
});

Deno.test.each([0, 1, 2, 3, 4])(
  "N2: parseIpv4Packet() refuses a header length of %i words",
  (words) => {
    const packet = captured("dns").subarray(14);
    packet[0] = 0x40 | words;
    assert.equal(parseIpv4Packet(packet), "bad-header-length");
  },
);

Deno.test("N2: the destination port of a UDP packet is found", () => {
  assert.equal(udpPacket("dns").destinationPort, 53);
  assert.equal(udpPacket("wireguard").destinationPort, 51820);
});

Deno.test("N2: the destination port of a TCP packet is found", () => {
  assert.equal(tcpPacket("tcpSyn").destinationPort, 22);
});

Deno.test("N2: the payload of a UDP packet is found", () => {
  assert.equal(new TextDecoder().decode(udpPacket("dns").payload), "hello");
  assert.equal(udpPacket("wireguard").payload.length, 32);
});

Deno.test("N2: parseIpv4Packet() recognises a fragment", () => {
  const packet = ipv4Packet("lastFragment");
  assert.deepEqual([packet.fragment, packet.fragmentOffset], [true, 1480]);
  const first = captured("ping").subarray(14);
  first[6] = 0x20;
  fixChecksum(first);
  const parsed = parse(first);
  assert.deepEqual([parsed.fragment, parsed.fragmentOffset], [true, 0]);
});

const bad: { what: string; hex: string; want: Ipv4Fault }[] = [
  { what: "version 6", hex: "6500", want: "bad-version" },
  { what: "version 0", hex: "0500", want: "bad-version" },
  { what: "a total length below the header's", hex: "45000013", want: "bad-length" },
  { what: "a total length past the end", hex: "45000022", want: "bad-length" },
  { what: "a wrong checksum", hex: "4501", want: "bad-checksum" },
];

Deno.test.each(bad)("parseIpv4Packet() refuses $what: $want", ({ hex, want }) => {
  const packet = captured("dns").subarray(14);
  packet.set(Uint8Array.fromHex(hex));
  assert.equal(parseIpv4Packet(packet), want);
});

Deno.test("parseIpv4Packet() leaves padding out of the payload", () => {
  const padded = new Uint8Array(46).fill(0xa5);
  padded.set(captured("dns").subarray(14));
  assert.equal(parse(padded).payload.length, 13);
});

Deno.test("parseIpv4Packet() never throws on any bytes", () => {
  const header = fc.uint8Array({ maxLength: 80 });
  fc.assert(fc.property(header, fc.boolean(), (bytes, plausible) => {
    if (plausible && bytes.length >= IPV4_HEADER_LEN) {
      bytes[0] = 0x40 | ((bytes[0] ?? 0) & 15);
      writeU16(bytes, 2, bytes.length);
      fixChecksum(bytes);
    }
    parseIpv4Packet(bytes);
  }));
});

Deno.test("parseIpv4Packet(writeIpv4(x)) gives x back", () => {
  const ip = fc.nat(0xffffffff);
  const short = fc.nat(65535);
  fc.assert(
    fc.property(
      ip,
      ip,
      fc.nat(255),
      short,
      fc.uint8Array({ maxLength: 40 }),
      (s, d, p, id, body) => {
        const out = new Uint8Array(IPV4_HEADER_LEN + body.length).fill(0xa5);
        out.set(body, IPV4_HEADER_LEN);
        writeIpv4(out, 0, s, d, p, out.length, id);
        assert.deepEqual(parse(out), {
          source: s,
          destination: d,
          protocol: p,
          ttl: 64,
          identification: id,
          fragment: false,
          fragmentOffset: 0,
          headerLength: 20,
          options: new Uint8Array(0),
          payload: body,
        });
      },
    ),
  );
});

Deno.test("ipv4HeaderSum() is 0xffff for every captured header without options", () => {
  for (
    const name of ["dns", "tcpSyn", "tcpReset", "ping", "lastFragment", "unreachable"] as const
  ) {
    assert.equal(ipv4HeaderSum(captured(name), 14), 0xffff);
  }
});

Deno.test.each([
  { name: "ping" as const, want: "192.168.100.2 > 192.168.100.1 proto 1 len 64" },
  {
    name: "lastFragment" as const,
    want: "192.168.100.2 > 192.168.100.1 proto 1 len 8 frag at 1480",
  },
])("formatIpv4() writes $want", ({ name, want }) => {
  assert.equal(formatIpv4(ipv4Packet(name)), want);
});

function parse(bytes: Uint8Array): Ipv4Packet {
  const packet = parseIpv4Packet(bytes);
  assert.ok(typeof packet !== "string", `${packet}`);
  return packet;
}

function fixChecksum(packet: Uint8Array): void {
  writeU16(packet, IPV4_CHECKSUM, 0);
  const length = ((packet[0] ?? 0) & 15) * 4;
  writeU16(packet, IPV4_CHECKSUM, checksum(packet, 0, length));
}
