/**
 * Losses, segment by segment; each test is named after the section that it holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Script, THEIRS } from "./script_fixture.ts";

const MSS = 1448;

/** An open connection with `segments` full segments in flight, and a round trip of 50 ms. */
function flight(segments: number, sack = true): Script {
  const s = new Script();
  s.in({ flags: "S", seq: 0, mss: 1460, ts: [100, 0], scale: 7, sackOk: sack });
  s.sent();
  s.wait(50);
  s.in({ flags: ".", ack: 1, ...s.ts(101) });
  s.sent();
  s.write(segments * MSS);
  // Pacing spreads them.
  s.wait(25);
  assert.equal(s.sent().length, segments);
  return s;
}

const at = (segment: number): number => 1 + segment * MSS;

Deno.test("RFC 6298 2.2, 5: the timeout follows the round trip, doubles, and has a least value", () => {
  const s = flight(1);
  // 50 ms measured: SRTT + 4 RTTVAR is 150, and the least is 200.
  assert.equal(s.c.stats.timeoutMs, 200);
  const gaps: number[] = [];
  let last = s.now - 25;
  for (let i = 0; i < 4000 && gaps.length < 5; i++) {
    s.wait(1);
    const count = s.sent().length;
    if (count === 0) continue;
    gaps.push(s.now - last);
    last = s.now;
  }
  // The first is a tail loss probe that comes with the timeout (RFC 8985 section 7.2).
  assert.deepEqual(gaps, [200, 200, 400, 800, 1600]);
});

Deno.test("RFC 6298 5: retry() sends at once what waits for a doubled timeout", () => {
  const s = flight(1);
  s.wait(10_000);
  s.sent();
  s.stack.retry((remote) => remote !== THEIRS);
  s.wait(1);
  s.expect();
  s.stack.retry((remote) => remote === THEIRS);
  s.wait(1);
  assert.equal(s.sent().length, 1);
  // Once: the timeout goes on from there, twice as long.
  s.wait(5000);
  s.expect();
  s.in({ flags: ".", ack: at(1), ts: [110, 0] });
  s.stack.retry(() => true);
  s.wait(1);
  s.expect();
});

Deno.test("RFC 6298 5: retry() sends a SYN at once, and looks at a closed window at once", () => {
  const s = new Script();
  s.connect();
  s.wait(15_500); // repeated after 1, 3, 7 and 15 s
  assert.equal(s.sent().length, 4);
  s.stack.retry(() => true);
  s.wait(1);
  s.expect("S 0:1(0)");

  const w = new Script();
  w.open();
  w.in({ flags: ".", win: 0, ...w.ts(101) });
  w.c.write(new Uint8Array(10));
  w.end();
  w.wait(20_000);
  const probes = w.sent().length;
  assert.ok(probes >= 3, `${probes}`);
  w.stack.retry(() => true);
  w.wait(1);
  assert.equal(w.sent().length, 1);
});

Deno.test("RFC 6298 3: what was sent twice is not measured by its time (Karn)", () => {
  const s = flight(1);
  s.wait(10_000);
  s.sent();
  const before = s.c.stats.roundTripMs;
  s.in({ flags: ".", ack: at(1), ts: [110, 0] });
  assert.equal(s.c.stats.roundTripMs, before);
});

Deno.test("RFC 6298 3: what waited behind a hole is not measured when the hole is filled", () => {
  const s = flight(8, false);
  s.wait(5000);
  s.sent();
  // Only the first segment was lost; without timestamps or SACK nobody says when the rest arrived.
  s.in({ flags: ".", ack: at(8), ts: [101, 0] });
  assert.ok(s.c.stats.roundTripMs < 100, `${s.c.stats.roundTripMs}`);
  assert.ok(s.c.stats.minRoundTripMs < 100, `${s.c.stats.minRoundTripMs}`);
});

Deno.test("RFC 9293 3.8.3: unacknowledged data is given up in the end, with a reset", () => {
  const s = flight(1);
  s.wait(400_000);
  assert.equal(s.notes.told.at(-1), "timeout");
  assert.match(s.sent().at(-1) ?? "", /^R\./);
  assert.equal(s.stack.use.connections, 0);
});

Deno.test("RFC 6675 5: SACK blocks above a hole send it again, and only it", () => {
  const s = flight(8);
  s.wait(30);
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(1), at(4)]] });
  s.expect(`. ${at(0)}:${at(1)}(${MSS}) ack 1`);
  s.wait(10);
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(1), at(6)]] });
  s.expect();
  s.wait(40);
  s.in({ flags: ".", ack: at(8), ts: [102, s.stamp] });
  s.expect();
  assert.equal(s.c.unacknowledged, 0);
  assert.equal(s.stack.counters.recoveries, 1);
  assert.equal(s.stack.counters.timeouts, 0);
});

