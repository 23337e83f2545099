import assert from "node:assert/strict";
import fc from "fast-check";
import type { TcpConnection, TcpOptions } from "./connection.ts";
import { Script } from "./script_fixture.ts";

/** How far along each state is; a connection never goes back. */
const RANK: Record<string, number> = {
  "SYN-SENT": 1,
  "SYN-RECEIVED": 2,
  "ESTABLISHED": 3,
  "CLOSE-WAIT": 4,
  "FIN-WAIT-1": 4,
  "FIN-WAIT-2": 5,
  "CLOSING": 5,
  "LAST-ACK": 5,
  "TIME-WAIT": 6,
  "CLOSED": 7,
};

/** From these states those are out of reach, although they rank higher (RFC 9293 figure 5). */
const NEVER: Record<string, readonly string[]> = {
  "CLOSE-WAIT": ["FIN-WAIT-2", "CLOSING", "TIME-WAIT"],
  "FIN-WAIT-1": ["LAST-ACK"],
  "FIN-WAIT-2": ["CLOSING", "LAST-ACK"],
  "CLOSING": ["LAST-ACK", "FIN-WAIT-2"],
  "LAST-ACK": ["CLOSING", "FIN-WAIT-2", "TIME-WAIT"],
};

/** Mostly the number that is right: with any other, little happens. */
const number = fc.oneof(
  { weight: 5, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.integer({ min: -5, max: 3000 }) },
);

const segment = fc.record({
  kind: fc.constant("segment" as const),
  flags: fc.oneof(
    { weight: 15, arbitrary: fc.constantFrom(".", "P.", "F.", "S.") },
    { weight: 1, arbitrary: fc.constantFrom("S", "FP.", "R", "R.", "F", "") },
  ),
  seq: number,
  ack: number,
  length: fc.constantFrom(0, 0, 1, 500),
  win: fc.constantFrom(0, 1, 100, 65535),
});

const action = fc.oneof(
  { weight: 20, arbitrary: segment },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("write" as const), size: fc.nat(2000) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("read" as const), size: fc.nat(2000) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("end" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(1, 50, 300) }),
  },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constant("abort" as const) }),
      fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(5000, 70_000) }),
    ),
  },
);

const actions = fc.array(action, { maxLength: 60, size: "max" });

type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

/** A connection that we open, or one that the test opens. */
function begin(active: boolean, options: TcpOptions = {}): Script {
  const s = new Script({}, options);
  if (active) s.connect(options);
  else {
    s.in({ flags: "S", seq: 0, mss: 1460, sackOk: true, scale: 4 });
    s.sent();
  }
  return s;
}

/** Lets it happen to `c`, and the batch end. */
function happen(s: Script, c: TcpConnection, one: Action): void {
  if (one.kind === "segment") {
    const { flags, seq, ack, length, win } = one;
    s.in({
      flags,
      length,
      win,
      ...(seq === null ? {} : { seq }),
      ...(ack === null ? {} : { ack }),
    });
  } else if (one.kind === "write") c.write(new Uint8Array(one.size));
  else if (one.kind === "read") c.read(new Uint8Array(one.size));
  else if (one.kind === "end") c.end();
  else if (one.kind === "abort") c.abort();
  else s.wait(one.ms);
  s.end();
  s.sent();
}

Deno.test("L6: a connection moves only along RFC 9293's figure 5, and tells its owner in order", () => {
  const reached = new Set<string>();
  fc.assert(
    fc.property(fc.boolean(), actions, (active, all) => {
      const s = begin(active);
      const c = s.c;
      let before: string = c.state;
      for (const one of all) {
        happen(s, c, one);
        const { closedIn } = s.notes;
        const states = before === "CLOSED" || closedIn === undefined ? [] : [closedIn];
        for (const after of [...states, c.state]) {
          assert.ok((RANK[after] ?? 0) >= (RANK[before] ?? 9), `${before} became ${after}`);
          assert.ok(!(NEVER[before] ?? []).includes(after), `${before} became ${after}`);
          reached.add(after);
          before = after;
        }
      }
      const { told } = s.notes;
      const closes = told.filter((word) => !["open", "readable", "writable", "end"].includes(word));
      assert.ok(closes.length <= 1, told.join());
      if (closes.length === 1) assert.equal(told.at(-1), closes[0]);
      assert.ok(told.filter((word) => word === "end").length <= 1);
      const opened = told.indexOf("open");
      assert.equal(told.lastIndexOf("open"), opened);
      if (opened > 0) assert.fail(`told ${told.join()} before it was open`);
      c.abort();
      s.c.abort();
      s.end();
      s.wait(100_000);
      assert.equal(s.stack.use.bufferBytes, 0);
    }),
    { numRuns: Number(Deno.env.get("OMERTA_FUZZ_TCP_STATES") ?? 1000) },
  );
  assert.deepEqual(reached, new Set(Object.keys(RANK)), "it has been everywhere");
});

Deno.test("L6: with keepalive every state ends when the other side falls silent", () => {
  const options = { keepalive: { idleMs: 60_000, intervalMs: 10_000, probes: 3 } };
  fc.assert(
    fc.property(fc.boolean(), actions, (active, all) => {
      const s = begin(active, options);
      const { c } = s;
      for (const one of all) happen(s, c, one);
      // R2, and the gaps between repetitions by then.
      s.wait(300_000 + 130_000);
      const { connections, pending } = s.stack.use;
      assert.deepEqual([c.state, connections, pending], ["CLOSED", 0, 0]);
      s.wait(60_000);
      assert.equal(s.stack.use.timeWaits, 0);
      assert.equal(s.due, Infinity);
    }),
    { numRuns: Number(Deno.env.get("OMERTA_FUZZ_TCP_STATES") ?? 1000) },
  );
});
