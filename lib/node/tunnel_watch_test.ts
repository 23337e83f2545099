import assert from "node:assert/strict";
import fc from "fast-check";
import { tunnelFault, type TunnelTimes, type Watched } from "./tunnel_watch.ts";

const SINCE = 1_700_000_000_000;
const SET_UP = 40_000;
/** When the guest has set itself up. */
const BEGAN = SINCE + SET_UP;
const vm: Watched = { since: SINCE, stages: { reached: { accepted: 0, "cloud-init": SET_UP } } };

const heard = (from: number | undefined, to: number | undefined): TunnelTimes => ({
  sessionFromGuestMs: from,
  sessionToGuestMs: to,
});

Deno.test("N13: tunnelFault() ends a VM whose tunnel never came up, from the guest's set-up on", () => {
  const never = heard(undefined, undefined);
  assert.equal(tunnelFault(vm, never, 300, BEGAN + 299_999), undefined);
  assert.equal(
    tunnelFault(vm, never, 300, BEGAN + 300_000),
    "its tunnel did not come up within 5 min",
  );
  const oneWay = heard(BEGAN + 290_000, undefined);
  assert.match(tunnelFault(vm, oneWay, 300, BEGAN + 300_000) ?? "", /did not come up/);
});

Deno.test("N13: tunnelFault() ends a VM when neither end was heard of for too long", () => {
  const later = BEGAN + 3_600_000;
  const lost = "its tunnel was lost for 90 s";
  // The one that kept still before is no older than a session may be.
  for (const [from, to] of [[later, later], [later - 180_000, later], [later, later - 180_000]]) {
    assert.equal(tunnelFault(vm, heard(from, to), 90, later + 89_999), undefined);
    assert.equal(tunnelFault(vm, heard(from, to), 90, later + 90_000), lost);
  }
  // The control: either end was heard of again.
  for (const [from, to] of [[later + 85_000, later], [later, later + 85_000]]) {
    assert.equal(tunnelFault(vm, heard(from, to), 90, later + 90_000), undefined);
  }
});

Deno.test("N13: tunnelFault() gives an end that keeps still as long as a session may last, and the timeout", () => {
  const later = BEGAN + 3_600_000;
  const lost = "its tunnel was lost for 90 s";
  for (const at of [later + 269_999, later + 270_000]) {
    const want = at < later + 270_000 ? undefined : lost;
    assert.equal(tunnelFault(vm, heard(at, later), 90, at), want);
    assert.equal(tunnelFault(vm, heard(later, at), 90, at), want);
  }
});

Deno.test("N13: tunnelFault() does not judge what it knows nothing of", () => {
  const far = BEGAN + 1e9;
  const never = heard(undefined, undefined);
  assert.equal(tunnelFault(vm, undefined, 300, far), undefined, "no cable");
  assert.equal(tunnelFault(vm, never, null, far), undefined, "switched off");
  const booting: Watched = { since: SINCE, stages: { reached: { accepted: 0, kernel: 9 } } };
  assert.equal(tunnelFault(booting, never, 300, far), undefined, "not set up yet");
  assert.ok(tunnelFault(vm, never, 300, far), "the control");
  // The borrower may have seen the tunnel before the guest has said that it is set up.
  const unseen: Watched = { since: SINCE, stages: { reached: { accepted: 0, tunnel: SET_UP } } };
  assert.equal(tunnelFault(unseen, never, 300, BEGAN + 299_999), undefined);
  assert.ok(tunnelFault(unseen, never, 300, BEGAN + 300_000));
});

Deno.test.each([[30, "30 s"], [90, "90 s"], [600, "10 min"], [5400, "90 min"], [7200, "2 h"]])(
  "N13: tunnelFault() writes %i seconds as %s",
  (seconds, words) => {
    const fault = tunnelFault(vm, heard(1, 1), seconds, BEGAN + 1e9);
    assert.equal(fault, `its tunnel was lost for ${words}`);
  },
);

Deno.test("N13: a tunnel that works is never ended, one that was cut always, and not before its time", () => {
  const gap = fc.record({ guest: fc.boolean(), wait: fc.nat(15_000) });
  const timeout = fc.integer({ min: 30, max: 900 });
  fc.assert(fc.property(fc.array(gap, { maxLength: 300 }), timeout, (gaps, seconds) => {
    let now = BEGAN;
    let [from, to] = [now, now];
    for (const { guest, wait } of gaps) {
      now += wait;
      // One end or the other speaks, and both do where they make a new session.
      if (guest || now - from >= 165_000) from = now;
      if (!guest || now - to >= 165_000) to = now;
      assert.equal(tunnelFault(vm, heard(from, to), seconds, now), undefined);
    }
    const cut = now;
    assert.equal(
      tunnelFault(vm, heard(from, to), seconds, cut + seconds * 1000 - 15_001),
      undefined,
    );
    assert.ok(tunnelFault(vm, heard(from, to), seconds, cut + seconds * 1000));
    // The guest goes on for as long as its session lasts.
    const end = cut + 180_000;
    assert.ok(tunnelFault(vm, heard(end, to), seconds, end + seconds * 1000));
  }));
});
