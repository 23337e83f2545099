import assert from "node:assert/strict";
import { Endpoint } from "../os/endpoint.ts";
import {
  BURST,
  Gate,
  MAX_PER_SECOND,
  MAX_PER_SOURCE,
  MAX_UNHANDLED,
  SHARED,
  SHARED_BYTES,
  SOURCE_BURST,
} from "./gate.ts";

/** The name of somebody. */
function name(address: string, port = 51820): Uint8Array {
  const endpoint = Endpoint.of(address, port);
  assert.ok(endpoint);
  return endpoint.sockaddr;
}

function newGate(): { gate: Gate; shared: Int32Array } {
  const shared = new Int32Array(new SharedArrayBuffer(SHARED_BYTES));
  return { gate: new Gate(shared, 7), shared };
}

Deno.test("Gate.admit() stops when too many events are unhandled, and goes on as they are handled", () => {
  const { gate, shared } = newGate();
  for (let i = 0; i < MAX_UNHANDLED; i++) assert.equal(gate.admit(), true);
  assert.equal(gate.admit(), false);
  Atomics.add(shared, SHARED.handled, 1);
  assert.equal(gate.admit(), true);
  assert.equal(gate.admit(), false);
});

Deno.test("Gate.admit() goes on when the counters wrap around", () => {
  const { gate, shared } = newGate();
  for (let i = 0; i < MAX_UNHANDLED; i++) gate.admit();
  Atomics.store(shared, SHARED.handled, -2147483648);
  assert.equal(typeof gate.admit(), "boolean");
});

Deno.test("Gate.admitControl() lets a burst through and then the rate", () => {
  const { gate, shared } = newGate();
  let admitted = 0;
  const flood = (now: number, count: number): void => {
    for (let i = 0; i < count; i++) {
      if (gate.admitControl(now, name(`10.${i >> 8 & 255}.${i & 255}.9`), 0)) admitted++;
    }
    // The main thread keeps up.
    Atomics.store(shared, SHARED.handled, admitted);
  };
  flood(1000, 1000);
  assert.equal(admitted, BURST);
  flood(1100, 1000);
  assert.equal(admitted, BURST + MAX_PER_SECOND / 10);
  // A clock that goes back gives nothing.
  flood(500, 1000);
  assert.equal(admitted, BURST + MAX_PER_SECOND / 10);
});

/** How many of `count` datagrams from `sources` get through at `now`. */
function admitted(
  { gate, shared }: ReturnType<typeof newGate>,
  now: number,
  count: number,
  ...sources: Uint8Array[]
): number {
  let through = 0;
  for (let i = 0; i < count; i++) {
    const source = sources[i % sources.length];
    if (source === undefined || !gate.admitControl(now, source, 0)) continue;
    through++;
    Atomics.add(shared, SHARED.handled, 1);
  }
  return through;
}

Deno.test("V9: Gate.admitControl() lets others through while one source floods", () => {
  const made = newGate();
  const flooder = [name("203.0.113.9", 1), name("203.0.113.9", 2)];
  const others = [name("203.0.113.10"), name("198.51.100.2"), name("2001:db8::1")];
  let flooded = 0;
  for (let ms = 0; ms < 1000; ms++) {
    flooded += admitted(made, ms, 100, ...flooder);
    if (ms % 100 !== 0) continue;
    for (const other of others) assert.equal(admitted(made, ms, 3, other), 3, `at ${ms} ms`);
  }
  assert.ok(flooded >= MAX_PER_SOURCE && flooded <= MAX_PER_SOURCE + SOURCE_BURST, `${flooded}`);
});

Deno.test("Gate.admitControl() takes a /64 of IPv6 for one source, and the next for another", () => {
  const made = newGate();
  const one = Array.from({ length: 256 }, (_, i) => name(`2001:db8::${(i + 1).toString(16)}`));
  assert.equal(admitted(made, 0, 1000, ...one), SOURCE_BURST);
  assert.equal(admitted(made, 0, 1000, name("2001:db8:0:1::1")), SOURCE_BURST);
});
