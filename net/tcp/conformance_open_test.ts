/**
 * Opening and closing, segment by segment; each test is named after the section that it holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { PendingSyn } from "./listener.ts";
import { OUR_PORT, OURS, Script } from "./script_fixture.ts";

Deno.test("RFC 9293 3.5: a passive open", () => {
  const s = new Script();
  s.in({ flags: "S", mss: 1460, sackOk: true, ts: [100, 0], scale: 7 });
  s.expect("S. 0:1(0) ack 1");
  assert.deepEqual([s.options.mss, s.options.sackPermitted, s.options.windowScale, s.echo], [
    1460,
    true,
    7,
    100,
  ]);
  assert.equal(s.c.state, "SYN-RECEIVED");
  assert.deepEqual(s.notes.told, []);
  s.in({ flags: ".", ...s.ts(101) });
  s.expect();
  assert.equal(s.c.state, "ESTABLISHED");
  assert.deepEqual(s.notes.told, ["open", "writable"]);
});

Deno.test("RFC 9293 3.5: an active open", () => {
  const s = new Script();
  s.connect();
  assert.equal(s.c.state, "SYN-SENT");
  s.in({ flags: "S.", mss: 1000, ts: [5, s.stamp], sackOk: true, scale: 2, win: 1000 });
  s.expect(". 1:1(0) ack 1");
  assert.equal(s.c.state, "ESTABLISHED");
  // The window of a SYN is not scaled (RFC 7323 section 2.2).
  assert.equal(s.c.stats.sendWindow, 1000);
  assert.equal(s.c.stats.segmentBytes, 1000 - 12);
});

Deno.test("RFC 9293 3.5, figure 8: both sides open at the same time", () => {
  const s = new Script();
  s.connect();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  assert.equal(s.c.state, "SYN-RECEIVED");
  s.in({ flags: "S.", seq: 0, ack: 1, mss: 1460 });
  s.expect(". 1:1(0) ack 1");
  assert.equal(s.c.state, "ESTABLISHED");
  assert.deepEqual(s.notes.told, ["open", "writable"]);
});

Deno.test("RFC 9293 3.5: an acknowledgment opens a connection that both sides opened", () => {
  const s = new Script();
  s.connect();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  s.in({ flags: ".", seq: 1, ack: 1 });
  assert.equal(s.c.state, "ESTABLISHED");
});

Deno.test("RFC 9293 3.10.7.1: a closed port resets, and never answers a reset", () => {
  const s = new Script();
  s.in({ flags: "S", port: 40001, seq: 5 });
  s.connection = undefined;
  s.sent();
  const closed = new Script({ address: 0x0a000001 });
  closed.stack.counters.resetsOut = 0;
  const other = { port: 1234 };
  closed.in({ flags: ".", seq: 9, ack: 77, ...other });
  closed.expect("R 77:77(0)");
  closed.in({ flags: "R", seq: 9, ...other });
  closed.in({ flags: "R.", seq: 9, ack: 5, ...other });
  closed.expect();
  closed.in({ flags: "F", seq: 9, length: 3, ...other });
  closed.expect("R. 0:0(0) ack 13");
  assert.equal(closed.stack.counters.noConnection, 2);
});

Deno.test("RFC 9293 3.10.7.1: resets are limited in number", () => {
  const s = new Script({ limits: { answersPerSecond: 3 } });
  for (let port = 1; port <= 10; port++) s.in({ flags: ".", ack: 1, port });
  assert.equal(s.sent().length, 3);
  assert.equal(s.stack.counters.rateLimited, 7);
  s.wait(1000);
  s.in({ flags: ".", ack: 1, port: 99 });
  assert.equal(s.sent().length, 1);
});

Deno.test("RFC 9293 3.10.7.3: in SYN-SENT a wrong acknowledgment is reset and changes nothing", () => {
  const s = new Script();
  s.connect();
  s.in({ flags: ".", ack: 5 });
  s.expect("R 5:5(0)");
  s.in({ flags: "S.", seq: 0, ack: 9 });
  s.expect("R 9:9(0)");
  s.in({ flags: "R.", seq: 0, ack: 5 });
  s.in({ flags: "R", seq: 0 });
  s.expect();
  assert.equal(s.c.state, "SYN-SENT");
  s.in({ flags: "R.", seq: 0, ack: 1 });
  assert.equal(s.c.state, "CLOSED");
  assert.deepEqual(s.notes.told, ["refused"]);
});

Deno.test("RFC 9293 3.8.3: a SYN is repeated with growing gaps, and given up", () => {
  const s = new Script();
  s.connect();
  const at: number[] = [];
  for (let i = 0; i < 20; i++) {
    const before = s.now;
    s.wait(Math.max(1, s.due - s.now));
    if (s.sent().includes("S 0:1(0)")) at.push(s.now - before);
    if (s.c.state === "CLOSED") break;
  }
  assert.deepEqual(at.slice(0, 6), [1000, 2000, 4000, 8000, 16000, 32000]);
  assert.deepEqual(s.notes.told, ["timeout"]);
  assert.ok(s.now >= 10_000 + 180_000);
});

Deno.test("RFC 6298 5.7: after a lost SYN the timeout is three seconds until it is measured", () => {
  const s = new Script();
  s.connect();
  s.wait(1000);
  s.expect("S 0:1(0)");
  s.in({ flags: "S.", seq: 0, mss: 1460 });
  s.sent();
  assert.equal(s.c.stats.timeoutMs, 3000);
});

Deno.test("RFC 9293 3.10.7.4: a SYN that is repeated has its answer repeated", () => {
  const s = new Script();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  s.wait(1000);
  s.expect("S. 0:1(0) ack 1");
});

Deno.test("RFC 9293 3.10.7.4: a reset in SYN-RECEIVED ends it", () => {
  const s = new Script();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.sent();
  s.in({ flags: "R", seq: 1 });
  assert.equal(s.c.state, "CLOSED");
  assert.equal(s.stack.use.connections, 0);
});

Deno.test("RFC 9293 3.10.7.4: in SYN-RECEIVED a wrong acknowledgment is reset", () => {
  const s = new Script();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.sent();
  s.in({ flags: ".", seq: 1, ack: 7 });
  s.expect("R 7:7(0)");
  assert.equal(s.c.state, "SYN-RECEIVED");
});

Deno.test("RFC 9293 3.6, figure 12: we close first", () => {
  const s = new Script();
  s.open();
  s.c.end();
  s.end();
  s.expect("F. 1:2(0) ack 1");
  assert.equal(s.c.state, "FIN-WAIT-1");
  s.in({ flags: ".", ...s.ts(101) });
  assert.equal(s.c.state, "FIN-WAIT-2");
  // Half closed: the other side goes on.
  s.in({ flags: "P.", length: 100, ...s.ts(102) });
  s.expect(". 2:2(0) ack 101");
  s.in({ flags: "F.", ...s.ts(103) });
  s.expect(". 2:2(0) ack 102");
  s.read(100);
  assert.deepEqual(s.notes.told, ["open", "writable", "readable", "end", "closed"]);
  assert.deepEqual([s.stack.use.connections, s.stack.use.timeWaits], [0, 1]);
  assert.equal(s.stack.use.bufferBytes, 0);
});

Deno.test("RFC 9293 3.6: the other side closes first, and we go on sending", () => {
  const s = new Script();
  s.open();
  s.in({ flags: "F.", ...s.ts(101) });
  s.expect(". 1:1(0) ack 2");
  assert.equal(s.c.state, "CLOSE-WAIT");
  s.write(100);
  s.expect("P. 1:101(100) ack 2");
  s.c.end();
  s.end();
  s.expect("F. 101:102(0) ack 2");
  assert.equal(s.c.state, "LAST-ACK");
  s.in({ flags: ".", ...s.ts(102) });
  assert.equal(s.c.state, "CLOSED");
  assert.deepEqual(s.notes.told, ["open", "writable", "end", "closed"]);
  assert.deepEqual([s.stack.use.connections, s.stack.use.timeWaits], [0, 0]);
});

Deno.test("RFC 9293 3.6, figure 13: both sides close at the same time", () => {
  const s = new Script();
  s.open();
  s.c.end();
  s.end();
  s.expect("F. 1:2(0) ack 1");
  s.in({ flags: "F.", ack: 1, ...s.ts(101) });
  s.expect(". 2:2(0) ack 2");
  assert.equal(s.c.state, "CLOSING");
  s.in({ flags: ".", ack: 2, ...s.ts(102) });
  assert.equal(s.stack.use.timeWaits, 1);
  assert.deepEqual(s.notes.told, ["open", "writable", "end", "closed"]);
});

Deno.test("RFC 9293 3.6: one segment may carry data, FIN and the acknowledgment of ours", () => {
  const s = new Script();
  s.open();
  s.c.end();
  s.end();
  s.sent();
  s.in({ flags: "FP.", length: 50, ...s.ts(101) });
  s.expect(". 2:2(0) ack 52");
  assert.equal(s.stack.use.timeWaits, 1);
  s.read(50);
  assert.ok(s.c.ended);
});

Deno.test("RFC 9293 3.6.1: TIME-WAIT acknowledges a FIN again and ends after 2 MSL", () => {
  const s = new Script();
  s.open();
  s.c.end();
  s.end();
  s.sent();
  s.in({ flags: "F.", ...s.ts(101) });
  s.sent();
  s.wait(50_000);
  s.in({ flags: "F.", seq: 1, ...s.ts(50_101) });
  s.expect(". 2:2(0) ack 2");
  assert.ok(s.options.timestamps);
  s.wait(50_000);
  assert.equal(s.stack.use.timeWaits, 1);
  s.wait(11_000);
  assert.equal(s.stack.use.timeWaits, 0);
  s.in({ flags: ".", seq: 2, ack: 2 });
  s.expect("R 2:2(0)");
});

Deno.test("RFC 6191 2: a new connection may begin in TIME-WAIT when its timestamp is later", () => {
  const s = new Script();
  s.open();
  s.c.end();
  s.end();
  s.sent();
  s.in({ flags: "F.", ...s.ts(101) });
  s.sent();
  s.in({ flags: "S", seq: 500_000, mss: 1460, ts: [101, 0] });
  assert.equal(s.stack.use.timeWaits, 1);
  s.sent();
  s.in({ flags: "S", seq: 500_000, mss: 1460, ts: [102, 0] });
  assert.equal(s.stack.use.timeWaits, 0);
  assert.match(s.sent()[0] ?? "", /^S\. 0:1\(0\) ack 500001/);
});

Deno.test("RFC 9293 3.10.7.4: data for somebody who has ended is acknowledged all the same", () => {
  const s = new Script();
  s.open();
  s.c.end();
  s.end();
  s.in({ flags: ".", ...s.ts(101) });
  s.sent();
  s.in({ flags: "P.", length: 10, ...s.ts(102) });
  s.read(10);
  assert.equal(s.c.state, "FIN-WAIT-2");
  assert.equal(s.c.write(new Uint8Array(5)), 0);
});

Deno.test("RFC 9293 3.10.5: abort sends a reset, and its owner hears of nothing else", () => {
  const s = new Script();
  s.open();
  s.more({ flags: "P.", length: 10, ...s.ts(101) });
  s.c.abort();
  s.end();
  s.expect("R. 1:1(0) ack 11");
  assert.deepEqual(s.notes.told, ["open", "writable", "aborted"]);
  assert.equal(s.stack.use.connections, 0);
  assert.equal(s.stack.use.bufferBytes, 0);
});

Deno.test("RFC 9293 3.10.4: end() before the handshake is done lets it be done first", () => {
  const s = new Script();
  s.connect();
  s.c.write(new Uint8Array(5));
  s.c.end();
  s.end();
  s.expect();
  s.in({ flags: "S.", seq: 0, mss: 1460 });
  s.expect("FP. 1:7(5) ack 1");
  assert.equal(s.c.state, "FIN-WAIT-1");
});

Deno.test("RFC 5961 3.2: a reset must have the exact sequence number", () => {
  const s = new Script();
  s.open();
  s.in({ flags: "R", seq: 1_000_000 });
  s.expect();
  s.in({ flags: "R", seq: 2 });
  s.expect(". 1:1(0) ack 1");
  assert.equal(s.c.state, "ESTABLISHED");
  s.in({ flags: "R", seq: 1 });
  assert.equal(s.c.state, "CLOSED");
  assert.deepEqual(s.notes.told, ["open", "writable", "reset"]);
});

Deno.test("RFC 5961 4.2: a SYN on an open connection is challenged", () => {
  const s = new Script();
  s.open();
  s.in({ flags: "S", seq: 1, ts: [200, 0] });
  s.expect(". 1:1(0) ack 1");
  s.in({ flags: "S", seq: 9, ts: [200, 0] });
  // RFC 5961 section 7: not twice within half a second.
  s.expect();
  s.wait(500);
  s.in({ flags: "S", seq: 9, ts: [200, 0] });
  s.expect(". 1:1(0) ack 1");
  assert.equal(s.c.state, "ESTABLISHED");
});

Deno.test("RFC 5961 5.2: an acknowledgment of what was never sent, or long ago, is challenged", () => {
  const s = new Script();
  s.open();
  s.in({ flags: "P.", ack: 2, length: 5, ...s.ts(101) });
  s.expect(". 1:1(0) ack 1");
  s.wait(500);
  s.in({ flags: "P.", seq: 1, ack: -9_000_000, length: 5, ...s.ts(101) });
  s.expect(". 1:1(0) ack 1");
  assert.equal(s.c.readable, 0);
});

Deno.test("RFC 6093: the urgent pointer is ignored and its data is in line", () => {
  const s = new Script();
  s.open();
  s.in({ flags: "UP.", length: 10, ...s.ts(101) });
  assert.equal(s.c.readable, 10);
});

Deno.test("RFC 6691: the announced MSS is the MTU without headers, whatever the options", () => {
  const s = new Script({ mtu: 576 });
  s.connect();
  assert.equal(s.options.mss, 536);
});

Deno.test("RFC 9293 3.7.1: without an MSS option segments have 536 bytes", () => {
  const s = new Script();
  s.in({ flags: "S", seq: 0 });
  s.in({ flags: ".", ack: 1 });
  assert.equal(s.c.stats.segmentBytes, 536);
});

Deno.test("RFC 6528: initial sequence numbers differ between connections and grow with time", () => {
  const isns = new Set<number>();
  const s = new Script();
  for (let i = 0; i < 10; i++) {
    s.in({ flags: "S", seq: 0, mss: 1460, port: 50_000 + i });
    s.sent();
    isns.add(s.isn);
  }
  assert.equal(isns.size, 10);
});

Deno.test("RFC 1191, RFC 5927: a path MTU is believed only for what is in flight", () => {
  const s = new Script();
  s.open();
  s.write(3000);
  s.expect(". 1:1449(1448) ack 1", ". 1449:2897(1448) ack 1", "P. 2897:3001(104) ack 1");
  // Another sequence number; larger than what is used; both are ignored.
  s.icmp(4, 800, 90_000);
  s.icmp(4, 1500, 1);
  s.expect();
  assert.equal(s.stack.counters.icmpIgnored, 2);
  s.icmp(4, 1000, 1);
  assert.equal(s.c.stats.segmentBytes, 1000 - 52);
  s.expect(
    ". 1:949(948) ack 1",
    ". 949:1449(500) ack 1",
    ". 1449:2397(948) ack 1",
    ". 2397:2897(500) ack 1",
  );
  // Absurdly small ones have a bound.
  s.icmp(4, 68, 1);
  assert.equal(s.c.stats.segmentBytes, 552 - 52);
});

Deno.test("RFC 1122 4.2.3.9: unreachable ends an attempt to open, not a connection", () => {
  const s = new Script();
  s.open();
  s.write(10);
  s.icmp(1, 0, 1);
  s.icmp(3, 0, 1);
  assert.equal(s.c.state, "ESTABLISHED");
  const other = new Script();
  other.connect();
  other.icmp(1, 0, 0);
  assert.deepEqual(other.notes.told, ["unreachable"]);
  const refused = new Script();
  refused.connect();
  refused.icmp(3, 0, 0);
  assert.deepEqual(refused.notes.told, ["refused"]);
});

Deno.test("RFC 7323 4.3: of a SYN that is repeated the newer timestamp is echoed", () => {
  const again = { flags: "S", seq: 0, mss: 1460, ts: [1100, 0] as const };
  const s = new Script();
  s.in({ ...again, ts: [100, 0] });
  s.expect("S. 0:1(0) ack 1");
  s.in(again);
  s.expect("S. 0:1(0) ack 1");
  assert.equal(s.echo, 1100);

  // Before its owner has answered, too; the more exact listener is asked.
  const waiting = new Script();
  const pending: PendingSyn[] = [];
  waiting.stack.listen({ port: OUR_PORT, address: OURS, onSyn: (one) => void pending.push(one) });
  waiting.in({ ...again, ts: [100, 0] });
  waiting.in(again);
  pending[0]?.accept({});
  waiting.end();
  waiting.expect("S. 0:1(0) ack 1");
  assert.equal(waiting.echo, 1100);
});
