/**
 * The settings of `omerta lend set`: how each is written, shown and put into the configuration.
 *
 * @module
 */

import { type LendRules, ROGUE_ACTIONS } from "../lib/core/config.ts";
import { EXIT, OmertaError } from "../lib/core/errors.ts";
import { capacityOf } from "../lib/node/capacity.ts";
import { formatTtl } from "../lib/node/rules.ts";
import { parseCount, parseDiskGiB, parseMemoryMiB, parseSeconds } from "./values.ts";

/** Changes to what is lent; undefined is the default again. */
export type LendChanges = Partial<Record<keyof LendRules, unknown>>;

/** One setting. */
export interface LendSetting {
  /** What it is, in words. */
  readonly what: string;
  /** Its value, in words. */
  readonly show: (lend: LendRules) => string;
  /** The changes that give it a value; the default without. Throws on what it cannot read. */
  readonly change: (lend: LendRules, text: string | undefined) => LendChanges;
  /** Whether it holds for VMs that run too, and at once. */
  readonly forRunning: boolean;
}

/** A parser of `cli/values.ts`, for an option that it names in its errors. */
type Parse<Value> = (option: string) => (text: string) => Value;

/** A setting of one value; `put` says which change gives it that value. */
function setting<Value>(
  name: string,
  what: string,
  parse: Parse<Value>,
  show: LendSetting["show"],
  put: (value: Value | undefined, lend: LendRules) => LendChanges,
  forRunning = false,
): [string, LendSetting] {
  const change: LendSetting["change"] = (lend, text) =>
    put(text === undefined ? undefined : parse(name)(text), lend);
  return [name, { what, show, change, forRunning }];
}

/** Every setting by name, in the order in which they are shown. */
export const LEND_SETTINGS: ReadonlyMap<string, LendSetting> = new Map([
  setting(
    "vms",
    "VMs at a time",
    parseCount,
    ({ vms }) => String(vms),
    (vms) => ({ vms }),
  ),
  setting(
    "cpus",
    "processors of all VMs together",
    parseCount,
    (lend) => `${capacityOf(lend).cpus}${lend.cpus === undefined ? " (all)" : ""}`,
    (cpus) => ({ cpus }),
  ),
  setting(
    "memory",
    "memory of all VMs together",
    parseMemoryMiB,
    (lend) => `${capacityOf(lend).memoryMiB} MiB${lend.memoryMiB === undefined ? " (half)" : ""}`,
    (memoryMiB) => ({ memoryMiB }),
  ),
  setting(
    "disk",
    "disk of all VMs together",
    parseDiskGiB,
    ({ diskGiB }) => `${diskGiB} GiB`,
    (diskGiB) => ({ diskGiB }),
  ),
  setting(
    "vm-cpus",
    "processors of one VM",
    parseCount,
    ({ perVm }) => limit(perVm.cpus),
    (cpus, { perVm }) => ({ perVm: { ...perVm, cpus } }),
  ),
  setting(
    "vm-memory",
    "memory of one VM",
    parseMemoryMiB,
    ({ perVm }) => limit(perVm.memoryMiB, " MiB"),
    (memoryMiB, { perVm }) => ({ perVm: { ...perVm, memoryMiB } }),
  ),
  setting(
    "vm-disk",
    "disk of one VM",
    parseDiskGiB,
    ({ perVm }) => limit(perVm.diskGiB, " GiB"),
    (diskGiB, { perVm }) => ({ perVm: { ...perVm, diskGiB } }),
  ),
  setting(
    "vm-ttl",
    "longest time of a VM, which must be named then",
    parseSeconds,
    ({ perVm: { ttlSeconds } }) => ttlSeconds === undefined ? "no limit" : formatTtl(ttlSeconds),
    (ttlSeconds, { perVm }) => ({ perVm: { ...perVm, ttlSeconds } }),
  ),
  setting(
    "ttl-required",
    "whether a time must be named, however long",
    parseYesNo,
    ({ perVm }) => perVm.ttlRequired ? "yes" : "no",
    (ttlRequired, { perVm }) => ({ perVm: { ...perVm, ttlRequired } }),
  ),
  setting(
    "borrower-vms",
    "VMs of one borrower at a time",
    parseCount,
    ({ perBorrower }) => limit(perBorrower),
    (perBorrower) => ({ perBorrower }),
  ),
  setting(
    "modes",
    "modes of the network that a VM may be asked for with",
    parseWords,
    ({ modes }) => modes.join(","),
    (modes) => ({ modes }),
  ),
  setting(
    "sample-rate",
    "share of the frames that mode sampled judges",
    parseShare,
    ({ sampleRate }) => String(sampleRate),
    (sampleRate) => ({ sampleRate }),
  ),
  setting(
    "reserve-cpus",
    "processors that the host keeps",
    orZero(parseCount),
    ({ reserve }) => String(reserve.cpus),
    (cpus, { reserve }) => ({ reserve: { ...reserve, cpus } }),
  ),
  setting(
    "reserve-memory",
    "memory that the host keeps available",
    orZero(parseMemoryMiB),
    ({ reserve }) => `${reserve.memoryMiB} MiB`,
    (memoryMiB, { reserve }) => ({ reserve: { ...reserve, memoryMiB } }),
  ),
  setting(
    "rogue-action",
    "what is done about a VM that is called rogue: log, alarm or end",
    parseRogueAction,
    ({ rogue }) => rogue.action,
    (action, { rogue }) => ({ rogue: { ...rogue, action } }),
    true,
  ),
  setting(
    "rogue-per-minute",
    "refused frames in a minute that make a VM rogue",
    parseCount,
    ({ rogue }) => String(rogue.perMinute),
    (perMinute, { rogue }) => ({ rogue: { ...rogue, perMinute } }),
  ),
  setting(
    "rogue-per-hour",
    "refused frames in an hour that make a VM rogue",
    parseCount,
    ({ rogue }) => String(rogue.perHour),
    (perHour, { rogue }) => ({ rogue: { ...rogue, perHour } }),
  ),
  setting(
    "rogue-destinations",
    "different destinations in an hour that make a VM rogue",
    parseCount,
    ({ rogue }) => String(rogue.destinations),
    (destinations, { rogue }) => ({ rogue: { ...rogue, destinations } }),
  ),
  setting(
    "rogue-spoofed",
    "frames under a false source address in an hour that make a VM rogue",
    parseCount,
    ({ rogue }) => String(rogue.spoofed),
    (spoofed, { rogue }) => ({ rogue: { ...rogue, spoofed } }),
  ),
  setting(
    "tunnel-timeout",
    "how long a VM may be without its tunnel, or off",
    orOff(parseSeconds),
    ({ tunnelTimeoutSeconds: s }) => s === null ? "off" : formatTtl(s),
    (tunnelTimeoutSeconds) => ({ tunnelTimeoutSeconds }),
    true,
  ),
]);