Deno.test("RFC 9438 4.6: a loss multiplies the window by 0.7", () => {
  const s = flight(10);
  const before = s.c.stats.congestionWindow;
  s.wait(30);
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(1), at(10)]] });
  s.expect(`. ${at(0)}:${at(1)}(${MSS}) ack 1`);
  s.wait(50);
  s.in({ flags: ".", ack: at(10), ts: [102, s.stamp] });
  assert.equal(s.c.stats.congestionWindow, Math.floor(0.7 * before));
});

Deno.test("RFC 8985 6.2: a segment that is only late is not sent again once that was seen", () => {
  const s = flight(8);
  s.wait(30);
  // Reordered by one: nothing is sent, and the late one arrives.
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(1), at(2)]] });
  s.expect();
  s.in({ flags: ".", ack: at(2), ts: [101, s.stamp] });
  s.expect();
  // Another time, it is waited for: a quarter of a round trip.
  s.in({ flags: ".", ack: at(2), ts: [101, s.stamp], sack: [[at(3), at(4)]] });
  s.expect();
  s.wait(30);
  s.expect(`. ${at(2)}:${at(3)}(${MSS}) ack 1`);
});

Deno.test("RFC 8985 6.2: a retransmission that is lost is found by what was sent after it", () => {
  const s = flight(10);
  s.wait(30);
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(1), at(9)]] });
  s.expect(`. ${at(0)}:${at(1)}(${MSS}) ack 1`);
  s.write(2 * MSS);
  s.wait(10);
  const sent = s.sent();
  assert.equal(sent[0], `. ${at(10)}:${at(11)}(${MSS}) ack 1`);
  s.wait(50);
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(1), at(11)]] });
  s.wait(30);
  assert.ok(s.sent().includes(`. ${at(0)}:${at(1)}(${MSS}) ack 1`));
  assert.equal(s.stack.counters.timeouts, 0);
});

Deno.test("RFC 8985 7.2: after two round trips of silence the last segment is sent again", () => {
  const s = flight(4);
  s.wait(75);
  s.expect();
  s.wait(15);
  s.expect(`P. ${at(3)}:${at(4)}(${MSS}) ack 1`);
  assert.equal(s.stack.counters.tailProbes, 1);
  // Its SACK shows that the two before it are lost.
  s.wait(50);
  s.in({ flags: ".", ack: at(1), ts: [101, s.stamp], sack: [[at(3), at(4)]] });
  s.wait(40);
  s.expect(`. ${at(1)}:${at(2)}(${MSS}) ack 1`, `. ${at(2)}:${at(3)}(${MSS}) ack 1`);
  assert.equal(s.stack.counters.timeouts, 0);
});

Deno.test("RFC 8985 7.4: a probe that repaired a loss costs the window", () => {
  const s = flight(10);
  const before = s.c.stats.congestionWindow;
  s.wait(60);
  s.in({ flags: ".", ack: at(9), ts: [101, s.stamp] });
  const grown = s.c.stats.congestionWindow;
  assert.ok(grown >= before);
  s.wait(250);
  s.expect(`P. ${at(9)}:${at(10)}(${MSS}) ack 1`);
  s.wait(50);
  s.in({ flags: ".", ack: at(10), ts: [102, s.stamp] });
  assert.ok(s.c.stats.congestionWindow < grown);
});

Deno.test("RFC 6582 3.2: without SACK three duplicates send the first segment again", () => {
  const s = flight(8, false);
  s.wait(30);
  for (let i = 0; i < 2; i++) s.in({ flags: ".", ack: at(0), ts: [101, s.stamp] });
  s.expect();
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp] });
  s.expect(`. ${at(0)}:${at(1)}(${MSS}) ack 1`);
  // A partial acknowledgment: the next hole.
  s.wait(50);
  s.in({ flags: ".", ack: at(3), ts: [102, s.stamp] });
  s.expect(`. ${at(3)}:${at(4)}(${MSS}) ack 1`);
  s.wait(50);
  s.in({ flags: ".", ack: at(8), ts: [103, s.stamp] });
  assert.equal(s.c.unacknowledged, 0);
  assert.equal(s.stack.counters.recoveries, 1);
});

