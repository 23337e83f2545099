/**
 * Each rule about a guest's frame, by a frame that is one step away from one that passes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { FilterBench } from "../../tests/doubles/filter_bench.ts";
import {
  fixHeaderChecksum,
  guestArp,
  guestFrame,
  wireguardMessage,
} from "../../tests/doubles/guest_frames.ts";
import { ARP_REPLY, parseArp } from "../wire/arp.ts";
import { writeU16 } from "../wire/bytes.ts";
import { GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC } from "./guest_link.ts";
import { countsByReason, REASONS } from "./verdict.ts";

Deno.test("N5: an ARP request for the gateway is answered as a kernel answers it", () => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(captured("arpRequest")), "answered");
  assert.deepEqual(bench.toGuest.take(), [captured("arpReply")]);
  assert.deepEqual(bench.toUplink.take(), []);
});

Deno.test("N5: an ARP request to the gateway's own MAC address is answered", () => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(guestArp({ destinationMac: GATEWAY_MAC })), "answered");
  const [frame] = bench.toGuest.take();
  assert.ok(frame);
  const arp = parseArp(frame.subarray(14));
  assert.ok(typeof arp !== "string");
  assert.equal(arp.opcode, ARP_REPLY);
});

Deno.test("N5: an ARP request that a driver padded to 60 bytes is answered", () => {
  const padded = new Uint8Array(60).fill(0xa5);
  padded.set(guestArp());
  assert.equal(new FilterBench().fromGuest(padded), "answered");
});

Deno.test.each([
  { what: "probe", arp: { senderIp: 0, targetIp: GUEST_ADDRESS } },
  { what: "announcement", arp: { targetIp: GUEST_ADDRESS } },
  { what: "announcement as a reply", arp: { targetIp: GUEST_ADDRESS, opcode: ARP_REPLY } },
])("N5: the guest's ARP $what is counted and not answered", ({ arp }) => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(guestArp(arp)), "announced");
  assert.deepEqual(bench.toGuest.take(), []);
  assert.deepEqual(bench.refused, []);
});

Deno.test.each([
  { what: "for the internet", arp: { targetIp: 0x08080808 } },
  { what: "for a neighbour", arp: { targetIp: GUEST_ADDRESS + 1 } },
  { what: "from an address that is not the guest's", arp: { senderIp: GUEST_ADDRESS + 1 } },
  { what: "from no address, for the gateway", arp: { senderIp: 0 } },
  { what: "with a sender that is not the guest", arp: { senderMac: GATEWAY_MAC } },
  { what: "reply for the gateway's address", arp: { opcode: ARP_REPLY } },
  { what: "with an unknown opcode", arp: { opcode: 8 } },
  {
    what: "reply that claims the gateway's address",
    arp: { senderIp: GATEWAY_ADDRESS, targetIp: GUEST_ADDRESS, opcode: ARP_REPLY },
  },
])("N5: ARP $what is refused: arp", ({ arp }) => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(guestArp(arp)), "arp");
  assert.deepEqual(bench.toGuest.take(), []);
  assert.equal(bench.refused.length, 1);
});

/** One refusal for each rule, each one step away from a frame that passes. */
const REFUSALS: { what: string; frame: () => Uint8Array; want: string }[] = [
  { what: "no bytes", frame: () => new Uint8Array(0), want: "truncated" },
  { what: "13 bytes", frame: () => guestFrame().subarray(0, 13), want: "truncated" },
  { what: "half an IPv4 header", frame: () => guestFrame().subarray(0, 33), want: "truncated" },
  { what: "a jumbo frame", frame: () => guestFrame({ payload: bytes(1473) }), want: "too-long" },
  { what: "9000 bytes", frame: () => guestFrame({ payload: bytes(8986) }), want: "too-long" },
  {
    what: "a spoofed MAC address",
    frame: () => guestFrame({ sourceMac: GUEST_MAC + 1 }),
    want: "source-mac",
  },
  {
    what: "the gateway's MAC address as source",
    frame: () => guestFrame({ sourceMac: GATEWAY_MAC }),
    want: "source-mac",
  },
  {
    what: "a broadcast",
    frame: () => guestFrame({ destinationMac: 0xffffffffffff }),
    want: "destination-mac",
  },
  {
    what: "another MAC address",
    frame: () => guestFrame({ destinationMac: GATEWAY_MAC + 1 }),
    want: "destination-mac",
  },
  {
    what: "ARP to another MAC address",
    frame: () => guestArp({ destinationMac: GATEWAY_MAC + 1 }),
    want: "destination-mac",
  },
  { what: "IPv6", frame: () => captured("routerSolicitation"), want: "ipv6" },
  { what: "an 802.1Q tag", frame: () => guestFrame({ type: 0x8100 }), want: "vlan" },
  { what: "an 802.1ad tag", frame: () => guestFrame({ type: 0x88a8 }), want: "vlan" },
  { what: "LLDP", frame: () => guestFrame({ type: 0x88cc }), want: "ether-type" },
  { what: "an 802.3 length", frame: () => guestFrame({ type: 100 }), want: "ether-type" },
  { what: "ARP cut short", frame: () => guestArp().subarray(0, 41), want: "truncated" },
  { what: "ARP with a tail", frame: () => padded(guestArp(), 61), want: "bad-length" },
  { what: "ARP for IPv6", frame: () => patched(guestArp(), 16, 0x86dd), want: "arp" },
  { what: "IP version 5", frame: () => patched(guestFrame(), 14, 0x5500), want: "bad-header" },
  {
    what: "a header of 4 words",
    frame: () => patched(guestFrame(), 14, 0x4400),
    want: "bad-header",
  },
  { what: "options", frame: () => captured("pingRecordRoute"), want: "options" },
  {
    what: "a total length below the frame's",
    frame: () => patched(guestFrame(), 16, 123),
    want: "bad-length",
  },
  {
    what: "a total length above the frame's",
    frame: () => patched(guestFrame(), 16, 125),
    want: "bad-length",
  },
  { what: "a tail", frame: () => padded(guestFrame(), 139), want: "bad-length" },
  {
    what: "a wrong checksum",
    frame: () => patched(guestFrame(), 24, 0x1234),
    want: "bad-checksum",
  },
  { what: "a first fragment", frame: () => guestFrame({ fragment: 0x2000 }), want: "fragment" },
  { what: "a later fragment", frame: () => captured("lastFragment"), want: "fragment" },
  { what: "a reserved flag", frame: () => guestFrame({ fragment: 0x8000 }), want: "fragment" },
  {
    what: "a spoofed address",
    frame: () => guestFrame({ source: GUEST_ADDRESS + 1 }),
    want: "source-address",
  },
  {
    what: "the gateway's address as source",
    frame: () => guestFrame({ source: GATEWAY_ADDRESS }),
    want: "source-address",
  },
  {
    what: "the internet",
    frame: () => guestFrame({ destination: 0x01010101, destinationPort: 53 }),
    want: "destination",
  },
  { what: "the LAN", frame: () => guestFrame({ destination: 0xc0a80101 }), want: "destination" },
  {
    what: "the lender's loopback",
    frame: () => guestFrame({ destination: 0x7f000001 }),
    want: "destination",
  },
  { what: "ICMP", frame: () => captured("ping"), want: "protocol" },
  { what: "TCP", frame: () => captured("tcpSyn"), want: "protocol" },
  { what: "protocol 255", frame: () => guestFrame({ protocol: 255 }), want: "protocol" },
  { what: "DNS at the gateway", frame: () => captured("dns"), want: "port" },
  { what: "source port 0", frame: () => guestFrame({ sourcePort: 0 }), want: "port" },
  {
    what: "a UDP length below the packet's",
    frame: () => patched(guestFrame(), 38, 103),
    want: "bad-length",
  },
  {
    what: "a UDP length above the packet's",
    frame: () => patched(guestFrame(), 38, 105),
    want: "bad-length",
  },
  { what: "half a UDP header", frame: () => cutTo(guestFrame(), 38), want: "bad-length" },
  {
    what: "a UDP length that agrees with half a header",
    frame: () => cutTo(patched(guestFrame(), 38, 6), 40),
    want: "bad-length",
  },
  {
    what: "no payload",
    frame: () => guestFrame({ payload: new Uint8Array(0) }),
    want: "not-wireguard",
  },
  {
    what: "text",
    frame: () => guestFrame({ payload: new TextEncoder().encode("GET / HTTP/1.1\r\n".repeat(4)) }),
    want: "not-wireguard",
  },
  {
    what: "a handshake of 147 bytes",
    frame: () => guestFrame({ payload: wireguardMessage(147, 1) }),
    want: "not-wireguard",
  },
  {
    what: "a reserved byte",
    frame: () => patched(guestFrame(), 44, 0x0001),
    want: "not-wireguard",
  },
];

