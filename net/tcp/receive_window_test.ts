import assert from "node:assert/strict";
import { TCP_OPTION } from "../wire/tcp_options.ts";
import type { TcpConnection } from "./connection.ts";
import { ReceiveRoundTrip } from "./receive_round_trip.ts";
import { ADDRESS_B, type LinkOptions, Simulation, withoutOptions } from "./simulation_fixture.ts";

const scratch = new Uint8Array(65_536);

/** What a path carries in a ms: 20 Mbit/s. */
const RATE = 2500;

/** A path of so many ms there and back. */
function path(roundTripMs: number): LinkOptions {
  return { delayMs: roundTripMs / 2, rate: RATE, queueBytes: 600_000 };
}

/** What part of the path bulk data fills in the last of so many ms, into an end that sends nothing. */
function filled(
  roundTripMs: number,
  ms: number,
  change: (sim: Simulation) => void = () => {},
  options: readonly number[] = [],
): number {
  let bytes = 0;
  const filter = withoutOptions(options);
  const sim = new Simulation({
    seed: 1,
    congestion: "cubic",
    link: { ...path(roundTripMs), filter },
    back: { delayMs: roundTripMs / 2 },
  });
  sim.b.listen({
    onSyn: (pending) =>
      void pending.accept({
        onReadable: (c: TcpConnection): void => {
          for (let n = c.read(scratch); n > 0; n = c.read(scratch)) bytes += n;
        },
      }),
  });
  const writes = (c: TcpConnection): void => {
    while (c.write(scratch) === scratch.length);
  };
  sim.a.connect({ to: ADDRESS_B, port: 80, handler: { onWritable: writes } });
  change(sim);
  sim.pass(ms - 2000);
  const before = bytes;
  sim.pass(2000);
  return (bytes - before) / (2000 * RATE);
}

/** Loses the first answer to the SYN, so that the end that receives measures no handshake. */
function loseSynAck(sim: Simulation): void {
  let packets = 0;
  sim.ba.options = { ...sim.ba.options, filter: () => packets++ > 0 };
}

Deno.test("L6: the window of an end that only receives fills the path", () => {
  assert.ok(filled(100, 5000) > 0.9);
});

Deno.test("L6: it does so when the handshake measured no round trip", () => {
  assert.ok(filled(100, 5000, loseSynAck) > 0.9);
});

Deno.test("L6: it does so without timestamps", () => {
  assert.ok(filled(100, 5000, loseSynAck, [TCP_OPTION.timestamps]) > 0.9);
});

Deno.test("L6: it grows when the path becomes longer than it was at the handshake", () => {
  const longer = (sim: Simulation): void => {
    sim.pass(2000);
    sim.ab.options = path(200);
    sim.ba.options = { ...sim.ba.options, delayMs: 100 };
  };
  assert.ok(filled(10, 12_000, longer) > 0.8);
});

Deno.test("RFC 7323 4.1: ReceiveRoundTrip smooths what echoes say, each once", () => {
  const trip = new ReceiveRoundTrip();
  assert.equal(trip.value, -1);
  trip.echoed(1, -1);
  assert.equal(trip.value, -1);
  trip.echoed(1, 80);
  assert.equal(trip.value, 80);
  trip.echoed(1, 800);
  assert.equal(trip.value, 80);
  trip.echoed(2, 160);
  assert.equal(trip.value, 90);
});

Deno.test("ReceiveRoundTrip without timestamps is the least time in which a window came", () => {
  const trip = new ReceiveRoundTrip();
  trip.arrived(0, 1000, 0);
  trip.arrived(999, 1999, 40);
  assert.equal(trip.value, -1);
  trip.arrived(1000, 2000, 50);
  assert.equal(trip.value, 50);
  trip.arrived(2000, 3000, 250);
  assert.equal(trip.value, 50);
  trip.arrived(3000, 4000, 270);
  assert.equal(trip.value, 20);
});
