import assert from "node:assert/strict";
import fc from "fast-check";
import { CAPTURED, captured, type CapturedName } from "../../tests/doubles/captured_frames.ts";
import { BORROWER, FilterBench } from "../../tests/doubles/filter_bench.ts";
import { guestArp, guestFrame, wireguardMessage } from "../../tests/doubles/guest_frames.ts";
import { Random } from "../../tests/doubles/random.ts";
import { GATEWAY_ADDRESS } from "./guest_link.ts";
import {
  ACTION,
  ConntrackStrategy,
  DEFAULT_SAMPLE_RATE,
  FILTER_MODES,
  type FilterStrategy,
  FullStrategy,
  SampledStrategy,
  strategyOf,
} from "./strategy.ts";
import { countsByReason, VERDICT } from "./verdict.ts";

const STRANGER = 0x08080808;

function benchOf(strategy: FilterStrategy): FilterBench {
  return new FilterBench(BORROWER, 100_000, strategy);
}

/** Frames that were forwarded unjudged. */
function unjudged(bench: FilterBench): number {
  return bench.nat.counters.unjudged[0] ?? NaN;
}

/** Numbers from 0 to 1 that come again. */
function seeded(seed = 7): () => number {
  const random = new Random(seed);
  return () => random.below(2 ** 32) / 2 ** 32;
}

Deno.test("N7: FullStrategy forwards what is allowed, and judges each frame", () => {
  const bench = benchOf(new FullStrategy());
  for (let i = 0; i < 3; i++) assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(bench.toUplink.take().length, 3);
  assert.equal(unjudged(bench), 0);
  assert.equal(new FullStrategy().act(VERDICT.forwarded), ACTION.forward);
  assert.equal(new FullStrategy().act(VERDICT.answered), ACTION.forward);
});

Deno.test("N7: FullStrategy drops a packet to anybody else, and goes on", () => {
  const bench = benchOf(new FullStrategy());
  assert.equal(bench.fromGuest(guestFrame({ destination: STRANGER })), "destination");
  assert.equal(new FullStrategy().act(VERDICT.destination), ACTION.drop);
  assert.deepEqual(bench.violations, []);
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
});

Deno.test("N7: ConntrackStrategy has the first packet of a flow judged", () => {
  const bench = benchOf(new ConntrackStrategy());
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(unjudged(bench), 0);
  // Another source port is another flow.
  assert.equal(bench.fromGuest(guestFrame({ sourcePort: 40001 })), "forwarded");
  assert.equal(unjudged(bench), 0);
});

Deno.test("N7: ConntrackStrategy lets repeated packets of the flow pass without the allowlist", () => {
  const bench = benchOf(new ConntrackStrategy());
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  let asked = 0;
  const { allowlist } = bench.nat;
  const has = allowlist.has.bind(allowlist);
  allowlist.has = (address, port): boolean => {
    asked++;
    return has(address, port);
  };
  for (let i = 0; i < 10; i++) assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(asked, 0);
  assert.equal(unjudged(bench), 10);
  assert.deepEqual(bench.toUplink.take().at(-1), { payload: wireguardMessage(), to: BORROWER });
  // The control: the next flow asks.
  bench.fromGuest(guestFrame({ sourcePort: 40001 }));
  assert.equal(asked, 1);
});

Deno.test("N7: ConntrackStrategy ends the VM for a packet to anybody else", () => {
  const bench = benchOf(new ConntrackStrategy());
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  const bad = guestFrame({ destination: STRANGER });
  assert.equal(
    new ConntrackStrategy().act(VERDICT.destination, bad, 0, bad.length),
    ACTION.terminate,
  );
  assert.equal(bench.fromGuest(bad), "destination");
  assert.deepEqual(bench.violations, [
    "destination: UDP 192.168.100.2:40000 > 8.8.8.8:51820 len 96",
  ]);
  assert.equal(bench.nat.isCutOff, true);
});

Deno.test("N7: ConntrackStrategy judges again after the allowlist has changed", () => {
  const bench = benchOf(new ConntrackStrategy());
  bench.fromGuest(guestFrame());
  bench.nat.allowlist.replace([{ address: GATEWAY_ADDRESS, port: 51820 }]);
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(unjudged(bench), 0);
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(unjudged(bench), 1);
  bench.nat.allowlist.replace([]);
  assert.equal(bench.fromGuest(guestFrame()), "destination");
  assert.equal(bench.violations.length, 1);
});

Deno.test("N7: ConntrackStrategy lets bytes that are no tunnel through to the borrower alone", () => {
  const bench = benchOf(new ConntrackStrategy());
  bench.fromGuest(guestFrame());
  bench.toUplink.take();
  const payload = new Uint8Array(100).fill(0x5a);
  assert.equal(bench.fromGuest(guestFrame({ payload })), "forwarded");
  assert.deepEqual(bench.toUplink.take(), [{ payload, to: BORROWER }]);
  // Too short for any message of the tunnel: judged after all.
  assert.equal(bench.fromGuest(guestFrame({ payload: new Uint8Array(31) })), "not-wireguard");
  assert.equal(bench.violations.length, 1);
});

Deno.test("N7: SampledStrategy leaves most packets unjudged", () => {
  const bench = benchOf(new SampledStrategy(DEFAULT_SAMPLE_RATE, seeded()));
  for (let i = 0; i < 1000; i++) assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  const skipped = unjudged(bench);
  assert.ok(skipped >= 975 && skipped < 1000, `${skipped} of 1000 were not judged`);
  assert.equal(bench.toUplink.take().length, 1000);
  const again = benchOf(new SampledStrategy(DEFAULT_SAMPLE_RATE, seeded()));
  for (let i = 0; i < 1000; i++) again.fromGuest(guestFrame());
  assert.equal(unjudged(again), skipped, "the same numbers give the same sample");
});