Deno.test.each(REFUSALS)("N6: from the guest, $what is refused: $want", ({ frame, want }) => {
  const bench = new FilterBench();
  assert.equal(bench.fromGuest(frame()), want);
  assert.deepEqual(bench.toUplink.take(), []);
  assert.deepEqual(bench.toGuest.take(), []);
  assert.equal(bench.refused.length, 1);
  assert.deepEqual(countsByReason(bench.nat.counters.fromGuest), { [want]: 1 });
  // The control: the same filter still passes what is good.
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
});

Deno.test("N6: every verdict about a guest's frame is reached by a test above or below", () => {
  const reached = new Set(REFUSALS.map(({ want }) => want));
  const others = [
    "forwarded",
    "answered",
    "announced",
    "no-uplink",
    "no-room",
    "sender",
    "no-flow",
    "cut-off", // strategy_test.ts
  ];
  for (const word of others) reached.add(word);
  assert.deepEqual([...reached].sort(), [...REASONS].sort());
});

function bytes(length: number): Uint8Array {
  return new Uint8Array(length).fill(0x5a);
}

/** The frame with another 16-bit field; the header checksum is made right, except at its own place. */
function patched(frame: Uint8Array, at: number, value: number): Uint8Array {
  writeU16(frame, at, value);
  if (at >= 14 && at < 34 && at !== 24 && frame.length > 42) fixHeaderChecksum(frame);
  return frame;
}

function padded(frame: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length);
  out.set(frame);
  return out;
}

/** The first bytes of a frame, with a total length and checksum that agree with them. */
function cutTo(frame: Uint8Array, length: number): Uint8Array {
  writeU16(frame, 16, length - 14);
  fixHeaderChecksum(frame);
  return frame.subarray(0, length);
}
