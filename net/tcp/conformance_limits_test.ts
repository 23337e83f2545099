/**
 * No state lasts for ever against a host that is gone: what ends each of them, and when. Each test is
 * named after the section that it holds.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { TcpOptions } from "./connection.ts";
import { Script } from "./script_fixture.ts";

/** R2 for data: the longest that anything stays unacknowledged, in ms. */
const GIVE_UP_MS = 300_000;
/** The other side falls silent for this long, in ms. */
const LONG_MS = 2 * GIVE_UP_MS;
const KEEPALIVE = { idleMs: 60_000, intervalMs: 10_000, probes: 3 };

/** An open connection; the other side has timestamp 100. */
function opened(options: TcpOptions = {}): Script {
  const s = new Script({}, options);
  s.open();
  return s;
}

/** A connection in `state`, of which the other side falls silent now. */
const SILENT: readonly { state: string; begin: (options?: TcpOptions) => Script }[] = [
  {
    state: "ESTABLISHED",
    begin: (options) => {
      const s = opened(options);
      s.write(100);
      return s;
    },
  },
  {
    state: "CLOSE-WAIT",
    begin: (options) => {
      const s = opened(options);
      s.in({ flags: "F.", ...s.ts(101) });
      s.write(100);
      return s;
    },
  },
  {
    state: "FIN-WAIT-1",
    begin: (options) => {
      const s = opened(options);
      s.c.end();
      s.end();
      return s;
    },
  },
  {
    state: "CLOSING",
    begin: (options) => {
      const s = opened(options);
      s.c.end();
      s.end();
      s.sent();
      s.in({ flags: "F.", ack: 1, ...s.ts(101) });
      return s;
    },
  },
  {
    state: "LAST-ACK",
    begin: (options) => {
      const s = opened(options);
      s.in({ flags: "F.", ...s.ts(101) });
      s.c.end();
      s.end();
      return s;
    },
  },
];

for (const { state, begin } of SILENT) {
  Deno.test(`RFC 9293 3.8.3: what is unacknowledged in ${state} is given up after R2`, () => {
    const s = begin();
    assert.equal(s.c.state, state);
    s.wait(GIVE_UP_MS - 1000);
    assert.equal(s.c.state, state);
    s.wait(LONG_MS - GIVE_UP_MS);
    assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "timeout"]);
    assert.match(s.sent().at(-1) ?? "", /^R\. /);
    assert.deepEqual(s.stack.use, { connections: 0, pending: 0, timeWaits: 0, bufferBytes: 0 });
    assert.equal(s.due, Infinity);
  });

  Deno.test(`RFC 5482 3: giveUpMs sets how long that is in ${state}`, () => {
    const s = begin({ giveUpMs: 20_000 });
    s.wait(19_000);
    assert.equal(s.c.state, state);
    // The next repetition after it: they come in growing gaps.
    s.wait(40_000);
    assert.equal(s.notes.told.at(-1), "timeout");
  });

  Deno.test(`RFC 9293 3.8.6.1: a closed window in ${state} is given up when nobody answers`, () => {
    const s = new Script();
    s.open();
    s.in({ flags: ".", win: 0, ...s.ts(101) });
    s.write(100);
    if (state === "CLOSE-WAIT" || state === "LAST-ACK") s.in({ flags: "F.", win: 0, ...s.ts(102) });
    if (state !== "ESTABLISHED" && state !== "CLOSE-WAIT") s.c.end();
    s.end();
    if (state === "CLOSING") s.in({ flags: "F.", win: 0, ...s.ts(102) });
    assert.equal(s.c.state, state);
    s.wait(LONG_MS);
    assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "timeout"]);
    assert.equal(s.stack.use.bufferBytes, 0);
  });
}

Deno.test("RFC 9293 3.8.3: in SYN-RECEIVED the answer is repeated for a minute", () => {
  const s = new Script();
  s.in({ flags: "S", mss: 1460 });
  s.expect("S. 0:1(0) ack 1");
  s.wait(62_000);
  assert.equal(s.c.state, "SYN-RECEIVED");
  assert.deepEqual(s.sent(), new Array(5).fill("S. 0:1(0) ack 1"));
  s.wait(2000);
  assert.deepEqual([s.c.state, s.notes.told], ["CLOSED", ["timeout"]]);
  assert.equal(s.stack.use.connections, 0);
});

