import assert from "node:assert/strict";
import { BURST, Gate, MAX_PER_SECOND, MAX_UNHANDLED, SHARED, SHARED_BYTES } from "./gate.ts";

function newGate(): { gate: Gate; shared: Int32Array } {
  const shared = new Int32Array(new SharedArrayBuffer(SHARED_BYTES));
  return { gate: new Gate(shared), shared };
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
    for (let i = 0; i < count; i++) if (gate.admitControl(now)) admitted++;
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
