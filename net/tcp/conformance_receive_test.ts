/**
 * What a receiver takes, announces and says to its owner, segment by segment; each test is named after
 * the section that it holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Random } from "../../tests/doubles/random.ts";
import { Script } from "./script_fixture.ts";

const MSS = 1448;

function opened(): Script {
  const s = new Script();
  s.open();
  return s;
}

/** A receiver whose buffer is full: its window is closed, and `next` is the next number. */
function full(): { s: Script; next: number } {
  const s = new Script({ limits: { bufferBytes: 16_384 } });
  s.open({ scale: 0 });
  let next = 1;
  for (; next < 16_385; next += 1024) {
    s.in({ flags: ".", seq: next, length: 1024, ...s.ts(101) });
    s.sent();
  }
  assert.equal(s.window, 0);
  return { s, next };
}

Deno.test("RFC 9293 3.10.7.4: a segment without ACK is dropped, whatever else it has", () => {
  const s = opened();
  for (const flags of ["", "P", "F", "U"]) {
    s.in({ flags, seq: 1, length: 10, ...s.ts(101) });
    s.expect();
  }
  assert.deepEqual([s.c.state, s.c.readable], ["ESTABLISHED", 0]);
});

Deno.test("RFC 9293 3.10.7.4: a FIN of its own finds room in a closed window", () => {
  const { s, next } = full();
  s.in({ flags: "F.", seq: next, ...s.ts(102) });
  s.expect(`. 1:1(0) ack ${next + 1}`);
  assert.equal(s.c.state, "CLOSE-WAIT");
  s.read(16_384);
  assert.ok(s.c.ended);
});

Deno.test("RFC 9293 3.10.7.4: data does not find room in a closed window, and is told so", () => {
  const { s, next } = full();
  for (const length of [1, MSS]) {
    s.in({ flags: "P.", seq: next, length, ...s.ts(102) });
    s.expect(`. 1:1(0) ack ${next}`);
    assert.deepEqual([s.window, s.c.readable], [0, 16_384]);
  }
  // RFC 9293 section 3.4: an acknowledgment is taken all the same.
  s.write(100);
  s.sent();
  s.in({ flags: "P.", seq: next, length: 1, ack: 101, ...s.ts(103) });
  assert.equal(s.c.unacknowledged, 0);
});

Deno.test("RFC 9293 3.8.6: the window's right edge never moves left", () => {
  const random = new Random(5);
  const s = new Script({ limits: { bufferBytes: 100_000 } });
  s.open();
  let seq = 1;
  let edge = 0;
  for (let i = 0; i < 3000; i++) {
    if (random.below(2) === 0) {
      const hole = random.below(4) === 0 ? MSS : 0;
      s.in({ flags: ".", seq: seq + hole, length: MSS, ...s.ts(101) });
      if (hole === 0) seq += MSS;
    } else s.c.read(new Uint8Array(random.below(5000)));
    s.end();
    for (const line of s.sent()) {
      const ack = Number(/ack (\d+)/.exec(line)?.[1]);
      seq = Math.max(seq, ack);
      const right = ack + (s.window << 1);
      // The scale is 1 for such a buffer, so an edge is rounded up to a multiple of two.
      assert.ok(right >= edge, `${line}: the right edge went from ${edge} to ${right}`);
      edge = right;
    }
  }
  assert.ok(edge > 100_000);
});

Deno.test("RFC 2883 4.1: each of several duplicates is reported", () => {
  const s = opened();
  for (let i = 0; i < 4; i++) s.in({ flags: "P.", length: 100, ...s.ts(101) });
  s.sent();
  s.in({ flags: "P.", seq: 1, length: 100, ...s.ts(102) });
  s.expect(". 1:1(0) ack 401 sack 1:101");
  s.in({ flags: "P.", seq: 101, length: 100, ...s.ts(102) });
  s.expect(". 1:1(0) ack 401 sack 101:201");
  s.in({ flags: "P.", seq: 201, length: 200, ...s.ts(102) });
  s.expect(". 1:1(0) ack 401 sack 201:401");
});

Deno.test("RFC 2018 4: four gaps are more than fit beside timestamps: the newest three are told", () => {
  const s = opened();
  for (const seq of [101, 301, 501, 701]) s.in({ flags: "P.", seq, length: 100, ...s.ts(102) });
  assert.equal(s.sent().at(-1), ". 1:1(0) ack 1 sack 701:801 sack 501:601 sack 301:401");
  // Filled from the left, each gap is forgotten.
  s.in({ flags: "P.", seq: 1, length: 100, ...s.ts(103) });
  s.expect(". 1:1(0) ack 201 sack 701:801 sack 501:601 sack 301:401");
  s.in({ flags: "P.", seq: 201, length: 500, ...s.ts(103) });
  s.expect(". 1:1(0) ack 801");
  assert.equal(s.c.readable, 800);
});

Deno.test("RFC 9293 3.9.1.3: what can be read does not count the FIN, which is told by itself", () => {
  const s = opened();
  s.in({ flags: "FP.", length: 100, ...s.ts(101) });
  assert.deepEqual([s.c.readable, s.c.ended], [100, false]);
  assert.deepEqual(s.notes.told.slice(2), ["readable", "end"]);
  s.read(60);
  assert.deepEqual([s.c.readable, s.c.ended], [40, false]);
  s.read(40);
  assert.deepEqual([s.c.readable, s.c.ended], [0, true]);
});

