import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { FilterBench } from "../../tests/doubles/filter_bench.ts";
import { fixHeaderChecksum, guestArp, guestFrame } from "../../tests/doubles/guest_frames.ts";
import { writeU16 } from "../wire/bytes.ts";
import { GATEWAY_MAC, GUEST_ADDRESS } from "./guest_link.ts";
import { ConntrackStrategy } from "./strategy.ts";
import { VERDICT } from "./verdict.ts";
import { isViolation } from "./violation.ts";

const BROADCAST_MAC = 0xffffffffffff;
const BROADCAST = 0xffffffff;

interface Case {
  readonly what: string;
  readonly frame: () => Uint8Array;
  readonly want: string;
}

/** What a kernel or its usual programs send by themselves; the verdict stays a refusal. */
const NOISE: Case[] = [
  {
    what: "IPv6 router solicitation",
    frame: () => captured("routerSolicitation"),
    want: "ipv6",
  },
  {
    what: "MLD report to ff02::16",
    frame: () =>
      Uint8Array.fromHex(
        "33330000001652540000640286dd60000000002400010000000000000000000000000000000000ff02000000" +
          "00000000000000000000163a000502000001008f00" + "00".repeat(24),
      ),
    want: "ipv6",
  },
  {
    what: "DHCP discover",
    frame: () =>
      guestFrame({
        destinationMac: BROADCAST_MAC,
        source: 0,
        destination: BROADCAST,
        sourcePort: 68,
        destinationPort: 67,
        payload: new Uint8Array(300),
      }),
    want: "destination-mac",
  },
  {
    what: "IGMPv3 report to 224.0.0.22 with Router Alert",
    frame: () =>
      Uint8Array.fromHex(
        "01005e000016525400006402080046c000280000400001020000c0a86402e0000016940400002200fa010000" +
          "000104000000e00000fb",
      ),
    want: "destination-mac",
  },
  {
    what: "mDNS",
    frame: () =>
      guestFrame({
        destinationMac: 0x01005e0000fb,
        destination: 0xe00000fb,
        destinationPort: 5353,
      }),
    want: "destination-mac",
  },
  {
    what: "ARP announcement",
    frame: () => guestArp({ targetIp: GUEST_ADDRESS }),
    want: "announced",
  },
  {
    what: "ICMP port unreachable to the gateway",
    frame: () => {
      const frame = guestFrame({ protocol: 1 });
      frame.set([3, 3], 34);
      return frame;
    },
    want: "protocol",
  },
];

/** What nobody sends by accident. */
const VIOLATIONS: Case[] = [
  { what: "a stranger", frame: () => guestFrame({ destination: 0xc0a80101 }), want: "destination" },
  { what: "DNS at the gateway", frame: () => captured("dns"), want: "port" },
  { what: "a ping", frame: () => captured("ping"), want: "protocol" },
  { what: "TCP", frame: () => captured("tcpSyn"), want: "protocol" },
  { what: "a fragment", frame: () => captured("lastFragment"), want: "fragment" },
  { what: "options", frame: () => captured("pingRecordRoute"), want: "options" },
  {
    what: "no tunnel",
    frame: () => guestFrame({ payload: new Uint8Array(64) }),
    want: "not-wireguard",
  },
  {
    what: "another's address",
    frame: () => guestFrame({ source: 0xc0a86403 }),
    want: "source-address",
  },
  {
    what: "another's MAC address",
    frame: () => guestFrame({ sourceMac: 0x525400006403 }),
    want: "source-mac",
  },
  { what: "ARP for a stranger", frame: () => guestArp({ targetIp: 0xc0a80101 }), want: "arp" },
  { what: "a raw EtherType", frame: () => guestFrame({ type: 0x88b5 }), want: "ether-type" },
  { what: "a VLAN", frame: () => guestFrame({ type: 0x8100 }), want: "vlan" },
  {
    what: "IPv6 to one neighbor",
    frame: () => guestFrame({ destinationMac: GATEWAY_MAC, type: 0x86dd }),
    want: "ipv6",
  },
  {
    what: "a broadcast that is no DHCP",
    frame: () => guestFrame({ destinationMac: BROADCAST_MAC, destination: BROADCAST }),
    want: "destination-mac",
  },
  {
    what: "multicast that routers forward",
    frame: () =>
      guestFrame({
        destinationMac: 0x01005e7ffffa,
        destination: 0xeffffffa,
        destinationPort: 1900,
      }),
    want: "destination-mac",
  },
  {
    what: "link-local multicast to one MAC address",
    frame: () => guestFrame({ destinationMac: 0x020000006499, destination: 0xe00000fb }),
    want: "destination-mac",
  },
  {
    what: "a jumbo frame",
    frame: () => guestFrame({ payload: new Uint8Array(2000) }),
    want: "too-long",
  },
  { what: "half a header", frame: () => guestFrame().subarray(0, 20), want: "truncated" },
  {
    what: "a bad header",
    frame: () => {
      const frame = guestFrame();
      writeU16(frame, 14, 0x5500);
      fixHeaderChecksum(frame);
      return frame;
    },
    want: "bad-header",
  },
];

Deno.test.each(NOISE)("N7: $what does not end a VM ($want)", ({ frame, want }) => {
  const bench = new FilterBench(undefined, 8, new ConntrackStrategy());
  assert.equal(bench.fromGuest(frame()), want);
  assert.deepEqual(bench.violations, []);
  assert.deepEqual(bench.toUplink.take(), []);
});

Deno.test.each(VIOLATIONS)("N7: $what ends a VM ($want)", ({ frame, want }) => {
  const bench = new FilterBench(undefined, 8, new ConntrackStrategy());
  assert.equal(bench.fromGuest(frame()), want);
  assert.equal(bench.violations.length, 1);
  assert.ok(bench.violations[0]?.startsWith(`${want}: `));
});

Deno.test("N7: a host that has no place for a good frame does not end the VM", () => {
  const bench = new FilterBench(undefined, 0, new ConntrackStrategy());
  assert.equal(bench.fromGuest(guestFrame()), "no-room");
  bench.nat.setUplink(undefined);
  assert.equal(bench.fromGuest(guestFrame()), "no-uplink");
  assert.deepEqual(bench.violations, []);
});

Deno.test("isViolation() never throws on any bytes, and says no to what is no refusal", () => {
  const verdicts = fc.constantFrom(...Object.values(VERDICT));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 80 }),
      verdicts,
      fc.nat(90),
      fc.integer(),
      (b, v, at, n) => {
        assert.equal(typeof isViolation(v, b, at, n), "boolean");
        assert.equal(isViolation(VERDICT.forwarded, b, at, n), false);
        assert.equal(isViolation(VERDICT.cutOff, b, at, n), false);
      },
    ),
  );
});
