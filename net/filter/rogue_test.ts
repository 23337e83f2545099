import assert from "node:assert/strict";
import fc from "fast-check";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { FilterBench } from "../../tests/doubles/filter_bench.ts";
import { guestArp, guestFrame } from "../../tests/doubles/guest_frames.ts";
import { ETHERTYPE, MAC_BROADCAST } from "../wire/ethernet.ts";
import { PROTOCOL } from "../wire/ipv4.ts";
import { GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC, guestLink } from "./guest_link.ts";
import {
  CHATTER_PER_MINUTE,
  DEFAULT_ROGUE_LIMITS,
  MAX_DESTINATIONS,
  REPEAT_MS,
  type RogueAlarm,
  RogueDetector,
  type RogueLimits,
  rogueWords,
} from "./rogue.ts";
import { VERDICT, type Verdict, VERDICT_COUNT } from "./verdict.ts";

const START = 1_700_000_000_000;
const HOUR = 3_600_000;
const LIMITS: RogueLimits = { spoofed: 2, destinations: 4, perMinute: 6, perHour: 10 };
/** No limit that is not being tested. */
const LOOSE: RogueLimits = { spoofed: 1e6, destinations: 1e6, perMinute: 1e6, perHour: 1e6 };

/** A detector behind a filter: it is shown the verdicts that frames truly get. */
class Watched {
  readonly bench = new FilterBench();
  readonly detector: RogueDetector;
  now = START;

  constructor(limits: Partial<RogueLimits> = {}) {
    this.detector = new RogueDetector(guestLink(), { ...LOOSE, ...limits });
  }

  send(frame: Uint8Array): RogueAlarm | undefined {
    const verdict = this.bench.nat.fromGuest(frame, 0, frame.length);
    return this.detector.see(verdict, frame, 0, frame.length, this.now);
  }

  /** Sends them all. @returns The kinds of the alarms with how many frames had been sent. */
  sendAll(frames: Iterable<Uint8Array>): [number, string][] {
    const alarms: [number, string][] = [];
    let sent = 0;
    for (const frame of frames) {
      const alarm = this.send(frame);
      sent++;
      if (alarm) alarms.push([sent, alarm.kind]);
    }
    return alarms;
  }
}

const to = (destination: number, destinationPort = 80): Uint8Array =>
  guestFrame({ destination, destinationPort });

function* times(count: number, frame: (i: number) => Uint8Array): Iterable<Uint8Array> {
  for (let i = 0; i < count; i++) yield frame(i);
}

/** An IPv6 frame to a MAC address, with this last byte of the destination and this TCP port. */
function ipv6(mac: number, last: number, port = 443): Uint8Array {
  const frame = new Uint8Array(14 + 40 + 20);
  frame.set(guestFrame({ destinationMac: mac, type: ETHERTYPE.ipv6 }).subarray(0, 14));
  frame[14] = 0x60;
  frame[14 + 6] = PROTOCOL.tcp;
  frame[14 + 24] = 0x20;
  frame[14 + 39] = last;
  frame[14 + 42] = port >>> 8;
  frame[14 + 43] = port;
  return frame;
}

Deno.test("N12: RogueDetector.see() takes a scan of addresses or ports for one, each kind of frame", () => {
  const scans: Record<string, (i: number) => Uint8Array> = {
    addresses: (i) => to(0xc0a80100 + i),
    ports: (i) => to(0xc0a80101, 1 + i),
    "the gateway's ports": (i) => to(0xc0a86401, 1 + i),
    pings: (i) => guestFrame({ destination: 0x0a000000 + i, protocol: PROTOCOL.icmp }),
    "TCP ports": (i) => guestFrame({ protocol: PROTOCOL.tcp, destinationPort: 1 + i }),
    arp: (i) => guestArp({ targetIp: GUEST_ADDRESS + 2 + i }),
    "IPv6 addresses": (i) => ipv6(GATEWAY_MAC, i),
    "IPv6 ports": (i) => ipv6(GATEWAY_MAC, 1, 1 + i),
    "MAC addresses": (i) => guestFrame({ destinationMac: 0x020000000010 + i, type: 0x88cc }),
  };
  for (const [what, frame] of Object.entries(scans)) {
    const watched = new Watched({ destinations: 4 });
    assert.deepEqual(watched.sendAll(times(60, frame)), [[4, "scan"]], what);
    // The control: as many frames to one place are no scan.
    const same = new Watched({ destinations: 4 });
    assert.deepEqual(same.sendAll(times(60, () => frame(3))), [], what);
  }
});