Deno.test("RFC 3168 6.1.1: whoever asks for ECN is answered that there is none", () => {
  const s = new Script();
  s.in({ flags: "SEW", mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  s.in({ flags: "." });
  s.in({ flags: "P.EW", length: 10 });
  s.write(10);
  assert.ok(s.sent().every((line) => !/[EW]/.test(line)));
  assert.equal(s.c.readable, 10);
});

Deno.test("RFC 7413 4.1: data in a SYN is not taken, and comes again", () => {
  const s = new Script();
  s.in({ flags: "SP", mss: 1460, length: 20 });
  s.expect("S. 0:1(0) ack 1");
  s.in({ flags: ".", seq: 1, ack: 1 });
  assert.equal(s.c.readable, 0);
  s.in({ flags: "P.", seq: 1, length: 20 });
  s.expect(". 1:1(0) ack 21");
  assert.equal(s.c.readable, 20);
});

Deno.test("RFC 9293 3.10.7.3: data and FIN may come with the answer to our SYN", () => {
  const s = new Script();
  s.connect();
  s.in({ flags: "SFP.", seq: 0, ack: 1, mss: 1460, length: 20 });
  s.expect(". 1:1(0) ack 22");
  assert.deepEqual([s.c.state, s.c.readable], ["CLOSE-WAIT", 20]);
  assert.deepEqual(s.notes.told, ["open", "readable", "end", "writable"]);
});

Deno.test("RFC 9293 3.9.1.2: writable is told once, when there is room again", () => {
  const s = opened();
  const told = (): number => s.notes.told.filter((word) => word === "writable").length;
  assert.equal(told(), 1);
  const more = new Uint8Array(1_000_000);
  assert.ok(s.c.write(more) < more.length);
  assert.equal(s.c.write(more), 0);
  s.end();
  let seen = 0;
  while (told() === 1) {
    s.wait(10);
    for (const line of s.sent()) seen = Number(/:(\d+)\(/.exec(line)?.[1] ?? seen);
    s.in({ flags: ".", ack: seen, ...s.ts(102) });
  }
  assert.ok(s.c.writable > 0);
  for (let i = 0; i < 20; i++) {
    s.wait(10);
    for (const line of s.sent()) seen = Number(/:(\d+)\(/.exec(line)?.[1] ?? seen);
    s.in({ flags: ".", ack: seen, ...s.ts(103) });
  }
  assert.equal(told(), 2);
});

Deno.test("RFC 9293 3.8.6: small segments do not move the window beyond what there is room for", () => {
  const s = opened();
  const limit = s.c.stats.receiveLimit;
  let next = 1;
  // Less than the unit in which the window is told.
  for (; next < 2 * limit; next += 127) {
    s.in({ flags: ".", seq: next, length: 127, ...s.ts(101) });
    s.now += 1;
    s.sent();
  }
  assert.equal(s.c.stats.receiveLimit, limit);
  assert.ok(s.c.readable <= limit, `${s.c.readable} bytes wait, there is room for ${limit}`);
  assert.ok(s.c.readable > limit - 2 * MSS);
});

Deno.test("RFC 5681 2: without window scaling a read that opens nothing says nothing", () => {
  const s = new Script();
  s.in({ flags: "S", mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  s.in({ flags: "." });
  s.in({ flags: ".", length: 1000 });
  s.expect(". 1:1(0) ack 1001");
  for (let i = 0; i < 4; i++) {
    s.read(100);
    s.expect();
  }
});

Deno.test("RFC 9293 3.10.7.4: a FIN in front of what has arrived is none", () => {
  const s = opened();
  s.in({ flags: ".", seq: 101, length: 100, ...s.ts(101) });
  s.in({ flags: "F.", seq: 51, ...s.ts(101) });
  s.sent();
  s.in({ flags: "F.", seq: 1, length: 100, ...s.ts(102) });
  s.expect(". 1:1(0) ack 201");
  assert.deepEqual([s.c.state, s.c.readable], ["ESTABLISHED", 200]);
  s.in({ flags: "F.", seq: 201, ...s.ts(103) });
  assert.equal(s.c.state, "CLOSE-WAIT");
});

Deno.test("RFC 9293 3.10.7.4, second: a reset of what was not acknowledged is told as one", () => {
  for (const acknowledged of [false, true]) {
    const s = opened();
    s.in({ flags: "F.", ...s.ts(101) });
    s.c.write(new Uint8Array(1000));
    s.c.end();
    s.end();
    s.sent();
    if (acknowledged) s.in({ flags: ".", ack: 1001, ...s.ts(102) });
    assert.equal(s.c.state, "LAST-ACK");
    s.in({ flags: "R", seq: 2 });
    assert.equal(s.notes.told.at(-1), acknowledged ? "closed" : "reset");
  }
});

Deno.test("RFC 7323 5.5: a timestamp of weeks ago gives way to any other", () => {
  const s = opened();
  s.in({ flags: ".", length: 10, ...s.ts(101) });
  s.sent();
  s.now += 26 * 24 * 3600 * 1000;
  const later = (101 + 26 * 24 * 3600 * 1000) | 0;
  s.in({ flags: ".", length: 10, ...s.ts(later) });
  s.expect(". 1:1(0) ack 21");
  assert.equal(s.echo, later);
  s.in({ flags: ".", length: 10, ...s.ts(later - 1) });
  assert.equal(s.stack.counters.paws, 1);
});