function limit(most: number | undefined, unit = ""): string {
  return most === undefined ? "no limit" : `${most}${unit}`;
}

/**
 * A setting by its name.
 *
 * @throws {OmertaError} `bad-option`, when there is none.
 */
export function lendSetting(name: string): LendSetting {
  const setting = LEND_SETTINGS.get(name);
  if (setting) return setting;
  throw new OmertaError("bad-option", `Cannot set '${name}': there is no such setting`, {
    exit: EXIT.usage,
    next: `Use one of ${[...LEND_SETTINGS.keys()].join(", ")}`,
  });
}

/** `yes` or `no`. */
function parseYesNo(option: string): (text: string) => boolean {
  return (text) => {
    if (text === "yes" || text === "no") return text === "yes";
    throw new OmertaError("bad-option", `Cannot use ${option} '${text}': want yes or no`, {
      exit: EXIT.usage,
    });
  };
}

/** Words separated by commas, each once. */
function parseWords(option: string): (text: string) => string[] {
  return (text) => {
    if (/^[a-z]+(?:,[a-z]+)*$/.test(text)) return [...new Set(text.split(","))];
    throw new OmertaError(
      "bad-option",
      `Cannot use ${option} '${text}': want words separated by commas`,
      { exit: EXIT.usage },
    );
  };
}

/** A share above 0 and up to 1. */
function parseShare(option: string): (text: string) => number {
  return (text) => {
    if (/^(?:1|0\.\d{0,5}[1-9])$/.test(text)) return Number(text);
    throw new OmertaError(
      "bad-option",
      `Cannot use ${option} '${text}': want a share as in 0.01, or 1`,
      { exit: EXIT.usage },
    );
  };
}

/** One of {@link ROGUE_ACTIONS}. */
function parseRogueAction(option: string): (text: string) => LendRules["rogue"]["action"] {
  return (text) => {
    const action = ROGUE_ACTIONS.find((one) => one === text);
    if (action) return action;
    throw new OmertaError(
      "bad-option",
      `Cannot use ${option} '${text}': want ${ROGUE_ACTIONS.join(", ")}`,
      { exit: EXIT.usage },
    );
  };
}

/** `off`, or what `parse` takes. */
function orOff(parse: Parse<number>): Parse<number | null> {
  return (option) => (text) => text === "off" ? null : parse(option)(text);
}

/** `0`, or what `parse` takes. */
function orZero(parse: Parse<number>): Parse<number> {
  return (option) => (text) => text === "0" ? 0 : parse(option)(text);
}
