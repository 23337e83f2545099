/**
 * Closing when things come in another order than they should, TIME-WAIT, resets, and what ICMP says;
 * each test is named after the section that it holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ICMP } from "../wire/icmp.ts";
import { Script, THEIRS } from "./script_fixture.ts";

function opened(): Script {
  const s = new Script();
  s.open();
  return s;
}

/** We have ended, and that was acknowledged. */
function finWait2(): Script {
  const s = opened();
  s.c.end();
  s.end();
  s.sent();
  s.in({ flags: ".", ...s.ts(101) });
  assert.equal(s.c.state, "FIN-WAIT-2");
  return s;
}

/** In TIME-WAIT; theirs was the last FIN, with timestamp 102. */
function timeWait(): Script {
  const s = finWait2();
  s.in({ flags: "F.", ...s.ts(102) });
  s.expect(". 2:2(0) ack 2");
  assert.equal(s.stack.use.timeWaits, 1);
  return s;
}

Deno.test("RFC 9293 3.10.4: FIN goes behind everything that was written before it", () => {
  const s = new Script();
  s.in({ flags: "S", mss: 1460, ts: [100, 0], win: 1000 });
  s.expect("S. 0:1(0) ack 1");
  s.in({ flags: ".", win: 1000, ...s.ts(101) });
  s.write(2500);
  s.expect(". 1:1001(1000) ack 1");
  s.c.end();
  s.end();
  s.expect();
  assert.equal(s.c.state, "FIN-WAIT-1");
  s.in({ flags: ".", ack: 1001, win: 1000, ...s.ts(102) });
  s.expect(". 1001:2001(1000) ack 1");
  s.in({ flags: ".", ack: 2001, win: 1000, ...s.ts(103) });
  s.expect("FP. 2001:2502(500) ack 1");
  s.in({ flags: ".", ack: 2502, win: 1000, ...s.ts(104) });
  assert.equal(s.c.state, "FIN-WAIT-2");
});

Deno.test("RFC 9293 3.10.4: a FIN that is lost is sent again", () => {
  const s = opened();
  s.c.end();
  s.end();
  s.expect("F. 1:2(0) ack 1");
  s.wait(5000);
  const again = s.sent();
  assert.ok(again.length >= 2 && again.every((line) => line === "F. 1:2(0) ack 1"));
  s.in({ flags: ".", ack: 2, ...s.ts(102) });
  assert.equal(s.c.state, "FIN-WAIT-2");
});

for (const acknowledged of [false, true]) {
  const state = acknowledged ? "FIN-WAIT-2" : "FIN-WAIT-1";
  Deno.test(`RFC 9293 3.10.7.4: in ${state} a FIN before its data waits for it`, () => {
    const s = opened();
    s.c.end();
    s.end();
    s.sent();
    const ack = acknowledged ? 2 : 1;
    if (acknowledged) s.in({ flags: ".", ack, ...s.ts(101) });
    s.in({ flags: "FP.", seq: 101, length: 100, ack, ...s.ts(102) });
    s.expect(". 2:2(0) ack 1 sack 101:201");
    assert.equal(s.c.state, state);
    s.in({ flags: "P.", seq: 1, length: 100, ack, ...s.ts(103) });
    s.expect(". 2:2(0) ack 202");
    assert.equal(s.c.readable, 200);
    if (acknowledged) assert.equal(s.stack.use.timeWaits, 1);
    else assert.equal(s.c.state, "CLOSING");
  });
}

Deno.test("RFC 9293 3.10.5: abort in SYN-SENT sends nothing, and what answers the SYN is reset", () => {
  const s = new Script();
  s.connect();
  s.c.abort();
  s.end();
  s.expect();
  assert.deepEqual(s.notes.told, ["aborted"]);
  s.in({ flags: "S.", seq: 0, ack: 1, mss: 1460 });
  s.expect("R 1:1(0)");
  s.wait(10_000);
  s.expect();
});

Deno.test("RFC 9293 3.5.1, figure 10: a connection that only they remember is reset and opened anew", () => {
  const s = new Script();
  s.connect();
  // They are still in ESTABLISHED: our SYN is old for them, and they say where they are.
  s.in({ flags: ".", seq: 300, ack: 100 });
  s.expect("R 100:100(0)");
  s.wait(1000);
  s.expect("S 0:1(0)");
  s.in({ flags: "S.", seq: 0, ack: 1, mss: 1460 });
  s.expect(". 1:1(0) ack 1");
  assert.equal(s.c.state, "ESTABLISHED");
});

