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

Deno.test("N13: tunnelFault() ends a VM whose tunnel was lost for too long, in either direction", () => {
  const later = BEGAN + 3_600_000;
  const lost = "its tunnel was lost for 90 s";
  for (const [from, to] of [[later, later], [later + 80_000, later], [later, later + 80_000]]) {
    assert.equal(tunnelFault(vm, heard(from, to), 90, later + 89_999), undefined);
    assert.equal(tunnelFault(vm, heard(from, to), 90, later + 90_000), lost);
  }
  // The control: heard of again, both ways.
  assert.equal(
    tunnelFault(vm, heard(later + 85_000, later + 80_000), 90, later + 90_000),
    undefined,
  );
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

Deno.test("N13: a tunnel with a keepalive each way in every timeout is never ended, one without always", () => {
  const time = fc.nat(10_000_000);
  fc.assert(fc.property(time, time, fc.integer({ min: 30, max: 5000 }), time, (from, to, s, at) => {
    const now = BEGAN + at;
    const times = heard(BEGAN + from, BEGAN + to);
    const silence = now - Math.min(BEGAN + from, BEGAN + to);
    assert.equal(tunnelFault(vm, times, s, now) !== undefined, silence >= s * 1000);
  }));
});
