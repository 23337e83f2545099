import assert from "node:assert/strict";
import type { TcpConnection } from "./connection.ts";
import { ADDRESS_B, Simulation } from "./simulation_fixture.ts";

const VIRTUAL_MS = 2000;
const LIMIT = 20_000;

/** Writes for ever, over a path of 50 ms: what arrived, and the most of several things. */
function send(unsentBytes?: number): {
  readonly received: number;
  readonly writable: number;
  readonly unacknowledged: number;
  readonly waiting: number;
} {
  const sim = new Simulation({ seed: 3, link: { delayMs: 25 } });
  const bytes = new Uint8Array(65536);
  const most = { writable: 0, unacknowledged: 0, waiting: 0 };
  let received = 0;
  let written = 0;
  sim.b.listen({
    onSyn: (pending) =>
      void pending.accept({
        onReadable: (c) => {
          for (let n = c.read(bytes); n > 0; n = c.read(bytes)) received += n;
        },
      }),
  });
  const onWritable = (c: TcpConnection): void => {
    for (let taken = bytes.length; taken === bytes.length;) {
      most.writable = Math.max(most.writable, c.writable);
      taken = c.write(bytes);
      written += taken;
      most.unacknowledged = Math.max(most.unacknowledged, c.unacknowledged);
      most.waiting = Math.max(most.waiting, written - c.stats.bytesOut);
    }
  };
  const options = unsentBytes === undefined ? {} : { unsentBytes };
  sim.a.connect({ to: ADDRESS_B, port: 80, handler: { onWritable }, options });
  sim.pass(VIRTUAL_MS);
  return { received, ...most };
}

Deno.test("unsentBytes bounds what waits to be sent, and neither what is on its way nor the rate", () => {
  const bounded = send(LIMIT);
  assert.deepEqual([bounded.writable, bounded.waiting], [LIMIT, LIMIT]);
  // Positive control.
  const free = send();
  assert.ok(free.waiting > 10 * LIMIT, `${free.waiting} bytes waited`);
  assert.ok(free.received > 3_000_000, `${free.received} bytes arrived`);
  assert.ok(bounded.unacknowledged > 10 * LIMIT, `${bounded.unacknowledged} bytes at most`);
  assert.ok(bounded.received > 0.95 * free.received, `${bounded.received} of ${free.received}`);
});

Deno.test("unsentBytes bounds what is written before the connection is open", () => {
  const sim = new Simulation({ seed: 3, link: { delayMs: 25 } });
  const connect = (port: number, options: { unsentBytes?: number }): TcpConnection => {
    const made = sim.a.connect({ to: ADDRESS_B, port, handler: {}, options });
    assert.ok(typeof made !== "string");
    return made;
  };
  const bounded = connect(80, { unsentBytes: 1000 });
  assert.equal(bounded.write(new Uint8Array(5000)), 1000);
  assert.deepEqual([bounded.writable, bounded.write(new Uint8Array(1))], [0, 0]);
  // Positive control.
  assert.equal(connect(81, {}).write(new Uint8Array(5000)), 5000);
});

Deno.test("unsentBytes has nobody told to write after the connection is over", () => {
  const sim = new Simulation({ seed: 3, link: { delayMs: 25 } });
  const said: string[] = [];
  let theirs: TcpConnection | undefined;
  sim.b.listen({ onSyn: (pending) => theirs = pending.accept({}) });
  const made = sim.a.connect({
    to: ADDRESS_B,
    port: 80,
    handler: {
      onWritable: (c) => {
        said.push("writable");
        while (c.write(new Uint8Array(65536)) > 0);
      },
      onClose: (_c, reason) => void said.push(reason),
    },
    options: { unsentBytes: LIMIT },
  });
  assert.ok(typeof made !== "string");
  // Until the window that nobody reads is full, and data waits behind it.
  sim.pass(VIRTUAL_MS);
  made.write(new Uint8Array(LIMIT));
  assert.equal(made.writable, 0);
  const before = said.length;
  assert.ok(before > 1);
  theirs?.abort();
  sim.pass(VIRTUAL_MS);
  assert.deepEqual(said.slice(before), ["reset"]);
});
