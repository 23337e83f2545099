/**
 * Values of options: sizes, durations, names. Each parser refuses what it does not know with a
 * message that says what it wants.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { EXIT, OmertaError } from "../lib/core/errors.ts";

function badValue(option: string, text: string, want: string): OmertaError {
  return new OmertaError("bad-option", `Cannot use ${option} '${text}': want ${want}`, {
    exit: EXIT.usage,
  });
}

/** A whole number from 1 to `most`. */
export function parseCount(option: string, most = 9_999_999): (text: string) => number {
  return (text) => {
    const count = /^[1-9][0-9]{0,6}$/.test(text) ? Number(text) : NaN;
    if (!(count <= most)) throw badValue(option, text, `a whole number from 1 to ${most}`);
    return count;
  };
}

/** Memory in MiB: `1024`, `512M`, `2G`. */
export function parseMemoryMiB(option: string): (text: string) => number {
  return (text) => {
    const match = /^([1-9][0-9]{0,7})(M|G)?(?:iB|B)?$/i.exec(text);
    if (!match) throw badValue(option, text, "MiB, or a number with M or G, as in 1024 or 2G");
    return Number(match[1]) * (match[2]?.toUpperCase() === "G" ? 1024 : 1);
  };
}

/** Disk in GiB: `10`, `10G`, `1T`. */
export function parseDiskGiB(option: string): (text: string) => number {
  return (text) => {
    const match = /^([1-9][0-9]{0,4})(G|T)?(?:iB|B)?$/i.exec(text);
    if (!match) throw badValue(option, text, "GiB, or a number with G or T, as in 20 or 1T");
    return Number(match[1]) * (match[2]?.toUpperCase() === "T" ? 1024 : 1);
  };
}

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** Longest time that anything is waited for, in s; requests to the daemon have the same limit. */
const MAX_TIMEOUT_S = 86_400;

/** What `--timeout` says, in seconds. */
export const parseTimeout: (text: string) => number = parseSeconds("--timeout", MAX_TIMEOUT_S);

/** A duration in seconds, at most `most`: `90`, `90s`, `30m`, `2h`, `1d`. */
export function parseSeconds(option: string, most = Infinity): (text: string) => number {
  return (text) => {
    const match = /^([1-9][0-9]{0,7})(s|m|h|d)?$/.exec(text);
    if (!match) {
      throw badValue(option, text, "seconds, or a number with s, m, h or d, as in 90 or 2h");
    }
    const seconds = Number(match[1]) * SECONDS[(match[2] ?? "s") as keyof typeof SECONDS];
    if (seconds > most) throw badValue(option, text, `at most ${most} s`);
    return seconds;
  };
}

/** Name of a VM: a DNS label of at most 32 characters. */
export function parseVmName(text: string): string {
  if (/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/.test(text)) return text;
  throw badValue("--name", text, "1 to 32 of a-z, 0-9 and '-', not '-' at the ends");
}

/** A name for a VM that was given none. */
export function randomVmName(): string {
  return `vm-${randomBytes(3).toString("hex")}`;
}
