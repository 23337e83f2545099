/**
 * The filter against the same rules written a second time, on frames that are a few random changes
 * away from good ones: more than random bytes would ever reach.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { endpoint } from "../../tests/doubles/endpoints.ts";
import { captured } from "../../tests/doubles/captured_frames.ts";
import { changedFrame } from "../../tests/doubles/changed_frames.ts";
import { looksLikeWireguard, referenceVerdict } from "../../tests/doubles/filter_rules.ts";
import { guestFrame } from "../../tests/doubles/guest_frames.ts";
import { MemoryDatagramSink, MemoryPacketSink } from "../../tests/doubles/memory_sink.ts";
import { Random } from "../../tests/doubles/random.ts";
import { FilteredNat } from "./filtered_nat.ts";
import { guestLink } from "./guest_link.ts";
import { REASONS, VERDICT } from "./verdict.ts";

/** Frames of one run; `deno task fuzz` sets ten million. */
const FRAMES = Number(Deno.env.get("OMERTA_FUZZ_FRAMES") ?? 100_000);
const BORROWER = endpoint("203.0.113.7", 51999);

Deno.test(`N6: FilteredNat agrees with the reference rules on ${FRAMES} changed frames`, () => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const random = new Random(seed);
  const toUplink = new MemoryDatagramSink({ capacity: 4 });
  const toGuest = new MemoryPacketSink({ capacity: 4 });
  const nat = new FilteredNat({ guest: guestLink(), uplink: undefined, toUplink, toGuest });
  const second = { address: 0xc0a86403, port: 53 };
  const gateway = { address: 0xc0a86401, port: 51820 };
  const states = [
    { allowed: ["192.168.100.1:51820"], list: [gateway], uplink: true },
    { allowed: ["192.168.100.1:51820"], list: [gateway], uplink: true },
    { allowed: ["192.168.100.1:51820", "192.168.100.3:53"], list: [gateway, second], uplink: true },
    { allowed: ["192.168.100.1:51820"], list: [gateway], uplink: false },
    { allowed: [], list: [], uplink: true },
  ] as const;
  const reached = new Map<string, number>();

  for (let i = 0; i < FRAMES; i++) {
    const state = states[Math.floor(i / 100) % states.length] ?? states[0];
    nat.allowlist.replace(state.list);
    nat.setUplink(state.uplink ? BORROWER : undefined);
    const frame = changedFrame(random);
    const before = frame.slice();

    const got = REASONS[nat.fromGuest(frame, 0, frame.length)] ?? "";
    const context = `seed ${seed}, frame ${i}: ${before.toHex()}`;
    assert.equal(got, referenceVerdict(before, state), context);
    assert.deepEqual(frame, before, `${context} was written to`);
    const sent = toUplink.take();
    const answers = toGuest.take();
    assert.equal(sent.length, got === "forwarded" ? 1 : 0, context);
    assert.equal(answers.length, got === "answered" ? 1 : 0, context);
    if (got === "forwarded") {
      assert.deepEqual(sent[0], { payload: before.slice(42), to: BORROWER }, context);
    }
    if (got === "answered") assert.deepEqual(answers[0], captured("arpReply"), context);
    reached.set(got, (reached.get(got) ?? 0) + 1);
  }

  // The control: the changes reached every rule often, and good frames were among them.
  const never = ["no-room", "no-flow", "sender", "cut-off"];
  for (const word of REASONS) {
    if (never.includes(word)) continue;
    assert.ok((reached.get(word) ?? 0) >= 50, `${word}: ${reached.get(word)} times, seed ${seed}`);
  }
});

Deno.test("N6: FilteredNat.fromGuest() never throws on any bytes and range", () => {
  const toUplink = new MemoryDatagramSink();
  const toGuest = new MemoryPacketSink();
  const nat = new FilteredNat({ guest: guestLink(), uplink: BORROWER, toUplink, toGuest });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(120), fc.integer(), (b, at, length) => {
      nat.fromGuest(b, at, length);
      nat.fromUplink(b, at, length, BORROWER.sockaddr, 0);
    }),
    { numRuns: 5000 },
  );
  assert.deepEqual([toUplink.take(), toGuest.take()], [[], []]);
});

Deno.test("N6: FilteredNat.fromUplink() forwards what the reference takes, in a frame that adds up", () => {
  const toUplink = new MemoryDatagramSink();
  const toGuest = new MemoryPacketSink();
  const nat = new FilteredNat({ guest: guestLink(), uplink: BORROWER, toUplink, toGuest });
  nat.fromGuest(guestFrame({ sourcePort: 40000 }), 0, 138);
  const type = fc.constantFrom(0, 1, 2, 3, 4, 4, 4, 5);
  const length = fc.oneof(fc.constantFrom(32, 64, 92, 148, 1452, 1472, 1473), fc.nat(1500));
  const reserved = fc.constantFrom(0, 0, 0, 0, 0, 0, 1);
  const filler = fc.infiniteStream(fc.nat(255));
  fc.assert(
    fc.property(type, length, reserved, filler, (type, length, reserved, filler) => {
      const head = [type, 0, reserved, 0];
      const payload = new Uint8Array(length).map((_, i) => head[i] ?? filler.next().value);
      const verdict = nat.fromUplink(payload, 0, length, BORROWER.sockaddr, 0);
      const frames = toGuest.take();
      const fits = length <= 1472 && looksLikeWireguard([...payload]);
      assert.equal(verdict === VERDICT.forwarded, fits);
      assert.equal(frames.length, fits ? 1 : 0);
      if (frames[0] !== undefined) assertReply(frames[0], payload);
    }),
    { numRuns: 2000 },
  );
});

/** Takes a reply apart field by field, without the parsers it was made beside. */
function assertReply(frame: Uint8Array, payload: Uint8Array): void {
  const hex = frame.toHex();
  const total = (frame.length - 14).toString(16).padStart(4, "0");
  const length = (frame.length - 34).toString(16).padStart(4, "0");
  assert.match(hex, new RegExp(`^5254000064020200000064010800` + `4500${total}000040004011`));
  assert.equal(hex.slice(52, 76), "c0a86401c0a86402" + "ca6c9c40");
  assert.equal(hex.slice(76, 80), length);
  assert.deepEqual(frame.slice(42), payload);
  assert.equal(naiveSum(frame.slice(14, 34)), 0xffff);
  const pseudo = Uint8Array.fromHex(`${hex.slice(52, 68)}0011${length}`);
  assert.equal(naiveSum(new Uint8Array([...pseudo, ...frame.slice(34)])), 0xffff);
  assert.notEqual(hex.slice(80, 84), "0000");
}

function naiveSum(bytes: Uint8Array): number {
  let sum = 0;
  bytes.forEach((byte, i) => {
    sum += i % 2 === 0 ? byte * 256 : byte;
    if (sum > 0xffff) sum -= 0xffff;
  });
  return sum;
}