Deno.test("N12: RogueDetector.see() names the frame, the reason and what was counted", () => {
  const watched = new Watched({ destinations: 3 });
  for (let i = 0; i < 2; i++) assert.equal(watched.send(to(0x08080800 + i)), undefined);
  watched.now += 5;
  const alarm = watched.send(to(0x08080808, 53));
  assert.deepEqual(alarm, {
    kind: "scan",
    time: START + 5,
    frames: 3,
    destinations: 3,
    frame: "UDP 192.168.100.2:40000 > 8.8.8.8:53 len 96 (destination)",
  });
  assert.equal(rogueWords(alarm), "it tried 3 destinations that it may not reach");
});

Deno.test("N12: RogueDetector.see() knows false source addresses by MAC, by IPv4 and in ARP", () => {
  const spoofs: Record<string, Uint8Array> = {
    mac: guestFrame({ sourceMac: GUEST_MAC + 1 }),
    ipv4: guestFrame({ source: GUEST_ADDRESS + 1 }),
    "arp address": guestArp({ senderIp: GUEST_ADDRESS + 1 }),
    "arp mac": guestArp({ senderMac: GATEWAY_MAC }),
  };
  for (const [what, frame] of Object.entries(spoofs)) {
    const watched = new Watched({ spoofed: 2 });
    assert.deepEqual(watched.sendAll([frame, frame, frame]), [[2, "spoofing"]], what);
  }
  // The control: true addresses, and a probe, which has none.
  const honest = new Watched({ spoofed: 1 });
  const probe = guestArp({ senderIp: 0, targetIp: 0x08080808 });
  assert.deepEqual(honest.sendAll([to(1), guestArp({ targetIp: 0x08080808 }), probe]), []);
});

Deno.test("N12: RogueDetector.see() counts by the minute and by the hour", () => {
  const fast = new Watched({ perMinute: 6 });
  assert.deepEqual(fast.sendAll(times(20, () => to(1))), [[6, "per-minute"]]);
  const slow = new Watched({ perMinute: 6, perHour: 10 });
  const alarms: [number, string][] = [];
  for (let i = 1; i <= 30; i++) {
    const alarm = slow.send(to(1));
    if (alarm) alarms.push([i, alarm.kind]);
    slow.now += 60_000;
  }
  // One a minute: after ten, and every ten minutes from then on.
  assert.deepEqual(alarms, [[10, "per-hour"], [20, "per-hour"], [30, "per-hour"]]);
  const patient = new Watched({ perMinute: 6, perHour: 10 });
  for (let i = 0; i < 100; i++) {
    assert.equal(patient.send(to(1)), undefined);
    patient.now += HOUR / 9;
  }
});

Deno.test("N12: RogueDetector.see() tells a kind once in REPEAT_MS, and the others meanwhile", () => {
  const watched = new Watched(LIMITS);
  const scan = (): [number, string][] => watched.sendAll(times(12, (i) => to(0x08080800 + i)));
  assert.deepEqual(scan(), [[4, "scan"], [6, "per-minute"], [10, "per-hour"]]);
  watched.now += REPEAT_MS - 1;
  assert.deepEqual(scan(), []);
  const spoof = guestFrame({ sourceMac: GUEST_MAC + 1 });
  assert.deepEqual(watched.sendAll([spoof, spoof]), [[2, "spoofing"]]);
  watched.now += 1;
  assert.deepEqual(scan(), [[1, "scan"], [2, "per-minute"], [3, "per-hour"]]);
});

Deno.test("N12: RogueDetector.see() forgives what a kernel sends by itself, unless it floods", () => {
  const chatter = [
    captured("routerSolicitation"),
    ipv6(0x333300000001, 1),
    guestFrame({ destinationMac: 0x01005e0000fb, destination: 0xe00000fb, destinationPort: 5353 }),
    guestFrame({
      ...{ destinationMac: MAC_BROADCAST, source: 0, destination: 0xffffffff },
      ...{ sourcePort: 68, destinationPort: 67 },
    }),
  ];
  const strict: RogueLimits = { spoofed: 1, destinations: 1, perMinute: 1, perHour: 1 };
  for (const frame of chatter) {
    const watched = new Watched(strict);
    const alarms = watched.sendAll(times(CHATTER_PER_MINUTE, () => frame));
    assert.deepEqual(alarms, [[CHATTER_PER_MINUTE, "flood"]]);
    assert.deepEqual(watched.sendAll([to(1)]), [[1, "scan"]], "the control");
  }
});