Deno.test("RFC 9293 3.5, figure 9: an old SYN is answered, and gone when they reset that", () => {
  const s = new Script();
  s.in({ flags: "S", seq: 90_000, mss: 1460 });
  s.expect("S. 0:1(0) ack 90001");
  // The new one lies outside of the window of the old one: they hear what we think of.
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.expect("S. 0:1(0) ack 90001");
  s.in({ flags: "R", seq: 90_001 });
  assert.equal(s.stack.use.connections, 0);
  s.in({ flags: "S", seq: 0, mss: 1460 });
  assert.match(s.sent()[0] ?? "", /^S\. 0:1\(0\) ack 1$/);
});

Deno.test("RFC 9293 3.10.7.4: a reset in LAST-ACK or CLOSING finds everything said: closed in order", () => {
  for (const theyFirst of [true, false]) {
    const s = opened();
    if (theyFirst) s.in({ flags: "F.", ...s.ts(101) });
    s.c.end();
    s.end();
    if (!theyFirst) s.in({ flags: "F.", ack: 1, ...s.ts(101) });
    assert.equal(s.c.state, theyFirst ? "LAST-ACK" : "CLOSING");
    s.in({ flags: "R", seq: 2 });
    assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "closed"]);
  }
});

Deno.test("RFC 9293 3.10.7.4: a reset in FIN-WAIT-2 or CLOSE-WAIT is a reset", () => {
  const s = finWait2();
  s.in({ flags: "R", seq: 1 });
  assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "reset"]);
  const other = opened();
  other.in({ flags: "F.", ...other.ts(101) });
  other.in({ flags: "R", seq: 2 });
  assert.deepEqual([other.c.state, other.notes.told.at(-1)], ["CLOSED", "reset"]);
});

Deno.test("RFC 9293 3.10.7.4: TIME-WAIT ends by a reset with the exact number, and by no other", () => {
  const s = timeWait();
  s.in({ flags: "R", seq: 50 });
  assert.equal(s.stack.use.timeWaits, 1);
  s.in({ flags: "R", seq: 2 });
  assert.equal(s.stack.use.timeWaits, 0);
  s.expect();
});

Deno.test("RFC 9293 3.6.1: a port in TIME-WAIT is not used again for the same destination", () => {
  const s = new Script();
  s.connect();
  s.in({ flags: "S.", seq: 0, ack: 1, mss: 1460 });
  s.c.end();
  s.end();
  s.in({ flags: "F.", ack: 2 });
  assert.equal(s.stack.use.timeWaits, 1);
  const to = { to: THEIRS, handler: {}, fromPort: s.c.localPort };
  assert.equal(s.stack.connect({ ...to, port: s.c.remotePort }), "in-use");
  assert.ok(typeof s.stack.connect({ ...to, port: s.c.remotePort + 1 }) !== "string");
  s.wait(61_000);
  assert.ok(typeof s.stack.connect({ ...to, port: s.c.remotePort }) !== "string");
});

Deno.test("RFC 6191 2: a port in TIME-WAIT without timestamps is not chosen", () => {
  const s = new Script({ limits: { firstPort: 65_535 } });
  s.connect();
  s.in({ flags: "S.", seq: 0, ack: 1, mss: 1460 });
  s.c.end();
  s.end();
  s.in({ flags: "F.", ack: 2 });
  s.wait(59_000);
  const to = { to: THEIRS, port: s.c.remotePort, handler: {} };
  assert.equal(s.stack.connect(to), "no-port");
  s.wait(2000);
  assert.ok(typeof s.stack.connect(to) !== "string");
});

Deno.test("RFC 5961 7: TIME-WAIT answers old data, but not too often", () => {
  const s = timeWait();
  for (let i = 0; i < 5; i++) s.in({ flags: "P.", seq: 1, length: 1, ...s.ts(103) });
  s.expect(". 2:2(0) ack 2");
  s.wait(500);
  s.in({ flags: "P.", seq: 1, length: 1, ...s.ts(104) });
  s.expect(". 2:2(0) ack 2");
  // An acknowledgment asks for nothing.
  s.wait(500);
  s.in({ flags: ".", seq: 2, ack: 2, ...s.ts(105) });
  s.expect();
});