Deno.test("N7: SampledStrategy ends the VM for a violation in the sample, not for one beside it", () => {
  const numbers = [0.5, 0.5, 0.009];
  const bench = benchOf(new SampledStrategy(0.01, () => numbers.shift() ?? assert.fail()));
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  bench.toUplink.take();
  const bad = guestFrame({ destination: STRANGER, destinationPort: 53 });
  assert.equal(bench.fromGuest(bad), "forwarded");
  assert.equal(bench.fromGuest(bad), "forwarded");
  // It did not get to where it was sent to: there is one uplink.
  assert.deepEqual(bench.toUplink.take().map(({ to }) => to), [BORROWER, BORROWER]);
  assert.deepEqual(bench.violations, []);
  assert.equal(bench.fromGuest(bad), "destination");
  assert.deepEqual(bench.violations, ["destination: UDP 192.168.100.2:40000 > 8.8.8.8:53 len 96"]);
});

Deno.test("N7: SampledStrategy judges everything before the first good packet, and what is no UDP", () => {
  const bench = benchOf(new SampledStrategy(0.01, () => 0.99));
  assert.equal(bench.fromGuest(guestArp()), "answered");
  assert.equal(bench.fromGuest(captured("routerSolicitation")), "ipv6");
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(unjudged(bench), 0);
  assert.equal(bench.fromGuest(guestFrame()), "forwarded");
  assert.equal(unjudged(bench), 1);
  assert.equal(bench.fromUplink(wireguardMessage()), "forwarded");
  assert.equal(bench.fromGuest(captured("ping")), "protocol");
  assert.equal(bench.nat.isCutOff, true);
});

Deno.test("N7: SampledStrategy with rate 1 judges everything", () => {
  const bench = benchOf(new SampledStrategy(1, seeded()));
  for (let i = 0; i < 100; i++) bench.fromGuest(guestFrame());
  assert.equal(unjudged(bench), 0);
  bench.fromGuest(guestFrame({ destination: STRANGER }));
  assert.equal(bench.violations.length, 1);
});

Deno.test("N8: strategyOf() makes the strategy of each mode", () => {
  assert.ok(strategyOf("filtered") instanceof FullStrategy);
  assert.ok(strategyOf("conntrack") instanceof ConntrackStrategy);
  assert.ok(strategyOf("sampled") instanceof SampledStrategy);
  assert.deepEqual(FILTER_MODES.map((mode) => strategyOf(mode).mode), [...FILTER_MODES]);
});

Deno.test("N8: the share that mode sampled judges can be set", () => {
  const strategy = strategyOf("sampled", 0.05, seeded());
  assert.ok(strategy instanceof SampledStrategy);
  assert.equal(strategy.rate, 0.05);
  const bench = benchOf(strategy);
  for (let i = 0; i < 10_000; i++) bench.fromGuest(guestFrame());
  const judged = 10_000 - unjudged(bench);
  assert.ok(judged > 400 && judged < 600, `${judged} of 10000 were judged`);
  for (const rate of [0, -1, 1.01, NaN, Infinity]) {
    assert.throws(() => strategyOf("sampled", rate), RangeError);
  }
});

Deno.test("N7: after a violation nothing moves, either way, and it is reported once", () => {
  for (const strategy of [new ConntrackStrategy(), new SampledStrategy(1, seeded())]) {
    const bench = benchOf(strategy);
    bench.fromGuest(guestFrame());
    assert.equal(bench.fromUplink(wireguardMessage()), "forwarded");
    bench.fromGuest(guestFrame({ destination: STRANGER }));
    bench.toUplink.take();
    bench.toGuest.take();
    for (const frame of [guestFrame(), guestArp(), guestFrame({ destination: STRANGER })]) {
      assert.equal(bench.fromGuest(frame), "cut-off");
    }
    assert.equal(bench.fromUplink(wireguardMessage()), "cut-off");
    assert.deepEqual([bench.toUplink.take(), bench.toGuest.take()], [[], []]);
    assert.equal(bench.violations.length, 1);
    assert.equal(bench.refused.length, 1);
    assert.equal(countsByReason(bench.nat.counters.fromGuest)["cut-off"], 3);
  }
});

Deno.test("N7: conntrack forwards what filtered forwards, on captured frames", () => {
  const names = Object.keys(CAPTURED) as CapturedName[];
  for (const name of names) {
    const words = [new FullStrategy(), new ConntrackStrategy(), new SampledStrategy(1, seeded())]
      .map((strategy) => benchOf(strategy).fromGuest(captured(name)));
    assert.equal(new Set(words).size, 1, `${name}: ${words}`);
  }
});

Deno.test("N7: no strategy throws on any bytes and range, or sends to anybody but the uplink", () => {
  const bytes = fc.uint8Array({ maxLength: 1600 });
  const good = fc.constant(guestFrame());
  const changed = fc.tuple(fc.nat(137), fc.nat(255)).map(([at, value]) => {
    const frame = guestFrame();
    frame[at] = value;
    return frame;
  });
  for (const mode of FILTER_MODES) {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(bytes, good, changed), { maxLength: 8 }),
        fc.nat(20),
        fc.integer(),
        (frames, at, length) => {
          const bench = benchOf(strategyOf(mode, 0.5, seeded()));
          bench.fromGuest(guestFrame());
          for (const frame of frames) {
            bench.fromGuest(frame);
            bench.nat.fromGuest(frame, at, length);
          }
          for (const { to, payload } of bench.toUplink.take()) {
            assert.equal(to, BORROWER);
            assert.ok(payload.length >= 32 && payload.length <= 1472);
          }
        },
      ),
      { numRuns: 300 },
    );
  }
});