Deno.test("N12: RogueDetector.see() counts nothing that was let through or that this host had no place for", () => {
  const detector = new RogueDetector(guestLink(), {
    ...{ spoofed: 1, destinations: 1, perMinute: 1, perHour: 1 },
  });
  const frame = guestFrame();
  for (
    const name of ["forwarded", "answered", "announced", "noUplink", "noRoom", "cutOff"] as const
  ) {
    for (let i = 0; i < 2 * CHATTER_PER_MINUTE; i++) {
      assert.equal(detector.see(VERDICT[name], frame, 0, frame.length, START), undefined, name);
    }
  }
  assert.ok(detector.see(VERDICT.port, frame, 0, frame.length, START));
});

Deno.test("N12: RogueDetector.see() remembers MAX_DESTINATIONS and forgets the one seen longest ago", () => {
  const watched = new Watched({ destinations: MAX_DESTINATIONS });
  assert.deepEqual(watched.sendAll(times(MAX_DESTINATIONS - 1, (i) => to(i + 1))), []);
  assert.equal(watched.send(to(1))?.kind, undefined, "seen again");
  const full = watched.send(to(MAX_DESTINATIONS));
  assert.deepEqual([full?.kind, full?.destinations], ["scan", MAX_DESTINATIONS]);
  watched.now += REPEAT_MS;
  const beyond = watched.send(to(MAX_DESTINATIONS + 1));
  assert.deepEqual([beyond?.kind, beyond?.destinations], ["scan", MAX_DESTINATIONS]);
  watched.now += HOUR;
  assert.equal(watched.send(to(1)), undefined, "an hour later the others do not count");
});

Deno.test("N12: two detectors know nothing of each other", () => {
  const [quiet, loud] = [new Watched(LIMITS), new Watched(LIMITS)];
  for (let i = 0; i < 3; i++) {
    assert.equal(quiet.send(to(i)), undefined);
    loud.send(to(100 + i));
  }
  assert.equal(loud.send(to(200))?.kind, "scan");
  assert.equal(quiet.send(to(0)), undefined);
});

Deno.test("N12: RogueDetector.see() never throws on any bytes, verdicts or times", () => {
  const detector = new RogueDetector(guestLink(), LIMITS);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 120 }),
      fc.nat(VERDICT_COUNT - 1),
      fc.nat(130),
      fc.double({ noNaN: true }),
      fc.constantFrom(0x0800, 0x0806, 0x86dd, 0x8100, 0),
      (bytes, verdict, length, now, type) => {
        if (bytes.length > 14) bytes.set([type >> 8, type & 0xff, 0x45], 12);
        const alarm = detector.see(verdict as Verdict, bytes, 0, length, now);
        if (alarm) assert.ok(rogueWords(alarm).length < 100);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("N12: whatever order frames come in, an alarm is raised by the limit and not before", () => {
  const frame = fc.record({ host: fc.nat(9), wait: fc.nat(9000) });
  fc.assert(fc.property(fc.array(frame, { maxLength: 60 }), (frames) => {
    const watched = new Watched({ destinations: 5, perMinute: 20 });
    const sent: { host: number; at: number }[] = [];
    const told = new Set<string>();
    for (const { host, wait } of frames) {
      watched.now += wait;
      sent.push({ host, at: watched.now });
      const kind = watched.send(to(host + 1))?.kind;
      const hosts = new Set(sent.map((one) => one.host)).size;
      const within = (ms: number): number => sent.filter(({ at }) => at > watched.now - ms).length;
      if (kind === "scan") assert.equal(hosts, 5);
      if (kind === "per-minute") assert.ok(within(60_000) >= 20);
      if (kind) told.add(kind);
      if (hosts >= 5) assert.ok(told.has("scan"));
      // Told with the frame after, when this one raised the graver alarm.
      if (within(50_000) > 20) assert.ok(told.has("per-minute"));
    }
  }));
});

Deno.test("N12: DEFAULT_ROGUE_LIMITS can all be reached", () => {
  const { spoofed, destinations, perMinute, perHour } = DEFAULT_ROGUE_LIMITS;
  assert.ok(spoofed >= 1 && destinations <= MAX_DESTINATIONS && perMinute < perHour);
});
