import assert from "node:assert/strict";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { checksum } from "../wire/checksum.ts";
import { formatPacket } from "../wire/format.ts";
import { parseIcmp } from "../wire/icmp.ts";
import { parseIpv4Packet, writeIpv4 } from "../wire/ipv4.ts";
import { OURS, Script, THEIRS } from "./script_fixture.ts";

/** A packet from the test to the stack. */
function packet(protocol: number, payload: Uint8Array, from = THEIRS, to = OURS): Uint8Array {
  const out = new Uint8Array(20 + payload.length);
  out.set(payload, 20);
  writeIpv4(out, 0, from, to, protocol, out.length, 1);
  return out;
}

function give(s: Script, bytes: Uint8Array): Uint8Array[] {
  s.stack.input(bytes, 0, bytes.length, s.now);
  s.end();
  return s.packets();
}

/** An echo request with a right checksum. */
function echo(data: number): Uint8Array {
  const message = new Uint8Array(8 + data).map((_, i) => i);
  message.set([8, 0, 0, 0, 1, 2, 3, 4]);
  const sum = checksum(message, 0, message.length);
  message.set([sum >>> 8, sum & 255], 2);
  return message;
}

Deno.test("L6: an echo request is answered with its own data (RFC 1122 section 3.2.2.6)", () => {
  const s = new Script();
  const [reply] = give(s, packet(1, echo(57)));
  assert.ok(reply !== undefined);
  assert.equal(
    formatPacket(reply, 0, reply.length),
    "ICMP 10.0.0.1 > 10.0.0.2 echo reply id 258 seq 772 len 57",
  );
  const ip = parseIpv4Packet(reply);
  assert.ok(typeof ip !== "string");
  const icmp = parseIcmp(ip.payload);
  assert.ok(typeof icmp !== "string");
  assert.deepEqual(icmp.data, echo(57).subarray(8));
});

Deno.test("L6: echo replies are limited in number", () => {
  const s = new Script({ limits: { echoesPerSecond: 3 } });
  let replies = 0;
  for (let i = 0; i < 10; i++) replies += give(s, packet(1, echo(8))).length;
  assert.equal(replies, 3);
});

Deno.test("L6: a captured ping is answered by a stack with its address", () => {
  const frame = captured("ping").slice(14);
  const s = new Script({ address: 0xc0a86401 });
  assert.equal(give(s, frame).length, 1);
});

Deno.test("L6: an echo reply goes to whoever pings", () => {
  const s = new Script();
  const seen: number[][] = [];
  s.stack.icmp.echoReplies = {
    reply: (p, identifier, sequence): void => {
      seen.push([p.source, identifier, sequence, p.end - p.payloadAt - 8]);
    },
  };
  const message = echo(10);
  message[0] = 0;
  message.set([0, 0], 2);
  const sum = checksum(message, 0, message.length);
  message.set([sum >>> 8, sum & 255], 2);
  assert.equal(give(s, packet(1, message)).length, 0);
  assert.deepEqual(seen, [[THEIRS, 258, 772, 10]]);
});

Deno.test.each([
  { protocol: 17, code: 3, what: "UDP nobody takes: port unreachable" },
  { protocol: 47, code: 2, what: "an unknown protocol: protocol unreachable" },
])("L6: $what", ({ protocol, code }) => {
  const s = new Script();
  const [error] = give(s, packet(protocol, new Uint8Array(30).fill(7)));
  assert.ok(error !== undefined);
  const ip = parseIpv4Packet(error);
  assert.ok(typeof ip !== "string");
  assert.deepEqual([ip.source, ip.destination], [OURS, THEIRS]);
  const icmp = parseIcmp(ip.payload);
  assert.ok(typeof icmp !== "string");
  assert.deepEqual([icmp.type, icmp.code, icmp.data.length], [3, code, 28]);
  assert.deepEqual(icmp.data.subarray(20), new Uint8Array(8).fill(7));
});

Deno.test("L6: a registered protocol gets its packets, errors, flushes and ticks", () => {
  const s = new Script();
  const calls: string[] = [];
  s.stack.register(17, {
    input: (p) => void calls.push(`input ${p.end - p.payloadAt}`),
    error: (e) => void calls.push(`error ${e.kind} ${e.code} ${e.view.getUint16(e.at)}`),
    flush: () => void calls.push("flush"),
    tick: () => {
      calls.push("tick");
      return 12_345;
    },
  });
  give(s, packet(17, new Uint8Array(30)));
  assert.equal(s.due, 12_345);
  const quoted = packet(17, Uint8Array.of(0x12, 0x34, 0, 0, 0, 0, 0, 0), OURS, THEIRS);
  const message = new Uint8Array(8 + quoted.length);
  message.set([3, 3]);
  message.set(quoted, 8);
  const sum = checksum(message, 0, message.length);
  message.set([sum >>> 8, sum & 255], 2);
  give(s, packet(1, message));
  assert.deepEqual(calls, [
    "input 30",
    "flush",
    "tick",
    "error unreachable 3 4660",
    "flush",
    "tick",
  ]);
});

