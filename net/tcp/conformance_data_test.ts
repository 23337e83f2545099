/**
 * Data and acknowledgments, segment by segment; each test is named after the section that it holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Script, type SegmentIn } from "./script_fixture.ts";

/** Reads over the first acknowledgments, which come at once. */
function settled(options: Partial<SegmentIn> = {}): Script {
  const s = new Script();
  s.open(options);
  for (let i = 0; i < 20; i++) s.in({ flags: "P.", length: 1, ...s.ts(101) });
  s.read(20);
  s.wait(100);
  s.sent();
  return s;
}

Deno.test("RFC 9293 3.8.6.3: an acknowledgment waits 40 ms for data to go with", () => {
  const s = settled();
  s.in({ flags: "P.", length: 10, ...s.ts(102) });
  s.expect();
  s.wait(39);
  s.expect();
  s.wait(1);
  s.expect(". 1:1(0) ack 31");
  s.in({ flags: "P.", length: 10, ...s.ts(103) });
  s.write(5);
  s.expect("P. 1:6(5) ack 41");
  s.wait(100);
  s.expect();
});

Deno.test("RFC 9293 3.8.6.3: every second full segment is acknowledged, a batch once", () => {
  const s = settled();
  s.in({ flags: ".", length: 1448, ...s.ts(102) });
  s.expect();
  s.in({ flags: ".", length: 1448, ...s.ts(102) });
  s.expect(". 1:1(0) ack 2917");
  for (let i = 0; i < 20; i++) s.more({ flags: ".", length: 1448, ...s.ts(103) });
  s.end();
  s.expect(`. 1:1(0) ack ${2917 + 20 * 1448}`);
});

