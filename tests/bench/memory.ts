/**
 * B5: what a VM costs the daemon in memory, and that packets leave nothing behind.
 *
 * The packet thread is the same one that the daemon has, in a process of its own with nothing else in
 * it. passt and slirp4netns are a process for each VM.
 *
 * @module
 */

import type { Bench, Row } from "./bench.ts";
import { forwardersMissing } from "./filter.ts";
import { Forwarders } from "./forward/forwarders.ts";
import { FLOOD_STEP } from "./forward/generator.ts";
import type { ForwarderName } from "./forward/lane_config.ts";
import { residentMemory } from "./forward/resident_memory.ts";
import { slope } from "./statistics.ts";

const MIB = 1 << 20;
/** Guests, one after the other; each has then carried a burst both ways. */
const GUESTS = [1, 8, 64] as const;
const LIMIT_MS = 150_000;

/** B5. */
export const memoryBench: Bench = {
  name: "memory",
  missing: forwardersMissing,
  async run(): Promise<Row[]> {
    await using forwarders = await Forwarders.create();
    const most = GUESTS[GUESTS.length - 1] ?? 0;
    const ours = await forwarders.startOurs(most, [], 0);
    const rows: Row[] = [mib("no guest", residentMemory(ours.pid))];
    const sizes: [number, number][] = [];
    for (const count of GUESTS) {
      await ours.add(count - (sizes[sizes.length - 1]?.[0] ?? 0));
      await forwarders.generate("touch", LIMIT_MS, forwarders.lanes.slice(0, count));
      sizes.push([count, residentMemory(ours.pid)]);
      rows.push(mib(`${count} guest${count > 1 ? "s" : ""}`, residentMemory(ours.pid)));
    }
    await forwarders.startPasst();
    await forwarders.startSlirp();
    const lanes = forwarders.lanes.filter(({ forwarder, offload }, i) =>
      forwarder === "omerta" ? i === 0 : !offload
    );
    const looks = await forwarders.generate("flood", LIMIT_MS, lanes);
    const of = (name: ForwarderName): [number, number][] =>
      looks.filter(({ forwarder }) => forwarder === name).map((look) => [
        Number(look.name),
        look.value ?? NaN,
      ]);
    const others = ["passt", "slirp4netns"] as const;
    const million = (points: [number, number][]): number => slope(points) * 1e6 / MIB;
    return [
      ...rows,
      {
        name: "memory, for each further VM",
        value: slope(sizes) / MIB,
        unit: "MiB",
        references: others.map((name) => ({ name, value: (of(name).at(-1)?.[1] ?? NaN) / MIB })),
        note: "the others: a process for each VM",
      },
      {
        name: "memory, growth in a million packets",
        value: million(of("omerta")),
        unit: "MiB",
        references: others.map((name) => ({ name, value: million(of(name)) })),
        note: `from ${of("omerta").map(([, bytes]) => Math.round(bytes / MIB)).join(", ")} MiB, ` +
          `a look each ${FLOOD_STEP.toLocaleString("en-US")} packets`,
      },
    ];
  },
};

function mib(what: string, bytes: number): Row {
  return { name: `memory, packet thread's process with ${what}`, value: bytes / MIB, unit: "MiB" };
}
