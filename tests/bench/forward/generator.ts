/**
 * The load generator: a program of its own, so that it runs in the far end's namespace and on a
 * processor of its own. Prints one JSON value for each line.
 *
 * ```
 * generator.ts filter|touch|flood '[LANE, ...]'
 * ```
 *
 * @module
 */

import { measureCheck } from "./check_cost.ts";
import { residentMemory } from "./resident_memory.ts";
import { SEND_MAX } from "./wire.ts";
import { Cables, Lane } from "./lane.ts";
import type { ForwarderName, LaneConfig } from "./lane_config.ts";
import { IMIX, LARGE, SMALL } from "./loads.ts";
import { measureLatency } from "./latency.ts";
import { type Load, measureBurst, measureRates, sendBurst } from "./rates.ts";

/** Messages of a burst. */
export const BURST = 1000;

/** Loads for every forwarder. */
export const LOADS: readonly Load[] = [
  { name: "64 B, guest to uplink", lengths: [SMALL], up: true, down: false },
  { name: "64 B, uplink to guest", lengths: [SMALL], up: false, down: true },
  { name: "1400 B, guest to uplink", lengths: [LARGE], up: true, down: false },
  { name: "1400 B, uplink to guest", lengths: [LARGE], up: false, down: true },
  { name: "1400 B, both ways at once", lengths: [LARGE], up: true, down: true },
  { name: "IMIX, guest to uplink", lengths: IMIX, up: true, down: false },
  { name: "IMIX, uplink to guest", lengths: IMIX, up: false, down: true },
];
/** Loads that are measured a second time, with a far end that uses segmentation offload. */
export const OFFLOAD_LOADS: readonly Load[] = LOADS.filter(({ lengths }) => lengths[0] === LARGE);

/** Messages each way that bring a lane's memory into use; any socket has room for so many. */
export const TOUCH = 64;
/** Messages before memory is looked at for the first time. */
const FLOOD_WARM_UP = 200_000;
/** Messages between two looks. */
export const FLOOD_STEP = 100_000;
/** Looks. */
const FLOOD_LOOKS = 11;
/** How long one forwarder's flood may take (ms). */
const FLOOD_MS = 45_000;

/** One number that was found. */
export interface Finding {
  /** What was measured. */
  readonly name: string;
  /** Through what. */
  readonly forwarder: ForwarderName;
  /** The number; null when there is none, as for the time of what was not answered. */
  readonly value: number | null;
  /** Its unit. */
  readonly unit: string;
  /** Processor time of the forwarder for each message (us), for rates; null when none came. */
  readonly cost?: number | null;
  /** Share of the time that its processor was busy, 0 to 1, for rates. */
  readonly busy?: number;
}

function found(finding: Finding): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify(finding)}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** What was seen on the way of the rates. */
interface Seen {
  /** Frames of each lane that did not arrive. */
  readonly lost: ReadonlyMap<Lane, number>;
  /** Half of each lane's IMIX rate, in packets a second. */
  readonly half: ReadonlyMap<Lane, number>;
}

/** Throughput of every lane; each load through all of them in a row. */
function rates(lanes: readonly Lane[]): Seen {
  const plain = lanes.filter(({ config }) => !config.offload);
  const offload = lanes.filter(({ config }) => config.offload);
  const lost = new Map<Lane, number>();
  const half = new Map<Lane, number>();
  const rate = (lane: Lane, load: Load, name: string): void => {
    const { packets, gbits, cost, busy, lost: frames } = measureRates(lane, load);
    lost.set(lane, (lost.get(lane) ?? 0) + frames);
    if (load.lengths === IMIX && load.up) half.set(lane, packets / 2);
    const isLarge = load.lengths[0] === LARGE;
    found({
      name,
      forwarder: lane.config.forwarder,
      ...(isLarge ? { value: gbits, unit: "Gbit/s" } : { value: packets, unit: "packets/s" }),
      cost,
      busy,
    });
  };
  for (const load of LOADS) for (const lane of plain) rate(lane, load, load.name);
  for (const load of OFFLOAD_LOADS) {
    for (const lane of offload) rate(lane, load, `${load.name}, far end with offload`);
  }
  return { lost, half };
}

