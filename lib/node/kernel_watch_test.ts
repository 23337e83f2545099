import assert from "node:assert/strict";
import { guestLink } from "../../net/filter/guest_link.ts";
import { type RefusedFrame, refusedFrame } from "../../net/filter/refusals.ts";
import type { RogueAlarm } from "../../net/filter/rogue.ts";
import { VERDICT, VERDICT_COUNT } from "../../net/filter/verdict.ts";
import { guestFrame } from "../../tests/doubles/guest_frames.ts";
import { KernelWatch } from "./kernel_watch.ts";

/** Counters of the kernel that a test writes. */
class Counted {
  readonly fromGuest = new Float64Array(VERDICT_COUNT);
  readonly fromUplink = new Float64Array(VERDICT_COUNT);
  bytesToUplink = 0;
  bytesToGuest = 0;
  readonly frames: RefusedFrame[] = [];

  forwardFromGuest(messages: number, length: number): void {
    this.fromGuest[VERDICT.forwarded] = (this.fromGuest[VERDICT.forwarded] ?? 0) + messages;
    this.bytesToUplink += messages * length;
  }

  forwardToGuest(messages: number, length: number): void {
    this.fromUplink[VERDICT.forwarded] = (this.fromUplink[VERDICT.forwarded] ?? 0) + messages;
    this.bytesToGuest += messages * length;
  }

  refuse(time: number, destination: number): void {
    const frame = guestFrame({ destination });
    this.fromGuest[VERDICT.destination] = (this.fromGuest[VERDICT.destination] ?? 0) + 1;
    this.frames.push(refusedFrame(time, VERDICT.destination, frame.length, frame));
    if (this.frames.length > 64) this.frames.shift();
  }
}

function newWatch(): {
  readonly watch: KernelWatch;
  readonly alarms: RogueAlarm[];
  readonly told: string[];
} {
  const alarms: RogueAlarm[] = [];
  const told: string[] = [];
  const watch = new KernelWatch({
    link: guestLink(),
    limits: undefined,
    onRefused: (reason, count, last) => told.push(`${count} ${reason}: ${last}`),
    onRogue: (alarm) => alarms.push(alarm),
  });
  return { watch, alarms, told };
}

Deno.test("N13: KernelWatch takes data and answers for signs of life, and initiations not", () => {
  const { watch } = newWatch();
  const counted = new Counted();
  const look = (now: number): [number, number] => {
    watch.look(counted, () => counted.frames, now);
    return [watch.fromGuestMs, watch.toGuestMs];
  };
  assert.deepEqual(look(1000), [0, 0]);
  counted.forwardFromGuest(3, 148);
  counted.forwardToGuest(1, 148);
  assert.deepEqual(look(2000), [0, 0], "handshakes that nobody answers");
  counted.forwardToGuest(1, 92);
  assert.deepEqual(look(3000), [0, 3000]);
  counted.forwardFromGuest(1, 32);
  assert.deepEqual(look(4000), [4000, 3000]);
  assert.deepEqual(look(5000), [4000, 3000], "nothing has come since");
});

Deno.test("N12: KernelWatch judges each refused frame once, also when some were overwritten", () => {
  const { watch, alarms } = newWatch();
  const counted = new Counted();
  const look = (now: number): void => watch.look(counted, () => counted.frames, now);
  for (let i = 0; i < 10; i++) counted.refuse(1000, 0x08080800 + i);
  for (const now of [1000, 2000, 3000]) look(now);
  assert.deepEqual(alarms, [], "ten destinations, however often they are looked at");
  for (let i = 10; i < 16; i++) counted.refuse(4000, 0x08080800 + i);
  look(4000);
  assert.deepEqual(alarms.map(({ kind, destinations }) => [kind, destinations]), [["scan", 16]]);

  const other = newWatch();
  const flood = new Counted();
  for (let i = 0; i < 1000; i++) flood.refuse(5000, 0x08080808);
  other.watch.look(flood, () => flood.frames, 5000);
  assert.deepEqual(other.alarms.map(({ kind, frames }) => [kind, frames]), [["per-minute", 60]]);
});

Deno.test("KernelWatch tells of refusals at a bounded rate, and asks for no frames without any", () => {
  const { watch, told } = newWatch();
  const counted = new Counted();
  watch.look(counted, () => assert.fail("nothing was refused"), 0);
  const look = (now: number): void => watch.look(counted, () => counted.frames, now);
  counted.refuse(1000, 0x08080808);
  look(1000);
  for (let i = 0; i < 5; i++) counted.refuse(2000, 0x08080808);
  look(2000);
  assert.equal(told.length, 1);
  assert.match(told[0] ?? "", /^1 destination: UDP .* > 8\.8\.8\.8/);
  counted.refuse(12_000, 0x01010101);
  look(12_000);
  assert.match(told[1] ?? "", /^6 destination: UDP .* > 1\.1\.1\.1/);
});
