import assert from "node:assert/strict";
import { SPECIFIED_TIMING } from "./constants.ts";
import { ACTION, type Schedule, Timers } from "./timers.ts";

function timers(): { timers: Timers; schedule: Schedule } {
  const schedule = { due: Infinity };
  return { timers: new Timers(SPECIFIED_TIMING, schedule, () => 0), schedule };
}

Deno.test("Timers wait for nothing at first", () => {
  const { timers: t, schedule } = timers();
  assert.equal(t.due, Infinity);
  assert.equal(schedule.due, Infinity);
  assert.equal(t.expire(1e15), 0);
});

Deno.test("W1: Timers ask for a retry every 5 s, 18 times, then give up", () => {
  const { timers: t } = timers();
  t.handshakeWanted();
  t.handshakeInitiated(0);
  let now = 0;
  for (let i = 0; i < 18; i++) {
    assert.equal(t.expire(now + 4999), 0);
    now += 5000;
    assert.equal(t.expire(now), ACTION.retry, `try ${i}`);
    t.handshakeInitiated(now);
  }
  assert.equal(now, 90_000);
  assert.equal(t.expire(now + 5000), ACTION.giveUp);
  // What is left of it is wiped in time.
  assert.equal(t.expire(now + 5000 + 540_000 - 1), 0);
  assert.equal(t.expire(now + 5000 + 540_000), ACTION.wipe);
  assert.equal(t.due, Infinity);
});

Deno.test("Timers begin to count again when somebody wants the handshake", () => {
  const { timers: t } = timers();
  t.handshakeInitiated(0);
  for (let i = 1; i <= 18; i++) {
    assert.equal(t.expire(i * 5000), ACTION.retry);
    t.handshakeInitiated(i * 5000);
  }
  t.handshakeWanted();
  assert.equal(t.expire(95_000), ACTION.retry);
});

Deno.test("Timers add a random time to a retry, so that two sides do not stay in step", () => {
  const t = new Timers(SPECIFIED_TIMING, { due: Infinity }, () => 1);
  t.handshakeInitiated(0);
  assert.equal(t.due, 5334);
});

Deno.test("W1: Timers ask for a keepalive 10 s after data came and none went", () => {
  const { timers: t } = timers();
  t.dataReceived(0);
  assert.equal(t.expire(9999), 0);
  assert.equal(t.expire(10_000), ACTION.keepalive);
  t.anyAuthenticatedPacketSent();
  t.keepaliveSent(10_000);
  assert.equal(t.due, Infinity);

  t.dataReceived(20_000);
  t.anyAuthenticatedPacketSent();
  assert.equal(t.due, Infinity);
});

Deno.test("Timers ask for another keepalive when more data came meanwhile", () => {
  const { timers: t } = timers();
  t.dataReceived(0);
  t.dataReceived(1);
  assert.equal(t.expire(10_000), ACTION.keepalive);
  t.anyAuthenticatedPacketSent();
  t.keepaliveSent(10_000);
  assert.equal(t.due, 20_000);
});

Deno.test("W1: Timers ask for a handshake 15 s after data went and nothing came", () => {
  const { timers: t } = timers();
  t.dataSent(0);
  t.dataSent(9000);
  assert.equal(t.expire(14_999), 0);
  assert.equal(t.expire(15_000), ACTION.initiate);
  t.dataSent(20_000);
  t.anyAuthenticatedPacketReceived();
  assert.equal(t.due, Infinity);
});

Deno.test("W1: Timers ask for wiping 540 s after the last session began", () => {
  const { timers: t } = timers();
  t.sessionDerived(0);
  t.sessionDerived(100_000);
  assert.equal(t.expire(639_999), 0);
  assert.equal(t.expire(640_000), ACTION.wipe);
});

Deno.test("W1: Timers ask for persistent keepalives at once and then at their interval", () => {
  const { timers: t } = timers();
  t.persistentKeepaliveSet(25, 0);
  assert.equal(t.expire(0), ACTION.keepalive);
  assert.equal(t.due, 25_000);
  t.anyAuthenticatedPacketTraversal(10_000);
  assert.equal(t.expire(34_999), 0);
  assert.equal(t.expire(35_000), ACTION.keepalive);
  t.persistentKeepaliveSet(0, 36_000);
  t.anyAuthenticatedPacketTraversal(37_000);
  assert.equal(t.due, Infinity);
});

Deno.test("Timers tell the schedule the earliest deadline", () => {
  const { timers: t, schedule } = timers();
  t.sessionDerived(0);
  assert.equal(schedule.due, 540_000);
  t.dataReceived(1000);
  assert.equal(schedule.due, 11_000);
  assert.equal(t.due, 11_000);
  t.clear();
  assert.equal(t.due, Infinity);
});

Deno.test("Timers ask for a deferred handshake 5 s after the last message of one", () => {
  const { timers: t } = timers();
  t.handshakeDeferred(1000);
  t.handshakeDeferred(3000);
  assert.equal(t.due, 6000);
  assert.equal(t.expire(6000), ACTION.retry);
  t.handshakeDeferred(6000);
  t.handshakeComplete();
  assert.equal(t.due, Infinity);
});