/** Throughput, bursts and latency of every lane. */
function filter(lanes: readonly Lane[]): void {
  const { lost, half } = rates(lanes);
  const plain = lanes.filter(({ config }) => !config.offload);
  for (const lane of plain) {
    const { forwarder } = lane.config;
    const value = lost.get(lane) ?? 0;
    found({ name: "lost of all that the cable took", forwarder, value, unit: "frames" });
  }
  for (const from of ["guest", "net"] as const) {
    for (const lane of plain) {
      const { forwarder } = lane.config;
      const name = `lost of ${BURST} at once, ${
        from === "guest" ? "guest to uplink" : "uplink to guest"
      }`;
      found({ name, forwarder, value: measureBurst(lane, LARGE, BURST, from), unit: "packets" });
    }
  }
  for (const isLoaded of [false, true]) {
    for (const lane of plain) {
      const { forwarder } = lane.config;
      const { lost, ...times } = measureLatency(lane, isLoaded ? half.get(lane) ?? 0 : 0);
      const words = isLoaded ? "at half of its IMIX rate" : "alone";
      for (const [share, value] of Object.entries(times)) {
        const name = `round trip ${words}, ${share.replace("p999", "p99.9")}`;
        found({ name, forwarder, value, unit: "us" });
      }
      if (isLoaded) {
        const name = "round trip at half of its IMIX rate, unanswered";
        found({ name, forwarder, value: lost, unit: "of 5,500" });
      }
    }
  }
  for (const length of [SMALL, LARGE]) {
    const name = `the check alone, ${length} B`;
    found({ name, forwarder: "omerta", value: measureCheck(length), unit: "ns" });
  }
}

/** A few messages both ways through every lane, so that whatever memory a lane has is in use. */
function touch(lanes: readonly Lane[]): void {
  for (const lane of lanes) {
    const { forwarder } = lane.config;
    for (const from of ["guest", "net"] as const) {
      const arrived = sendBurst(lane, LARGE, TOUCH, from);
      lane.waitFor(() => arrived() >= TOUCH);
      found({
        name: from === "guest" ? "arrived at the far end" : "arrived at the guest",
        forwarder,
        value: arrived(),
        unit: "packets",
      });
    }
  }
}

/** A million messages through the first lane of each forwarder, and its memory on the way. */
function flood(lanes: readonly Lane[]): void {
  for (const lane of lanes) {
    const { forwarder, pid } = lane.config;
    const frames = new Array<Uint8Array>(SEND_MAX).fill(lane.frame(lane.message(SMALL)));
    const deadline = performance.now() + FLOOD_MS;
    for (let look = 0; look < FLOOD_LOOKS; look++) {
      const goal = FLOOD_WARM_UP + look * FLOOD_STEP;
      while (lane.atNet.packets < goal && performance.now() < deadline) {
        lane.up(frames, 0, SEND_MAX);
        lane.drain();
      }
      const value = residentMemory(pid);
      found({ name: String(lane.atNet.packets), forwarder, value, unit: "B" });
    }
  }
}

function main([task = "", json = "[]"]: readonly string[]): void {
  const configs: LaneConfig[] = JSON.parse(json);
  using cables = new Cables();
  using owned = new DisposableStack();
  const lanes = configs.map((config) => owned.use(new Lane(config, cables)));
  switch (task) {
    case "filter":
      filter(lanes);
      break;
    case "rates":
      rates(lanes);
      break;
    case "touch":
      touch(lanes);
      break;
    case "flood":
      flood(lanes);
      break;
    default:
      throw new RangeError(`Cannot generate "${task}"`);
  }
}

if (import.meta.main) main(Deno.args);
