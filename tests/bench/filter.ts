/**
 * B1 and B2: the filtered NAT next to passt and slirp4netns: the same frames from the same generator
 * into a guest's cable, out of a UDP socket of the host's, to a far end in a namespace of its own, and
 * back. Throughput, bursts, round trips, and the check alone.
 *
 * @module
 */

import { libc } from "../../net/os/libc.ts";
import { netlabMissing } from "../netlab/netlab.ts";
import { commandMissing } from "../support/requires.ts";
import type { Bench, Row } from "./bench.ts";
import { Forwarders, OTHERS } from "./forward/forwarders.ts";
import type { Finding } from "./forward/generator.ts";

const LIMIT_MS = 240_000;

/** Why forwarders cannot be compared here; undefined when they can. */
export const forwardersMissing: string | undefined = netlabMissing ??
  (libc() === undefined ? "needs FFI on Linux" : undefined) ??
  commandMissing("ip", "taskset", ...OTHERS);

/** B1, B2. */
export const filterBench: Bench = {
  name: "filter",
  missing: forwardersMissing,
  async run(): Promise<Row[]> {
    await using forwarders = await Forwarders.create();
    await forwarders.startAll();
    return rowsOf(await forwarders.generate("filter", LIMIT_MS));
  },
};

/**
 * A row for each thing that was measured: ours, and the others as references. A rate has a second one:
 * what each message costs the forwarder's processor, which stays the same on a busy machine, where the
 * rate does not.
 */
export function rowsOf(findings: readonly Finding[]): Row[] {
  return findings.filter(({ forwarder }) => forwarder === "omerta").flatMap((ours) => {
    const others = findings.filter(({ name, forwarder }) =>
      name === ours.name && forwarder !== "omerta"
    );
    const row = (what: string, unit: string, number: (finding: Finding) => number): Row => ({
      name: `filter, ${ours.name}${what}`,
      value: number(ours),
      unit,
      ...(others.length === 0 ? {} : {
        references: others.map((finding) => ({
          name: finding.forwarder,
          value: number(finding),
        })),
      }),
    });
    // JSON has no infinity, which stands for "not answered", and no NaN.
    const value = row("", ours.unit, ({ value }) => value ?? NaN);
    if (ours.cost === undefined) return [value];
    return [
      { ...value, note: `busy ${[ours, ...others].map(formatBusy).join(", ")}` },
      row(": cost of each", "us", ({ cost }) => cost ?? NaN),
    ];
  });
}

function formatBusy({ busy = 0 }: Finding): string {
  return `${Math.round(busy * 100)} %`;
}