Deno.test("RFC 6191 2: without timestamps a higher sequence number begins anew in TIME-WAIT", () => {
  const s = new Script();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  s.in({ flags: ".", ack: 1 });
  s.c.end();
  s.end();
  s.sent();
  s.in({ flags: "F.", ack: 2 });
  assert.equal(s.stack.use.timeWaits, 1);
  s.sent();
  s.in({ flags: "S", seq: -5000, mss: 1460 });
  assert.equal(s.stack.use.timeWaits, 1);
  s.sent();
  s.in({ flags: "S", seq: 70_000, mss: 1460 });
  assert.equal(s.stack.use.timeWaits, 0);
  assert.match(s.sent()[0] ?? "", /^S\. 0:1\(0\) ack 70001$/);
});

Deno.test("RFC 7323 4.3: a FIN's timestamp is echoed, by TIME-WAIT too", () => {
  const s = finWait2();
  s.in({ flags: "F.", ...s.ts(777) });
  s.sent();
  assert.equal(s.echo, 777);
  s.in({ flags: "F.", seq: 1, ...s.ts(778) });
  s.expect(". 2:2(0) ack 2");
  assert.equal(s.echo, 777);
});

Deno.test("RFC 7323 5.2: a reset is not measured by its timestamp", () => {
  const s = opened();
  s.in({ flags: "R.", seq: 1, ack: 1, ts: [5, s.stamp] });
  assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "reset"]);
});

Deno.test("RFC 7323 5.3: who has to guess the acknowledgment cannot move the clock of PAWS", () => {
  const s = opened();
  s.in({ flags: ".", ack: 70_000, ts: [2_000_000_000, s.stamp] });
  s.expect(". 1:1(0) ack 1");
  assert.equal(s.echo, 100);
  s.in({ flags: "P.", length: 10, ack: 1, ...s.ts(101) });
  assert.deepEqual([s.c.readable, s.stack.counters.paws], [10, 0]);
});

/** Codes of "unreachable" (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1). */
for (let code = 0; code <= 15; code++) {
  const end = code === 3 ? "refused" : "unreachable";
  Deno.test(`RFC 1122 4.2.3.9: unreachable, code ${code}, ${code === 4 ? "is no" : "an"} end`, () => {
    const s = opened();
    s.write(10);
    s.icmp(code, 0, 1);
    assert.equal(s.c.state, "ESTABLISHED");
    const opening = new Script();
    opening.connect();
    opening.icmp(code, 1000, 0);
    assert.deepEqual(opening.notes.told, code === 4 ? [] : [end]);
    // RFC 5461 section 2.2: it is remembered as the reason, should nothing come any more.
    s.wait(700_000);
    assert.equal(s.notes.told.at(-1), code === 4 ? "timeout" : "unreachable");
  });
}

Deno.test("RFC 1122 4.2.3.9: time exceeded ends nothing; RFC 6633 3: source quench is ignored", () => {
  for (const type of [ICMP.timeExceeded, 4, 5, 12]) {
    const s = new Script();
    s.connect();
    s.icmp(0, 0, 0, type);
    assert.equal(s.c.state, "SYN-SENT");
    s.in({ flags: "S.", seq: 0, mss: 1460 });
    const before = s.c.stats.congestionWindow;
    s.write(10);
    s.icmp(0, 0, 1, type);
    assert.deepEqual([s.c.state, s.c.stats.congestionWindow], ["ESTABLISHED", before]);
    assert.equal(s.stack.counters.icmpIgnored, type === ICMP.timeExceeded ? 0 : 2);
  }
});

Deno.test("L6: what came before a reset is read, and nothing of it is kept behind it", () => {
  for (const batch of ["one", "two"]) {
    const s = opened();
    const read: number[] = [];
    // The owner leaves some of it, and reads that when it is told of the end.
    s.notes.onReadable = (): void => void read.push(s.c.read(new Uint8Array(300)));
    const { onClose } = s.notes;
    s.notes.onClose = (c, reason): void => {
      read.push(c.read(new Uint8Array(100)));
      onClose.call(s.notes, c, reason);
    };
    s.more({ flags: "P.", length: 500, ...s.ts(102) });
    if (batch === "two") s.end();
    s.in({ flags: "R" });
    assert.deepEqual(read, [300, 100]);
    assert.equal(s.notes.told.at(-1), "reset");
    assert.deepEqual([s.c.readable, s.stack.use.bufferBytes], [0, 0]);
  }
});