Deno.test("RFC 3522, RFC 4015: a timeout that was none is taken back", () => {
  const s = flight(8, false);
  const before = s.c.stats.congestionWindow;
  const stamp = s.stamp;
  s.wait(400);
  assert.ok(s.sent().length > 0);
  assert.equal(s.stack.counters.timeouts, 1);
  assert.ok(s.c.stats.congestionWindow < before);
  // Acknowledged is the first transmission, by its timestamp.
  s.in({ flags: ".", ack: at(4), ts: [102, stamp] });
  assert.equal(s.stack.counters.undone, 1);
  assert.ok(s.c.stats.congestionWindow >= before);
  assert.ok(!s.sent().some((line) => line.startsWith(`. ${at(4)}:`)));
});

Deno.test("RFC 3522 3.2: what comes before the retransmission does not show that it was needless", () => {
  const s = flight(8, false);
  const stamp = s.stamp;
  s.wait(400);
  assert.ok(s.sent().length > 0);
  assert.equal(s.stack.counters.timeouts, 1);
  const reduced = s.c.stats.congestionWindow;
  // The first half of the segment had arrived before, by its timestamp; the rest had not.
  s.in({ flags: ".", ack: at(0) + 500, ts: [102, stamp] });
  assert.equal(s.stack.counters.undone, 0);
  s.in({ flags: ".", ack: at(1), ts: [103, s.stamp] });
  assert.equal(s.stack.counters.undone, 0);
  assert.ok(s.c.stats.congestionWindow < 3 * reduced);
});

Deno.test("RFC 2018 8: what was reported and dropped again is sent again after a timeout", () => {
  const s = flight(6);
  s.wait(30);
  s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(1), at(6)]] });
  s.sent();
  s.wait(50);
  // The hole is filled, but the rest is not acknowledged: the other side has dropped it.
  s.in({ flags: ".", ack: at(1), ts: [102, s.stamp] });
  s.sent();
  s.wait(3000);
  assert.equal(s.sent()[0], `. ${at(1)}:${at(2)}(${MSS}) ack 1`);
});

Deno.test("RFC 2018 5: SACK blocks that make no sense change nothing", () => {
  const s = flight(4);
  const wrong: [number, number][] = [[at(9), at(12)], [at(3), at(2)], [-9000, -8000], [
    at(2),
    at(9),
  ]];
  for (const block of wrong) {
    s.in({ flags: ".", ack: at(0), ts: [101, s.stamp], sack: [[at(0) - 100, at(0) - 50], block] });
  }
  s.expect();
  s.in({ flags: ".", ack: at(4), ts: [102, s.stamp] });
  assert.equal(s.c.unacknowledged, 0);
});

Deno.test("RFC 6928: the first window is ten segments", () => {
  const s = new Script();
  s.open();
  s.write(60_000);
  assert.equal(s.sent().length, 10);
});

Deno.test("RFC 8985 6.2: blocks that one acknowledgment names newest first are no reordering", () => {
  const sentAgain = [[9, 7, 5], [5, 7, 9]].map((order) => {
    const s = flight(10);
    const sack = order.map((i) => [at(i - 1), at(i)] as const);
    s.in({ flags: ".", ack: 1, sack, ...s.ts(102) });
    s.wait(10);
    return s.sent();
  });
  assert.deepEqual(sentAgain[0], sentAgain[1]);
  assert.ok((sentAgain[0] ?? []).length > 0);
});

Deno.test("RFC 8985 7.3: a probe that was due does not go out in a recovery", () => {
  const s = flight(10);
  const sack = [[at(2), at(5)]] as const;
  s.in({ flags: ".", ack: 1, sack, ...s.ts(102) });
  assert.equal(s.stack.counters.recoveries, 1);
  s.wait(190);
  assert.equal(s.stack.counters.tailProbes, 0);
});

Deno.test("RFC 8985 7.4: without timestamps a probe has repaired a loss only when more is acknowledged", () => {
  for (const late of ["the original", "the probe"]) {
    const s = new Script();
    s.in({ flags: "S", seq: 0, mss: 1448, sackOk: true, scale: 7 });
    s.sent();
    s.wait(50);
    s.in({ flags: ".", ack: 1 });
    s.write(4 * MSS);
    s.wait(25);
    s.in({ flags: ".", ack: at(3) });
    while (s.stack.counters.tailProbes === 0) s.wait(1);
    const before = s.c.stats.congestionWindow;
    s.in({ flags: ".", ack: at(4) });
    assert.ok(s.c.stats.congestionWindow >= before);
    if (late === "the original") s.in({ flags: ".", ack: at(4), sack: [[at(3), at(4)]] });
    s.write(MSS);
    s.wait(25);
    s.in({ flags: ".", ack: at(5) });
    assert.equal(s.stack.counters.recoveries, late === "the original" ? 0 : 1);
  }
});
