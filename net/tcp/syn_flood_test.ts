import assert from "node:assert/strict";
import { DEFAULT_LIMITS } from "./limits.ts";
import { type Attempt, Flood, PORT, ROUND_TRIP_MS } from "./syn_flood_fixture.ts";

const { halfOpen, pending } = DEFAULT_LIMITS;
/** SYNs in each ms of a flood under which a client gets through. */
const BEARABLE = 10;
/** And under which none does: a third of them fills the table twice in a round trip. */
const TOO_MANY = Math.ceil(6 * halfOpen / ROUND_TRIP_MS);

/** None had to send its SYN again, which would be a second later; to `never` none got through. */
function checkServed(attempts: readonly Attempt[]): void {
  for (const { port, begunAt, openedAt, echoed, reason } of attempts) {
    if (port === PORT.never) {
      assert.equal(openedAt, undefined);
      continue;
    }
    assert.deepEqual([port, echoed, reason], [port, 300, "closed"]);
    assert.ok((openedAt ?? Infinity) - begunAt < 200, `port ${port}`);
  }
}

/** Attempts at one port. */
function at(flood: Flood, port: number): Attempt[] {
  return flood.attempts.filter((one) => one.port === port);
}

Deno.test("RFC 4987 3: 200000 SYNs of strangers fill tables to their caps, and clients get through", () => {
  const flood = new Flood(1);
  flood.run(20_000, BEARABLE);
  const clients = flood.attempts.slice();
  assert.equal(flood.strangers, 200_000);
  assert.equal(flood.most.pending, pending);
  // Those of strangers, and the few of the client that are open.
  assert.ok(flood.most.connections >= halfOpen && flood.most.connections < halfOpen + 20);
  flood.run(1000, 0);
  checkServed(clients);
  const { counters, use } = flood.sim.b;
  assert.ok(counters.halfOpenEvicted > 100_000 && counters.pendingEvicted > 50_000);
  assert.equal(use.bufferBytes, 0);
});

Deno.test("RFC 4987 3: when the flood is over every table empties by itself", () => {
  const flood = new Flood(2);
  flood.run(2000, BEARABLE);
  const { b } = flood.sim;
  assert.ok(b.use.connections >= halfOpen && b.use.pending > pending / 2, JSON.stringify(b.use));
  flood.sim.pass(200_000);
  assert.deepEqual(b.use, { connections: 0, pending: 0, timeWaits: 0, bufferBytes: 0 });
  // Positive control: who comes then is served as ever.
  const before = flood.attempts.length;
  flood.run(500, 0);
  assert.equal(flood.attempts[before]?.reason, "closed");
});

Deno.test("RFC 4987 3: a flood that fills the table within a round trip keeps clients out until it is over", () => {
  const flood = new Flood(3);
  flood.run(400, TOO_MANY);
  assert.ok(flood.most.connections < halfOpen + 20, JSON.stringify(flood.most));
  // What is accepted at once leaves the place that somebody else was pushed out of.
  assert.ok(flood.most.pending <= pending && flood.most.pending > 0.9 * pending);
  assert.ok(at(flood, PORT.atOnce).every((one) => one.echoed === 0));
  // They try again by themselves.
  const tried = flood.attempts.slice();
  flood.run(8000, 0);
  const served = tried.filter((one) => one.port !== PORT.never && one.echoed === 300);
  assert.ok(served.length > 0, `${served.length} of ${tried.length}`);
});

Deno.test("RFC 4987 3: whoever floods from one address takes half of the places, and keeps nobody out", () => {
  const flood = new Flood(4, 1);
  flood.run(400, TOO_MANY);
  const clients = flood.attempts.slice();
  assert.ok(clients.length >= 6);
  assert.ok(flood.most.connections >= halfOpen / 2 && flood.most.connections < halfOpen / 2 + 20);
  assert.ok(flood.most.pending >= 0.45 * pending && flood.most.pending < pending / 2 + 20);
  flood.run(500, 0);
  checkServed(clients);
});

Deno.test("RFC 4987 3: memory stays flat while 120000 SYNs of strangers come", async () => {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--v8-flags=--expose-gc"],
      new URL("./syn_flood_fixture.ts", import.meta.url).pathname,
    ],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  const measured: number[] = JSON.parse(new TextDecoder().decode(stdout));
  assert.equal(measured.length, 5);
  const grown = Math.max(...measured) - (measured[0] ?? 0);
  // The simulated link keeps up to 4096 packets that it has delivered, a megabyte or two. Anything
  // that stayed of each SYN would be more: a record of 50 bytes is 6 MB.
  assert.ok(grown < 4e6, `grew by ${grown} bytes: ${measured}`);
});
