import assert from "node:assert/strict";
import { referenceVerdict } from "../../tests/doubles/filter_rules.ts";
import { MemoryDatagramSink, MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { FilteredNat } from "../../net/filter/filtered_nat.ts";
import { REASONS } from "../../net/filter/verdict.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { NONCE, SCENE } from "./_scene_fixture.ts";
import type { Attempt } from "./attempt.ts";
import { ATTEMPTS, attemptsOf } from "./attempts.ts";
import { payload, udpFrame } from "./frames.ts";
import { markOf, marksIn } from "./mark.ts";

const ALLOWED = { allowed: ["192.168.100.1:51820"], uplink: true };

function framesOf(attempt: Attempt, row: number): Uint8Array[] {
  return attempt.frames(SCENE, (frame) => markOf(NONCE, { row, frame }));
}

function filter(): { nat: FilteredNat; uplink: MemoryDatagramSink; guest: MemoryPacketSink } {
  const uplink = new MemoryDatagramSink();
  const guest = new MemoryPacketSink();
  const endpoint = Endpoint.of("198.51.100.7", 40_001);
  const options = { guest: SCENE.link, uplink: endpoint, toUplink: uplink, toGuest: guest };
  return { nat: new FilteredNat(options), uplink, guest };
}

for (const [row, attempt] of ATTEMPTS.entries()) {
  Deno.test(`N10: the filter refuses ${attempt.id} for the reasons that it names`, () => {
    const { nat, uplink, guest } = filter();
    const found = new Set<string>();
    for (const frame of framesOf(attempt, row)) {
      const verdict = REASONS[nat.fromGuest(frame, 0, frame.length)] ?? "";
      assert.ok(attempt.reasons.includes(verdict), `${verdict}: ${frame.toHex()}`);
      assert.equal(verdict, referenceVerdict(frame, ALLOWED), "the rules written a second time");
      found.add(verdict);
    }
    assert.deepEqual([uplink.take(), guest.take()], [[], []]);
    // Each reason is one that a frame is refused with: none hides another.
    const named = attempt.reasons.filter((reason) => reason !== "destination" || found.has(reason));
    assert.deepEqual([...found].sort(), [...named].sort());
  });
}

Deno.test("ATTEMPTS: every frame carries its own mark, wherever it is cut or wrapped", () => {
  for (const [row, attempt] of ATTEMPTS.entries()) {
    const frames = framesOf(attempt, row);
    assert.ok(frames.length > 0, attempt.id);
    for (const [frame, bytes] of frames.entries()) {
      assert.deepEqual(marksIn(NONCE, bytes), [{ row, frame }], attempt.id);
    }
    assert.equal(new Set(frames.map((bytes) => bytes.toHex())).size, frames.length, attempt.id);
  }
});

Deno.test("ATTEMPTS: what is wrong with a frame is all that is wrong with it", () => {
  // The control: the frame that they are made from passes.
  const { nat, uplink } = filter();
  const mark = markOf(NONCE, { row: 1, frame: 2 });
  const good = udpFrame(SCENE.link, mark);
  assert.equal(REASONS[nat.fromGuest(good, 0, good.length)], "forwarded");
  assert.deepEqual(uplink.take().map(({ payload }) => payload), [payload(mark)]);
});

Deno.test("ATTEMPTS: names are told apart, and chosen by how they begin", () => {
  const ids = ATTEMPTS.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(attemptsOf([]), ATTEMPTS);
  assert.deepEqual(attemptsOf(["spoofed", "dns"]).map(({ id }) => id), [
    "dns",
    "spoofed-ip",
    "spoofed-mac",
  ]);
  assert.deepEqual(attemptsOf(["nothing"]), []);
});