Deno.test.each(
  [
    { what: "a fragment", change: [6, 0x20], counter: "fragment" },
    { what: "another version", change: [0, 0x65], counter: "badVersion" },
    { what: "a header length below five words", change: [0, 0x44], counter: "badLength" },
    { what: "a total length beyond the packet", change: [2, 1], counter: "truncated" },
    { what: "a wrong checksum", change: [8, 1], counter: "badChecksum" },
    { what: "a multicast source", change: [12, 224], counter: "badSource" },
    { what: "another destination", change: [16, 11], counter: "notForUs" },
  ] as const,
)("L6: $what is dropped and counted", ({ what, change, counter }) => {
  const s = new Script();
  const bytes = packet(1, echo(8));
  bytes[change[0]] = change[1];
  if (what !== "a wrong checksum") {
    bytes.set([0, 0], 10);
    const sum = checksum(bytes, 0, 20);
    bytes.set([sum >>> 8, sum & 255], 10);
  }
  assert.equal(give(s, bytes).length, 0);
  assert.equal(s.stack.counters[counter], 1);
});

Deno.test("L6: errors about packets that were never sent change nothing", () => {
  const s = new Script();
  const error = (quoted: Uint8Array): void => {
    const message = new Uint8Array(8 + quoted.length);
    message.set([3, 1]);
    message.set(quoted, 8);
    const sum = checksum(message, 0, message.length);
    message.set([sum >>> 8, sum & 255], 2);
    assert.equal(give(s, packet(1, message)).length, 0);
  };
  error(new Uint8Array(0));
  error(new Uint8Array(40));
  error(packet(6, new Uint8Array(7), OURS, THEIRS));
  error(packet(6, new Uint8Array(8), THEIRS, OURS));
  error(packet(6, new Uint8Array(8), OURS, THEIRS));
  assert.equal(s.stack.counters.icmpIgnored, 5);
});

Deno.test("L6: an echo reply above the MTU goes in fragments", () => {
  const s = new Script({ mtu: 576 });
  const request = packet(1, echo(1000));
  const sent = give(s, request);
  assert.deepEqual(sent.map(({ length }) => length), [572, 476]);
  const whole = sent.map((piece) => piece.subarray(20));
  const message = Uint8Array.from(whole.flatMap((piece) => Array.from(piece)));
  const icmp = parseIcmp(message);
  assert.ok(typeof icmp !== "string");
  assert.deepEqual([icmp.type, icmp.data], [0, echo(1000).subarray(8)]);
});

Deno.test("G1: echo requests for others go to whoever takes them, those for the stack do not", () => {
  const s = new Script({ promiscuous: true, limits: { echoesPerSecond: 4 } });
  const elsewhere = 0xc0000207;
  // Without one, the stack answers for everybody.
  assert.equal(give(s, packet(1, echo(8), THEIRS, elsewhere)).length, 1);
  const seen: string[] = [];
  s.stack.icmp.echoRequests = {
    request: (p, now): void => {
      seen.push(`${p.destination >>> 0} ${p.end - p.payloadAt}`);
      s.stack.icmp.unreachable(p, 1, now);
    },
  };
  const [refused] = give(s, packet(1, echo(8), THEIRS, elsewhere));
  assert.ok(refused);
  assert.equal(
    formatPacket(refused, 0, refused.length),
    "ICMP 192.0.2.7 > 10.0.0.2 unreachable code 1 len 28",
  );
  const [answer] = give(s, packet(1, echo(8)));
  assert.match(formatPacket(answer ?? refused, 0, 36), /echo reply id 258 seq 772/);
  assert.deepEqual(seen, [`${elsewhere} 16`]);
  // The limit is one for both.
  give(s, packet(1, echo(8), THEIRS, elsewhere));
  give(s, packet(1, echo(8), THEIRS, elsewhere));
  assert.equal(seen.length, 2);
});

Deno.test("L6: no error is sent about ICMP other than an echo request", () => {
  const s = new Script({ promiscuous: true });
  const error = echo(8);
  error[0] = 3;
  s.stack.register(1, { input: (p, now) => s.stack.icmp.unreachable(p, 1, now) });
  assert.equal(give(s, packet(1, error)).length, 0);
  assert.equal(give(s, packet(1, new Uint8Array(0))).length, 0);
  assert.equal(give(s, packet(1, echo(8))).length, 1);
});
