import assert from "node:assert/strict";
import fc from "fast-check";
import { REPLAY_WINDOW, ReplayWindow } from "./replay.ts";

const WINDOW = REPLAY_WINDOW;

Deno.test("W1: ReplayWindow holds at least 8192 counters", () => {
  assert.ok(REPLAY_WINDOW >= 8192);
});

Deno.test("W1: ReplayWindow takes each counter of a numbered table once", () => {
  // The order of the cases of the kernel's and wireguard-go's tests, on a window of our size.
  const cases: readonly (readonly [counter: number, taken: boolean])[] = [
    /*  1 */ [0, true],
    /*  2 */ [1, true],
    /*  3 */ [1, false],
    /*  4 */ [9, true],
    /*  5 */ [8, true],
    /*  6 */ [7, true],
    /*  7 */ [7, false],
    /*  8 */ [WINDOW, true],
    /*  9 */ [WINDOW - 1, true],
    /* 10 */ [WINDOW - 1, false],
    /* 11 */ [WINDOW - 2, true],
    /* 12 */ [2, true],
    /* 13 */ [2, false],
    /* 14 */ [WINDOW + 16, true],
    /* 15 */ [3, false],
    /* 16 */ [WINDOW + 16, false],
    /* 17 */ [WINDOW * 4, true],
    /* 18 */ [WINDOW * 4 - (WINDOW - 1), true],
    /* 19 */ [10, false],
    /* 20 */ [WINDOW * 4 - WINDOW, false],
    /* 21 */ [WINDOW * 4 - (WINDOW + 1), false],
    /* 22 */ [WINDOW * 4 - (WINDOW - 2), true],
    /* 23 */ [WINDOW * 4 + 1 - WINDOW, false],
    /* 24 */ [0, false],
    /* 25 */ [2 ** 53 - 2 ** 13 - 1, true],
    /* 26 */ [2 ** 53 - 2 ** 13 - 2, true],
    /* 27 */ [2 ** 53 - 2 ** 13 - 2, false],
    /* 28 */ [0, false],
  ];
  const window = new ReplayWindow();
  cases.forEach(([counter, taken], i) => {
    assert.equal(window.isNew(counter), taken, `case ${i + 1}, counter ${counter}`);
    if (taken) window.mark(counter);
  });
});

Deno.test("W1: ReplayWindow agrees with a set for any order of counters", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(200), fc.nat(WINDOW * 3), fc.nat(WINDOW * 40)), { maxLength: 300 }),
      (counters) => {
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let greatest = -1;
        for (const counter of counters) {
          const want = !seen.has(counter) && greatest - counter < WINDOW;
          assert.equal(window.isNew(counter), want, `${counter} after ${greatest}`);
          if (!want) continue;
          window.mark(counter);
          seen.add(counter);
          greatest = Math.max(greatest, counter);
        }
      },
    ),
  );
});

Deno.test("ReplayWindow is not changed by asking", () => {
  const window = new ReplayWindow();
  assert.ok(window.isNew(WINDOW * 9));
  assert.ok(window.isNew(0));
});
