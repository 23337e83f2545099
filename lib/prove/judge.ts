/**
 * What the findings about an attempt amount to.
 *
 * An attempt is held when its controls held, all of it left the guest, the filter has counted all
 * of it as refused, nobody answered, and nothing of it was seen outside. Seen or answered is leaked,
 * whatever else. Anything between is unproven, which is not held.
 *
 * @module
 */

import { CALL_FRAME } from "./mark.ts";
import type { Row } from "./report.ts";

/** What was found out about one attempt. */
export interface Findings {
  /** Controls that did not hold, in words. */
  readonly faults: readonly string[];
  /** Frames and datagrams that were to be sent. */
  readonly wanted: number;
  /** Those that left the guest's kernel. */
  readonly sent: number;
  /** What the filter refused meanwhile, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** Who answered, in words. */
  readonly answers: readonly string[];
  /** Where frames came out, in words. */
  readonly seen: readonly string[];
}

/** What an attempt came to, and why in words: empty when it is held. */
export type Judgement = Pick<Row, "outcome" | "why">;

/**
 * Judges one attempt.
 *
 * @param reasons Words that the filter may refuse it with.
 */
export function judge(found: Findings, reasons: readonly string[]): Judgement {
  const against = [...found.seen, ...found.answers];
  if (against.length > 0) return { outcome: "leaked", why: against.join(", ") };
  if (found.faults.length > 0) return { outcome: "unproven", why: found.faults.join(", ") };
  if (found.sent < found.wanted) {
    const why = `${found.wanted - found.sent} of ${found.wanted} did not leave the guest`;
    return { outcome: "unproven", why };
  }
  const counted = countOf(found.refused, reasons);
  if (counted >= found.wanted) return { outcome: "held", why: "" };
  const why = `the filter has counted ${counted} of ${found.wanted} as refused`;
  return { outcome: "unproven", why };
}

/** How many were refused for one of these reasons. */
export function countOf(
  refused: Readonly<Record<string, number>>,
  reasons: readonly string[],
): number {
  return reasons.reduce((sum, reason) => sum + (refused[reason] ?? 0), 0);
}

/** What `after` counts more than `before`; reasons that did not grow are left out. */
export function grown(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([reason, n]) => [reason, n - (before[reason] ?? 0)] as const)
      .filter(([, n]) => n > 0),
  );
}

/**
 * Which frames were seen where, frames that were seen by the same machines together: `frames 0, 3
 * were seen by lender, router`.
 *
 * @param seen Machines by number of the frame.
 */
export function seenInWords(seen: ReadonlyMap<number, ReadonlySet<string>>): string[] {
  const byPlace = Map.groupBy(seen, ([, machines]) => [...machines].sort().join(", "));
  return Array.from(byPlace, ([places, entries]) => {
    const frames = entries.map(([frame]) => frame).filter((frame) => frame !== CALL_FRAME);
    const numbers = frames.sort((a, b) => a - b).join(", ");
    const what = [
      ...(frames.length === 0 ? [] : [`${frames.length === 1 ? "frame" : "frames"} ${numbers}`]),
      ...(frames.length === entries.length ? [] : ["what was asked"]),
    ].join(" and ");
    return `${what} ${entries.length === 1 ? "was" : "were"} seen by ${places}`;
  });
}

/** The only row for a VM with a card that leads past every filter of the lender's. */
export function noFilter(mode: string): Row {
  return {
    id: "sealed",
    tries: "every network card of the VM leads into the lender's filter",
    leak: "one leads elsewhere",
    expected: "refused",
    outcome: "leaked",
    why: `in mode ${mode} one does not: the VM is not sealed`,
    sent: 0,
    refused: {},
  };
}

/** The only row for a mode that was not tried out, for this reason. */
export function notTried(id: "boot" | "probe", why: string): Row {
  return {
    id,
    tries: id === "boot"
      ? "a VM comes up and takes the probe in"
      : "the probe in it makes every attempt",
    leak: "nothing is known",
    expected: "passes",
    outcome: "unproven",
    why,
    sent: 0,
    refused: {},
  };
}
