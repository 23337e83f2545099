import assert from "node:assert/strict";
import { guestArp, guestFrame } from "../../tests/doubles/guest_frames.ts";
import { MemoryDatagramSink, MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { Endpoint } from "../os/endpoint.ts";
import { FilteredNat, type FilteredNatOptions } from "./filtered_nat.ts";
import { guestLink } from "./guest_link.ts";
import { rehearse } from "./rehearsal.ts";
import { strategyOf } from "./strategy.ts";

const STRANGER = guestFrame({ destination: 0x08080808 });

function live(options: Partial<FilteredNatOptions> = {}): {
  nat: FilteredNat;
  uplink: MemoryDatagramSink;
  guest: MemoryPacketSink;
  heard: string[];
} {
  const uplink = new MemoryDatagramSink();
  const guest = new MemoryPacketSink();
  const heard: string[] = [];
  const nat = new FilteredNat({
    guest: guestLink(),
    uplink: Endpoint.of("192.0.2.1", 9),
    toUplink: uplink,
    toGuest: guest,
    onRefused: () => heard.push("refused"),
    onViolation: () => heard.push("violation"),
    ...options,
  });
  return { nat, uplink, guest, heard };
}

Deno.test("N15: rehearse() says what would come out, and nothing does", () => {
  const { nat, uplink, guest, heard } = live();
  assert.deepEqual(
    rehearse(nat, [guestFrame(), guestArp(), STRANGER, new Uint8Array(3)]),
    [
      { verdict: "forwarded", out: "uplink", action: "none", unjudged: false },
      { verdict: "answered", out: "guest", action: "none", unjudged: false },
      { verdict: "destination", out: "nothing", action: "drop", unjudged: false },
      { verdict: "truncated", out: "nothing", action: "drop", unjudged: false },
    ],
  );
  assert.deepEqual([uplink.take(), guest.take(), heard], [[], [], []]);
  assert.deepEqual(nat.counters.fromGuest.filter((n) => n > 0), new Float64Array(0));
  // The control: the same frames, for real.
  for (const frame of [guestFrame(), guestArp(), STRANGER]) nat.fromGuest(frame, 0, frame.length);
  assert.deepEqual([uplink.take().length, guest.take().length, heard], [1, 1, ["refused"]]);
});

for (const mode of ["conntrack", "sampled"] as const) {
  Deno.test(`N15: rehearse() ends nobody in mode ${mode}, and says that it would`, () => {
    const { nat, heard } = live({ strategy: strategyOf(mode, 0.5, () => 0.9) });
    assert.deepEqual(rehearse(nat, [STRANGER, STRANGER]).map(({ action }) => action), [
      "end",
      "end",
    ]);
    assert.equal(nat.isCutOff, false);
    // What the mode does not look at is said to come out: the flow has to be known for that.
    const fragment = guestFrame({ fragment: 0x2000 });
    assert.equal(rehearse(nat, [fragment])[0]?.unjudged, false);
    nat.fromGuest(guestFrame(), 0, guestFrame().length);
    assert.deepEqual(rehearse(nat, [fragment])[0], {
      verdict: "fragment",
      out: "uplink",
      action: "none",
      unjudged: true,
    });
    nat.fromGuest(STRANGER.map((b, i) => i === 23 ? 1 : b), 0, STRANGER.length);
    assert.deepEqual([nat.isCutOff, heard], [true, ["refused", "violation"]]);
    assert.equal(rehearse(nat, [guestFrame()])[0]?.verdict, "cut-off");
  });
}

Deno.test("N15: rehearse() judges by the live allowlist and uplink", () => {
  const { nat } = live();
  nat.allowlist.replace([{ address: 0x08080808, port: 51820 }]);
  assert.deepEqual(rehearse(nat, [STRANGER, guestFrame()]).map(({ out }) => out), [
    "uplink",
    "nothing",
  ]);
  nat.setUplink(undefined);
  assert.equal(rehearse(nat, [STRANGER])[0]?.verdict, "no-uplink");
});
