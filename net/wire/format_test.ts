import assert from "node:assert/strict";
import fc from "fast-check";
import { CAPTURED, captured, type CapturedName } from "../../tests/doubles/captured_frames.ts";
import { formatFrame, formatPacket } from "./format.ts";

const LINES: Record<CapturedName, string> = {
  arpRequest: "ARP who-has 192.168.100.1 tell 192.168.100.2",
  arpReply: "ARP 192.168.100.1 is-at 02:00:00:00:64:01",
  wireguard: "UDP 192.168.100.2:40000 > 192.168.100.1:51820 len 32",
  dns: "UDP 192.168.100.2:40000 > 192.168.100.1:53 len 5",
  tcpSyn: "TCP 192.168.100.2:60398 > 192.168.100.1:22 SYN len 0",
  tcpReset: "TCP 192.168.100.1:22 > 192.168.100.2:60398 RST|ACK len 0",
  ping: "ICMP 192.168.100.2 > 192.168.100.1 echo request id 30855 seq 1 len 56",
  pingRecordRoute: "ICMP 192.168.100.2 > 192.168.100.1 echo request id 30856 seq 1 len 56",
  lastFragment: "IPv4 192.168.100.2 > 192.168.100.1 proto 1 len 8 frag at 1480",
  unreachable: "ICMP 192.168.100.1 > 192.168.100.2 unreachable code 3 len 33",
  routerSolicitation: "Ethernet 52:54:00:00:64:02 > 33:33:00:00:00:02 type 0x86dd len 56",
};

Deno.test("formatFrame() writes one line for every captured frame", () => {
  for (const [name, want] of Object.entries(LINES)) {
    const frame = captured(name as CapturedName);
    assert.equal(formatFrame(frame, 0, frame.length), want);
  }
});

Deno.test("formatFrame() takes a frame out of the middle of a buffer", () => {
  const buffer = Uint8Array.fromHex(`a5a5a5${CAPTURED.dns}a5a5`);
  assert.equal(formatFrame(buffer, 3, 47), LINES.dns);
});

Deno.test.each([
  { name: "dns" as const, length: 13, want: "Ethernet truncated (13 bytes)" },
  { name: "arpReply" as const, length: 41, want: "ARP truncated (27 bytes)" },
  { name: "dns" as const, length: 33, want: "IPv4 truncated (19 bytes)" },
  { name: "dns" as const, length: 46, want: "IPv4 bad-length (32 bytes)" },
])("formatFrame() says how far a cut frame parses: $want", ({ name, length, want }) => {
  assert.equal(formatFrame(captured(name), 0, length), want);
});

Deno.test.each([
  { protocol: 17, head: "UDP truncated, " },
  { protocol: 6, head: "TCP truncated, " },
  { protocol: 1, head: "ICMP truncated, " },
  { protocol: 47, head: "IPv4 " },
])("formatPacket() says which protocol does not parse: $head", ({ protocol, head }) => {
  // A header of 20 bytes, total length 24, checksum completed for the protocol.
  const packet = Uint8Array.fromHex("4500001800000000400000000a0000020a000001ffffffff");
  packet[9] = protocol;
  const sum = 0x4500 + 0x18 + 0x4000 + protocol + 0x0a00 * 2 + 2 + 1;
  packet[10] = ~sum >>> 8;
  packet[11] = ~sum;
  assert.equal(formatPacket(packet, 0, 24), `${head}10.0.0.2 > 10.0.0.1 proto ${protocol} len 4`);
});

Deno.test("formatFrame() never throws on any bytes", () => {
  const frame = fc.constantFrom(...Object.keys(CAPTURED) as CapturedName[]).map(captured);
  fc.assert(
    fc.property(frame, fc.nat(140), fc.nat(140), fc.nat(255), (bytes, length, at, value) => {
      bytes[at] = value;
      formatFrame(bytes, 0, length);
    }),
    { numRuns: 2000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
    formatFrame(bytes, 0, bytes.length);
  }));
});
