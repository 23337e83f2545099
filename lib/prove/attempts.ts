/**
 * Everything that a guest tries in order to get out, one entry for each. An entry is data: the
 * frames, what they would have to do if the wall leaked, and what the filter may say of them.
 *
 * Each frame is good but for one thing, so that no other rule hides the one it is aimed at: its
 * payload, above all, has the shape of a WireGuard message wherever it can have one.
 *
 * Two kinds of control go with every entry. The hosts that it names in `from` have to answer to
 * those who may reach them, in the same run. And its frames are sent once more from the lender's own
 * card, with another mark, and have to be seen on the lender's network: what a leak looks like is
 * seen by whoever looks for it.
 *
 * @module
 */

import type { Attempt } from "./attempt.ts";
import { BYPASS } from "./_bypass.ts";
import { REACH } from "./_reach.ts";

/** Ports of a scan: those below 1024, and where lenders and VMs listen. */
export const SCAN_PORTS: readonly number[] = [
  ...Array.from({ length: 1023 }, (_, i) => i + 1),
  ...[2375, 3000, 5000, 5432, 5900, 6379, 8000, 8080, 8443, 9090, 51820],
];

/** The matrix. */
export const ATTEMPTS: readonly Attempt[] = [...REACH, ...BYPASS];

/** The attempts whose ids begin with one of these; all when there are none. */
export function attemptsOf(only: readonly string[]): readonly Attempt[] {
  return ATTEMPTS.filter(({ id }) =>
    only.length === 0 || only.some((begin) => id.startsWith(begin))
  );
}
