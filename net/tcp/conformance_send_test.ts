/**
 * How much a sender sends, and what it makes of acknowledgments, segment by segment; each test is
 * named after the section that it holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Script } from "./script_fixture.ts";

const MSS = 1448;
const at = (segment: number): number => 1 + segment * MSS;

/** The whole first window is in flight, and more waits; the round trip is 50 ms. */
function flight(sack = true, waits = 20): Script {
  const s = new Script();
  s.in({ flags: "S", seq: 0, mss: 1460, ts: [100, 0], scale: 7, sackOk: sack });
  s.sent();
  s.wait(50);
  s.in({ flags: ".", ack: 1, ...s.ts(101) });
  s.write((10 + waits) * MSS);
  // Pacing spreads them.
  s.wait(25);
  assert.equal(s.sent().length, 10);
  return s;
}

/** First number and length of what is sent in the next `ms`. */
function sentSoon(s: Script, ms = 10): string[] {
  s.wait(ms);
  return s.sent().map((line) => line.replace(/^\S+ (\d+):.*\((\d+)\).*$/, "$1+$2"));
}

for (const sack of [true, false]) {
  const how = sack ? "with" : "without";
  Deno.test(`RFC 3042 2: the first two duplicate acknowledgments let new data out, ${how} SACK`, () => {
    const s = flight(sack);
    s.wait(25);
    for (let i = 1; i <= 2; i++) {
      const blocks = sack ? { sack: [[at(1), at(1 + i)]] as const } : {};
      s.in({ flags: ".", ack: at(0), ...s.ts(101), ...blocks });
      const sent = sentSoon(s, 5);
      assert.ok(
        sent.length > 0 && sent.every((one) => Number.parseInt(one) >= at(9 + i)),
        `${sent}`,
      );
    }
    const before = s.c.stats.congestionWindow;
    const third = sack ? { sack: [[at(1), at(4)]] as const } : {};
    s.in({ flags: ".", ack: at(0), ...s.ts(101), ...third });
    assert.ok(sentSoon(s).includes(`${at(0)}+${MSS}`));
    assert.ok(s.c.stats.congestionWindow < before);
  });
}

for (const each of [1, 2, 5, 10]) {
  Deno.test(`RFC 5681 3.1, RFC 3465: acknowledged ${each} at a time, slow start doubles the window`, () => {
    const s = flight();
    assert.equal(s.c.stats.congestionWindow, 10 * MSS);
    s.wait(25);
    for (let acked = each; acked <= 10; acked += each) {
      s.in({ flags: ".", ack: at(acked), ...s.ts(102) });
    }
    assert.equal(s.c.stats.congestionWindow, 20 * MSS);
    s.wait(50);
    assert.equal(s.sent().length, 20);
  });
}

Deno.test("RFC 9438 5.8: an owner with little to say does not grow the window", () => {
  const s = flight(true, 0);
  s.wait(25);
  s.in({ flags: ".", ack: at(10), ...s.ts(102) });
  const before = s.c.stats.congestionWindow;
  for (let i = 0; i < 50; i++) {
    s.write(MSS);
    s.sent();
    s.wait(50);
    s.in({ flags: ".", ...s.ts(103 + i) });
  }
  assert.equal(s.c.stats.congestionWindow, before);
});

Deno.test("RFC 9293 3.8.6: a window that shrinks is borne: nothing new goes out, all is acknowledged", () => {
  const s = flight();
  s.wait(25);
  // Less than what is in flight.
  s.in({ flags: ".", ack: at(1), win: 10, ...s.ts(102) });
  assert.deepEqual(sentSoon(s), []);
  s.in({ flags: ".", ack: at(10), win: 10, ...s.ts(103) });
  assert.equal(s.c.unacknowledged, 20 * MSS);
  // Of so small a window only the timer takes something (section 3.8.6.2.1).
  assert.deepEqual(sentSoon(s), []);
  s.in({ flags: ".", ack: at(10), win: 500, ...s.ts(104) });
  s.wait(50);
  assert.equal(s.sent().length, 20);
  assert.equal(s.stack.counters.retransmits, 0);
});