Deno.test("RFC 9293 3.8.3: so it is when both sides have opened", () => {
  const s = new Script();
  s.connect();
  s.in({ flags: "S", seq: 0, mss: 1460 });
  assert.equal(s.c.state, "SYN-RECEIVED");
  s.wait(64_000);
  assert.deepEqual(s.notes.told, ["timeout"]);
});

Deno.test("RFC 9293 3.8.6.1: a window that was closed for long is probed before it is given up", () => {
  const s = opened();
  s.in({ flags: ".", win: 0, ...s.ts(101) });
  s.wait(LONG_MS);
  s.write(100);
  s.wait(1000);
  assert.equal(s.sent()[0], ". 0:0(0) ack 1");
  s.in({ flags: ".", ack: 1, win: 0, ...s.ts(102) });
  s.wait(GIVE_UP_MS - 1000);
  assert.equal(s.c.state, "ESTABLISHED");
  s.wait(LONG_MS);
  assert.equal(s.notes.told.at(-1), "timeout");
});

Deno.test("RFC 9293 3.8.6.1: a closed window whose owner answers is never given up, in LAST-ACK too", () => {
  const s = opened();
  s.in({ flags: "F.", win: 0, ...s.ts(101) });
  s.write(100);
  s.c.end();
  s.end();
  for (let i = 0; i < 100; i++) {
    s.wait(60_000);
    s.in({ flags: ".", ack: 1, win: 0, ...s.ts(102) });
  }
  assert.equal(s.c.state, "LAST-ACK");
  s.in({ flags: ".", ack: 1, win: 1000, ...s.ts(103) });
  s.wait(1000);
  s.in({ flags: ".", ack: 102, ...s.ts(104) });
  assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "closed"]);
});

Deno.test("RFC 9293 3.6, case 1: in FIN-WAIT-2 the owner reads on for as long as it likes", () => {
  const s = opened();
  s.c.end();
  s.end();
  s.sent();
  s.in({ flags: ".", ...s.ts(101) });
  assert.equal(s.c.state, "FIN-WAIT-2");
  // The reason that there is no limit: the other side has a day's work to do before it answers.
  s.wait(24 * 3600 * 1000);
  s.in({ flags: "FP.", length: 10, ...s.ts(102) });
  s.expect(". 2:2(0) ack 12");
  s.read(10);
  assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "closed"]);
});

Deno.test("RFC 1122 4.2.3.6: in FIN-WAIT-2 keepalive ends what does not answer", () => {
  const s = opened({ keepalive: KEEPALIVE });
  s.c.end();
  s.end();
  s.in({ flags: ".", ack: 2, ...s.ts(101) });
  assert.equal(s.c.state, "FIN-WAIT-2");
  s.sent();
  s.wait(KEEPALIVE.idleMs + KEEPALIVE.probes * KEEPALIVE.intervalMs);
  assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "timeout"]);
  assert.equal(s.sent().length, KEEPALIVE.probes + 1);
});

Deno.test("RFC 1122 4.2.2.13: an owner who reads no more aborts, and FIN-WAIT-2 is over at once", () => {
  const s = opened();
  s.c.end();
  s.end();
  s.in({ flags: ".", ack: 2, ...s.ts(101) });
  s.sent();
  s.c.abort();
  s.end();
  s.expect("R. 2:2(0) ack 1");
  assert.deepEqual(s.stack.use, { connections: 0, pending: 0, timeWaits: 0, bufferBytes: 0 });
});

Deno.test("RFC 1122 4.2.3.6: in CLOSE-WAIT without anything to say keepalive ends it", () => {
  const s = opened({ keepalive: KEEPALIVE });
  s.in({ flags: "F.", ...s.ts(101) });
  assert.equal(s.c.state, "CLOSE-WAIT");
  s.sent();
  s.wait(KEEPALIVE.idleMs + KEEPALIVE.probes * KEEPALIVE.intervalMs);
  assert.deepEqual([s.c.state, s.notes.told.at(-1)], ["CLOSED", "timeout"]);
});