Deno.test("RFC 5681 4.2: what is out of order is acknowledged at once, with SACK (RFC 2018 4)", () => {
  const s = settled();
  s.in({ flags: "P.", seq: 31, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21 sack 31:41");
  s.in({ flags: "P.", seq: 61, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21 sack 61:71 sack 31:41");
  s.in({ flags: "P.", seq: 41, length: 5, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21 sack 31:46 sack 61:71");
  s.in({ flags: "P.", seq: 91, length: 5, ...s.ts(102) });
  s.in({ flags: "P.", seq: 111, length: 5, ...s.ts(102) });
  assert.equal(s.sent().at(-1), ". 1:1(0) ack 21 sack 111:116 sack 91:96 sack 31:46");
  s.in({ flags: "P.", seq: 21, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 46 sack 111:116 sack 91:96 sack 61:71");
  assert.equal(s.c.readable, 25);
});

Deno.test("RFC 2883 4: a duplicate is reported first", () => {
  const s = settled();
  s.in({ flags: "P.", seq: 11, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21 sack 11:21");
  s.in({ flags: "P.", seq: 31, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21 sack 31:41");
  s.in({ flags: "P.", seq: 31, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21 sack 31:41 sack 31:41");
  s.in({ flags: "P.", seq: 16, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 26 sack 16:21 sack 31:41");
});

Deno.test("RFC 9293 3.10.7.4: a FIN before its data waits for it", () => {
  const s = settled();
  s.in({ flags: "FP.", seq: 31, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21 sack 31:41");
  assert.equal(s.c.state, "ESTABLISHED");
  s.in({ flags: "P.", seq: 21, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 42");
  assert.equal(s.c.state, "CLOSE-WAIT");
  assert.equal(s.c.readable, 20);
});

Deno.test("RFC 9293 3.10.7.4: what lies before or behind the window is cut off", () => {
  const s = new Script({ limits: { bufferBytes: 1000 } });
  s.open();
  s.in({ flags: "P.", seq: -9, length: 20, ...s.ts(101) });
  assert.equal(s.c.readable, 10);
  const into = new Uint8Array(10);
  s.c.read(into);
  assert.deepEqual([...into], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  s.sent();
  s.in({ flags: "P.", seq: 11, length: 1400, ...s.ts(102) });
  assert.ok(s.c.readable <= 1000, `${s.c.readable} bytes were taken`);
  assert.deepEqual(s.sent().length, 1);
});

Deno.test("RFC 9293 3.10.7.4: outside of the window only an acknowledgment comes back", () => {
  const s = settled();
  s.in({ flags: "P.", seq: 10_000_000, length: 10, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21");
  assert.equal(s.stack.counters.outsideWindow, 1);
});

Deno.test("RFC 7323 5.3: a segment with an old timestamp is refused and acknowledged", () => {
  const s = settled();
  s.in({ flags: "P.", length: 10, ts: [50, s.stamp] });
  s.expect(". 1:1(0) ack 21");
  assert.equal(s.c.readable, 0);
  assert.equal(s.stack.counters.paws, 1);
});

Deno.test("RFC 7323 5.5: after 24 days an old timestamp proves nothing", () => {
  const s = settled();
  s.wait(24 * 24 * 3600 * 1000 + 1000);
  s.in({ flags: "P.", seq: 21, length: 10, ts: [50, s.stamp] });
  assert.equal(s.c.readable, 10);
});

Deno.test("RFC 7323 3.2: a segment without the timestamp that was agreed on is dropped", () => {
  const s = settled();
  s.in({ flags: "P.", length: 10 });
  s.expect();
  assert.equal(s.c.readable, 0);
  s.in({ flags: "R", seq: 21 });
  assert.equal(s.c.state, "CLOSED");
});

Deno.test("RFC 7323 4.3: the echo is of the segment at the left edge of the window", () => {
  const s = settled();
  s.in({ flags: "P.", seq: 31, length: 10, ts: [500, s.stamp] });
  s.sent();
  assert.equal(s.echo, 101);
  s.in({ flags: "P.", seq: 21, length: 10, ts: [400, s.stamp] });
  s.sent();
  assert.equal(s.echo, 400);
});

Deno.test("RFC 7323 2.2: without a scale on one side there is none on either", () => {
  const s = new Script();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  assert.deepEqual([s.options.windowScale, s.options.timestamps, s.options.sackPermitted], [
    -1,
    false,
    false,
  ]);
  s.in({ flags: ".", ack: 1, win: 1000 });
  assert.equal(s.c.stats.sendWindow, 1000);
  s.in({ flags: "P.", length: 1000 });
  s.sent();
  assert.equal(s.window, 65535);
});

Deno.test("RFC 7323 2.3: windows are scaled", () => {
  const s = new Script();
  s.open({ scale: 3 });
  s.in({ flags: "P.", length: 1, win: 100, ...s.ts(101) });
  assert.equal(s.c.stats.sendWindow, 800);
});

Deno.test("RFC 9293 3.7.4: Nagle gathers small writes while one is unacknowledged", () => {
  const s = settled();
  s.write(10);
  s.expect("P. 1:11(10) ack 21");
  s.write(10);
  s.write(10);
  s.expect();
  s.in({ flags: ".", ack: 11, ...s.ts(102) });
  s.expect("P. 11:31(20) ack 21");
  s.c.noDelay = true;
  s.write(5);
  s.expect("P. 31:36(5) ack 21");
});

Deno.test("RFC 9293 3.8.6.2.1: a sender does not fill small windows, until the timer says so", () => {
  const s = settled({ scale: 0 });
  s.in({ flags: ".", win: 500, ...s.ts(102) });
  s.write(3000);
  s.expect();
  // RFC 9293 section 3.8.6.2.1 (4): the override timeout, here as long as a retransmission's.
  s.wait(200);
  s.expect(". 1:501(500) ack 21");
});

Deno.test("RFC 9293 3.8.6.1: a closed window is probed with growing gaps, and never given up", () => {
  const s = settled();
  s.in({ flags: ".", win: 0, ...s.ts(102) });
  s.write(1000);
  s.expect();
  s.wait(200);
  s.expect(". 0:0(0) ack 21");
  s.in({ flags: ".", ack: 1, win: 0, ...s.ts(103) });
  const gaps: number[] = [];
  let last = s.now;
  for (let i = 0; i < 400; i++) {
    s.wait(1000);
    if (s.sent().length === 0) continue;
    gaps.push(Math.round((s.now - last) / 1000));
    last = s.now;
    s.in({ flags: ".", ack: 1, win: 0, ...s.ts(104) });
  }
  assert.equal(s.c.state, "ESTABLISHED");
  assert.ok((gaps.at(-1) ?? 0) >= 59, `gaps were ${gaps}`);
  assert.ok(gaps.every((gap) => gap <= 61));
  s.in({ flags: ".", ack: 1, win: 65535, ...s.ts(105) });
  s.expect("P. 1:1001(1000) ack 21");
});

Deno.test("RFC 9293 3.8.6.1: while a closed window is probed, acknowledgments lie within it", () => {
  const s = settled();
  s.in({ flags: ".", win: 0, ...s.ts(102) });
  s.write(1000);
  s.wait(200);
  s.expect(". 0:0(0) ack 21");
  s.in({ flags: "P.", length: 1000, ack: 1, win: 0, ...s.ts(103) });
  s.wait(100);
  s.expect(". 1:1(0) ack 1021");
});

Deno.test("RFC 9293 3.8.6.1: a FIN that waits for a closed window goes when it opens, and in time", () => {
  const s = settled();
  s.in({ flags: ".", win: 0, ...s.ts(102) });
  s.c.end();
  s.wait(100_000);
  assert.ok(s.sent().every((one) => one === ". 0:0(0) ack 21"));
  s.in({ flags: ".", ack: 1, win: 1000, ...s.ts(103) });
  s.expect("F. 1:2(0) ack 21");
  s.wait(400);
  assert.equal(s.sent()[0], "F. 1:2(0) ack 21");
});

Deno.test("RFC 9293 3.10.7.4: what acknowledges behind an octet that probed our window is heard", () => {
  const s = new Script({ limits: { bufferBytes: 4096 } });
  s.open();
  s.write(100);
  s.sent();
  s.in({ flags: ".", length: 4096, ack: 1, ...s.ts(101) });
  s.sent();
  assert.equal(s.window, 0);
  // The octet has no room; their next number is behind it all the same.
  s.in({ flags: ".", length: 1, ack: 1, ...s.ts(102) });
  assert.equal(s.c.unacknowledged, 100);
  s.in({ flags: ".", seq: 4098, ack: 101, ...s.ts(103) });
  assert.equal(s.c.unacknowledged, 0);
  s.in({ flags: "R", seq: 4098 });
  assert.equal(s.c.state, "ESTABLISHED");
});

Deno.test("RFC 9293 3.8.6.1: a closed window whose owner is silent is given up", () => {
  const s = settled();
  s.in({ flags: ".", win: 0, ...s.ts(102) });
  s.write(1000);
  s.wait(400_000);
  assert.deepEqual(s.notes.told.at(-1), "timeout");
});

Deno.test("RFC 9293 3.8.6.2.2: a reader that reads little by little opens the window in good pieces", () => {
  const s = new Script({ limits: { bufferBytes: 16_384 } });
  s.open({ scale: 0 });
  let seq = 1;
  while (s.window << 0 > 0 || seq === 1) {
    s.in({ flags: ".", seq, length: 1448, ...s.ts(101) });
    seq += 1448;
    s.sent();
    if (seq > 40_000) break;
  }
  assert.equal(s.window, 0);
  const windows: number[] = [];
  for (let i = 0; i < 4000; i++) {
    s.read(1);
    if (s.sent().length > 0) windows.push(s.window);
  }
  assert.ok(windows.length <= 3, `${windows.length} updates: ${windows}`);
  assert.ok((windows[0] ?? 0) >= 1448, `the first update was ${windows[0]}`);
});

Deno.test("RFC 9293 3.8.4: keepalive probes, and ends what does not answer", () => {
  const s = new Script({}, { keepalive: { idleMs: 10_000, intervalMs: 1000, probes: 3 } });
  s.open();
  s.wait(9_000);
  s.expect();
  s.wait(1_000);
  s.expect(". 0:0(0) ack 1");
  s.in({ flags: ".", ...s.ts(200) });
  s.wait(9_999);
  s.expect();
  s.wait(3_001);
  s.expect(". 0:0(0) ack 1", ". 0:0(0) ack 1", ". 0:0(0) ack 1", "R. 1:1(0) ack 1");
  assert.equal(s.notes.told.at(-1), "timeout");
});

Deno.test("RFC 9293 3.8.4: keepalive leaves a connection alone whose data is being repeated", () => {
  const s = new Script({}, { keepalive: { idleMs: 10_000, intervalMs: 1000, probes: 3 } });
  s.open();
  s.write(100);
  s.wait(60_000);
  assert.equal(s.c.state, "ESTABLISHED");
  assert.ok(!s.sent().includes(". 0:0(0) ack 1"));
  s.wait(400_000);
  assert.equal(s.notes.told.at(-1), "timeout");
});

Deno.test("L6: a keepalive deadline whose sum is rounded is not due for ever", () => {
  const s = new Script({}, { keepalive: { idleMs: 30_000, intervalMs: 5000, probes: 9 } });
  s.open();
  for (let i = 0; i < 200; i++) {
    s.now += 0.1370000001 * i;
    s.in({ flags: ".", ...s.ts(200 + i) });
    s.sent();
    s.wait(30_000 - 1e-3);
    let calls = 0;
    for (; s.due <= s.now + 1; calls++) {
      s.now = Math.max(s.now, s.due);
      s.due = s.stack.tick(s.now);
      assert.ok(calls < 10, `due at ${s.due}, now ${s.now}`);
    }
    assert.equal(s.sent().length, 1);
  }
});

Deno.test("RFC 9293 3.8.4: our own probe is answered", () => {
  const s = settled();
  s.in({ flags: ".", seq: 20, ...s.ts(102) });
  s.expect(". 1:1(0) ack 21");
});

Deno.test("RFC 5681 4.1: after an idle time the window is the initial one again", () => {
  const s = settled();
  for (let i = 0; i < 6; i++) {
    s.write(60_000);
    for (let k = 0; k < 50 && s.c.unacknowledged > 0; k++) {
      s.wait(10);
      s.sent();
      s.in({ flags: ".", ...s.ts(103 + i) });
    }
  }
  assert.ok(s.c.stats.congestionWindow > 14_600, `${s.c.stats.congestionWindow}`);
  s.wait(60_000);
  s.write(100);
  assert.ok(s.c.stats.congestionWindow <= 14_600);
});