Deno.test("RFC 5681 2: windows, data and a FIN that come with the same number are no duplicates", () => {
  const s = flight(false, 0);
  s.wait(25);
  for (let i = 1; i <= 3; i++) s.in({ flags: ".", ack: at(0), win: 60_000 + i, ...s.ts(102) });
  for (let i = 1; i <= 3; i++) {
    s.in({ flags: "P.", ack: at(0), win: 60_003, length: 10, ...s.ts(103) });
  }
  s.in({ flags: "F.", ack: at(0), win: 60_003, ...s.ts(104) });
  assert.deepEqual([s.stack.counters.recoveries, s.stack.counters.retransmits], [0, 0]);
  for (let i = 1; i <= 3; i++) s.in({ flags: ".", ack: at(0), win: 60_003, ...s.ts(105) });
  assert.deepEqual([s.stack.counters.recoveries, s.stack.counters.retransmits], [1, 1]);
});

Deno.test("RFC 2018 5: blocks in any order leave the same holes, and each is filled once", () => {
  const orders = [[2, 4, 6, 8], [8, 6, 4, 2], [4, 8, 2, 6]];
  for (const order of orders) {
    const s = flight(true, 0);
    s.wait(25);
    const told: [number, number][] = [];
    for (const segment of order) {
      told.unshift([at(segment - 1), at(segment)]);
      s.more({ flags: ".", ack: at(0), ...s.ts(102), sack: told.slice(0, 3) });
    }
    s.end();
    const again = sentSoon(s);
    // RFC 6937: some wait until more has left the network.
    for (const acked of [0, 2]) {
      s.in({ flags: ".", ack: at(acked), ...s.ts(102), sack: [[at(7), at(10)]] });
      again.push(...sentSoon(s));
    }
    const want = [0, 2, 4, 6].map((segment) => `${at(segment)}+${MSS}`);
    assert.deepEqual(again.toSorted(), want.toSorted(), `${order}`);
    s.wait(20);
    s.in({ flags: ".", ack: at(10), ...s.ts(103) });
    assert.deepEqual([s.c.unacknowledged, s.stack.counters.timeouts], [0, 0]);
  }
});

Deno.test("RFC 2018 5: an old acknowledgment changes nothing, whatever it reports", () => {
  const s = flight(true, 0);
  s.wait(25);
  s.in({ flags: ".", ack: at(6), ...s.ts(102) });
  s.sent();
  for (let i = 0; i < 3; i++) {
    s.in({ flags: ".", ack: at(2), ...s.ts(102), sack: [[at(7), at(10)]] });
  }
  assert.deepEqual(sentSoon(s), []);
  assert.equal(s.stack.counters.recoveries, 0);
});

Deno.test("RFC 3522, RFC 4015: a fast retransmission that was none is taken back", () => {
  const s = flight(true, 0);
  const { stamp } = s;
  const before = s.c.stats.congestionWindow;
  s.wait(25);
  s.in({ flags: ".", ack: at(0), ...s.ts(102), sack: [[at(1), at(5)]] });
  assert.deepEqual(sentSoon(s)[0], `${at(0)}+${MSS}`);
  assert.ok(s.c.stats.congestionWindow < before);
  // What is acknowledged is the first transmission, by its timestamp: it was only late.
  s.in({ flags: ".", ack: at(5), ts: [103, stamp] });
  assert.equal(s.stack.counters.undone, 1);
  assert.ok(s.c.stats.congestionWindow >= before);
});

Deno.test("RFC 6298 5.5: each timeout doubles the next, and one acknowledgment ends that", () => {
  const s = flight(true, 0);
  s.wait(3000);
  assert.ok(s.stack.counters.timeouts >= 3);
  s.sent();
  s.in({ flags: ".", ack: at(10), ...s.ts(102) });
  s.write(100);
  s.sent();
  const begun = s.now;
  let first = 0;
  while (first === 0) {
    s.wait(10);
    if (s.sent().length > 0) first = s.now - begun;
  }
  assert.ok(first <= 1000, `the next repetition came after ${first} ms`);
});

Deno.test("RFC 9293 3.7.4: a last small segment waits for nothing but another small one", () => {
  const s = flight(true, 0);
  s.wait(25);
  s.in({ flags: ".", ack: at(10), ...s.ts(102) });
  s.write(2 * MSS + 100);
  s.wait(25);
  // Minshall: only full ones are in flight before it.
  assert.deepEqual(s.sent().map((line) => /\((\d+)\)/.exec(line)?.[1]), ["1448", "1448", "100"]);
  s.write(50);
  assert.deepEqual(s.sent(), []);
  // Enough for a full one: that does not wait.
  s.write(MSS);
  assert.equal(s.sent().length, 1);
});
