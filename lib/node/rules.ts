/**
 * The lender's rules: whether a request is accepted, and if not, which rule says so, what was asked
 * for and what would be accepted. This is the only place that decides it.
 *
 * The rules are looked at in this order; the first that refuses is named, by its name in
 * `omerta lend show`:
 *
 * 1. `deny`, `allow`: who asks.
 * 2. `quiet`: when.
 * 3. `borrower-vms`, `vms`: how many there are.
 * 4. `modes`: how closely the network is looked at.
 * 5. `vm-ttl`, `ttl-required`: for how long.
 * 6. Processors, memory, disk. What one VM gets, what is left of what is lent, and what the host
 *    keeps are taken together and the tightest is named, so that who asks for less is not told of
 *    the next.
 *
 * Load does not count, only processors; memory counts as it is available at the moment, less what
 * VMs that were lent have not taken yet. Nothing here ends a VM: a rule holds for the next request.
 *
 * No clock, file or host is looked at here: time and memory are parameters.
 *
 * @module
 */

import { MIN_MEMORY_MIB } from "../../vm/manager.ts";
import { DEFAULT_MODES, DEFAULT_TUNNEL_TIMEOUT_S, type LendRules } from "../core/config.ts";
import { counted } from "../core/counted.ts";
import { EXIT, OmertaError } from "../core/errors.ts";
import type { PeerId } from "../core/ids.ts";
import {
  formatTimeAfter,
  type LocalTime,
  minutesLeft,
  parseTimeRange,
  type TimeRange,
  WEEK,
} from "../core/quiet_hours.ts";
import { type Capacity, capacityOf, type Resources } from "./capacity.ts";
import type { HostNow } from "./host_now.ts";
import type { VmMode } from "./messages.ts";

/** A VM that is lent. */
export interface UsedVm extends Resources {
  /** Who has borrowed it. */
  readonly peer: PeerId;
  /** How much of its memory its guest has taken from the host so far, in MiB. */
  readonly takenMiB: number;
}

/** What is asked for. */
export interface AskedVm extends Resources {
  /** Who asks. */
  readonly peer: PeerId;
  /** How closely its network is looked at. */
  readonly mode: VmMode;
  /** After how long it ends by itself, in seconds. */
  readonly ttlSeconds?: number | undefined;
}

/** What the rules are applied to besides the request. */
export interface Situation {
  /** The VMs that are lent. */
  readonly used: readonly UsedVm[];
  /** What the host has. */
  readonly host: HostNow;
  /** The time where the lender is. */
  readonly time: LocalTime;
}

/** Why a request is refused; undefined when it is accepted. */
export function refusalOf(
  lend: LendRules,
  asked: AskedVm,
  situation: Situation,
): OmertaError | undefined {
  return refusalByPeer(lend, asked.peer) ??
    refusalByTime(lend, situation.time) ??
    refusalByCount(lend, asked.peer, situation.used) ??
    refusalByMode(lend, asked.mode) ??
    refusalByTtl(lend, asked.ttlSeconds) ??
    refusalByAmount(lend, asked, situation);
}

/** Whether a peer is one of those that are written as ids or first characters of ids. */
export function isListed(list: readonly string[], peer: PeerId): boolean {
  return list.some((prefix) => peer.startsWith(prefix));
}

function refusalByPeer({ allow, deny }: LendRules, peer: PeerId): OmertaError | undefined {
  const denied = isListed(deny, peer);
  if (!denied && (allow.length === 0 || isListed(allow, peer))) return undefined;
  return refusal(
    "not-allowed",
    `lend to peer ${peer}`,
    denied ? "it is denied" : "it is not one of those that are allowed",
    denied ? "deny" : "allow",
    `Ask the lender for 'omerta lend allow ${peer}'`,
  );
}

function refusalByTime({ quiet }: LendRules, time: LocalTime): OmertaError | undefined {
  const left = minutesLeft(rangesOf(quiet), time);
  if (left === 0) return undefined;
  const end = left === WEEK ? undefined : `${formatTimeAfter(time, left)} of the lender's time`;
  return refusal(
    "quiet-hours",
    "lend a VM now",
    end === undefined ? "it is quiet at any time" : `it is quiet until ${end}`,
    "quiet",
    end === undefined ? "Ask the lender to change them" : `Ask again after ${end}`,
  );
}

function refusalByCount(
  { vms, perBorrower }: LendRules,
  peer: PeerId,
  used: readonly UsedVm[],
): OmertaError | undefined {
  const theirs = used.filter((vm) => vm.peer === peer).length;
  if (perBorrower !== undefined && theirs >= perBorrower) {
    const why = `${theirs} of ${perBorrower} are lent to peer ${peer}`;
    const next = "Release one of your VMs";
    return refusal("no-room", "lend one more VM", why, "borrower-vms", next);
  }
  if (used.length < vms) return undefined;
  const next = "Release a VM, or ask again later";
  return refusal("no-room", "lend one more VM", `${used.length} of ${vms} are lent`, "vms", next);
}

function refusalByMode({ modes }: LendRules, mode: VmMode): OmertaError | undefined {
  if (modes.includes(mode)) return undefined;
  return refusal(
    "mode-forbidden",
    `lend a VM in mode ${mode}`,
    `this lender allows ${modes.join(", ")}`,
    "modes",
    `Ask with --mode ${modes[0]}, or ask the lender for ` +
      `'omerta lend set modes ${[...modes, mode].join(",")}'`,
  );
}

function refusalByTtl(
  { perVm: { ttlSeconds: most, ttlRequired } }: LendRules,
  asked: number | undefined,
): OmertaError | undefined {
  if (asked === undefined && most === undefined && !ttlRequired) return undefined;
  if (asked !== undefined && (most === undefined || asked <= most)) return undefined;
  const what = `lend a VM ${asked === undefined ? "without an end" : `for ${formatTtl(asked)}`}`;
  return most === undefined
    ? refusal("over-limit", what, "a time must be given", "ttl-required", "Ask with --ttl TIME")
    : refusal(
      "over-limit",
      what,
      `${formatTtl(most)} is the longest`,
      "vm-ttl",
      `Ask with --ttl ${formatTtl(most)} or less`,
    );
}

/** One bound on an amount. */
interface Bound {
  readonly rule: string;
  /** The most that would be accepted. */
  readonly most: number;
  readonly why: string;
  /** Whether it is the same at any time. */
  readonly fixed: boolean;
}

/** How an amount is asked for and told. */
interface Amount {
  readonly field: keyof Resources;
  /** Name of the rule on all VMs together, and the end of the other rules' names. */
  readonly rule: string;
  readonly name: string;
  readonly unit: string;
  readonly option: string;
  /** The least that makes sense. */
  readonly least: number;
}

const CPUS: Amount = {
  field: "cpus",
  rule: "cpus",
  name: "processors",
  unit: "",
  option: "--cpu",
  least: 1,
};
const MEMORY: Amount = {
  field: "memoryMiB",
  rule: "memory",
  name: "memory",
  unit: " MiB",
  option: "--memory",
  least: MIN_MEMORY_MIB,
};
const DISK: Amount = {
  field: "diskGiB",
  rule: "disk",
  name: "disk",
  unit: " GiB",
  option: "--disk",
  least: 1,
};

function refusalByAmount(
  lend: LendRules,
  asked: AskedVm,
  { used, host }: Situation,
): OmertaError | undefined {
  if (asked.memoryMiB < MIN_MEMORY_MIB) {
    return new OmertaError(
      "too-little-memory",
      `Cannot lend a VM with ${asked.memoryMiB} MiB of memory: ${MIN_MEMORY_MIB} MiB is the least`,
      { exit: EXIT.usage, next: `Ask with --memory ${MIN_MEMORY_MIB} or more` },
    );
  }
  const capacity = capacityOf(lend);
  for (const amount of [CPUS, MEMORY, DISK]) {
    const { field, name, unit, option, least } = amount;
    const bounds = boundsOf(amount, lend, capacity, used, host);
    const bound = bounds.reduce((a, b) => b.most < a.most ? b : a);
    if (asked[field] <= bound.most) continue;
    return refusal(
      bound.fixed ? "over-limit" : "no-room",
      `lend ${asked[field]}${unit} of ${name}`,
      bound.why,
      bound.rule,
      bound.most >= least ? `Ask with ${option} ${bound.most} or less` : "Ask again later",
    );
  }
  return undefined;
}

/** Everything that limits one amount; the first is always there. */
function boundsOf(
  { field, unit, rule }: Amount,
  { perVm, reserve }: LendRules,
  capacity: Capacity,
  used: readonly UsedVm[],
  host: HostNow,
): [Bound, ...Bound[]] {
  const lent = used.reduce((sum, vm) => sum + vm[field], 0);
  const free = Math.max(0, capacity[field] - lent);
  const bounds: [Bound, ...Bound[]] = [{
    ...{ rule, most: free, fixed: false },
    why: `${free}${unit} of ${capacity[field]}${unit} are free`,
  }];
  const most = perVm[field];
  if (most !== undefined) {
    const why = `${most}${unit} is the most for one VM`;
    bounds.push({ rule: `vm-${rule}`, most, why, fixed: true });
  }
  const kept = field === "diskGiB" ? 0 : reserve[field];
  if (field === "diskGiB" || kept === 0) return bounds;
  // Memory that a guest has not touched yet looks available, but is promised.
  const promised = field === "cpus"
    ? lent
    : used.reduce((sum, vm) => sum + Math.max(0, vm.memoryMiB - vm.takenMiB), 0);
  const left = Math.max(0, host[field] - promised - kept);
  const why = `${left}${unit} are free beside ${kept}${unit} that the host keeps`;
  bounds.push({ rule: `reserve-${rule}`, most: left, why, fixed: false });
  return bounds;
}

function refusal(
  code: "not-allowed" | "quiet-hours" | "no-room" | "mode-forbidden" | "over-limit",
  what: string,
  why: string,
  rule: string,
  next: string,
): OmertaError {
  return new OmertaError(code, `Cannot ${what}: ${why} (rule ${rule})`, {
    exit: EXIT.refused,
    next,
  });
}

/** The rules beyond what is lent in all, in words, in the order in which they are applied. */
export function describeRules(lend: LendRules, time: LocalTime): string[] {
  const { allow, deny, quiet, perBorrower, modes, perVm, reserve } = lend;
  const { rogue, tunnelTimeoutSeconds } = lend;
  const left = minutesLeft(rangesOf(quiet), time);
  const until = left === WEEK ? "always" : `until ${formatTimeAfter(time, left)}`;
  return [
    deny.length > 0 && `not to ${inShort(deny)}`,
    allow.length > 0 && `only to ${inShort(allow)}`,
    quiet.length > 0 && `quiet ${quiet.join("; ")}${left > 0 ? ` (now, ${until})` : ""}`,
    perBorrower !== undefined && `${counted(perBorrower, "VM")} to one borrower`,
    !DEFAULT_MODES.every((mode) => modes.includes(mode)) && `only in mode ${modes.join(" or ")}`,
    modes.includes("direct") && "a VM in mode direct reaches this host and its network",
    perVm.ttlSeconds !== undefined && `a VM for ${formatTtl(perVm.ttlSeconds)} at the most`,
    perVm.ttlSeconds === undefined && perVm.ttlRequired && "only with a time",
    perVm.cpus !== undefined && `a VM has ${perVm.cpus} processors at the most`,
    perVm.memoryMiB !== undefined && `a VM has ${perVm.memoryMiB} MiB of memory at the most`,
    perVm.diskGiB !== undefined && `a VM has ${perVm.diskGiB} GiB of disk at the most`,
    reserve.cpus > 0 && `${reserve.cpus} processors are kept`,
    reserve.memoryMiB > 0 && `${reserve.memoryMiB} MiB of memory are kept`,
    rogue.action === "end" && "a VM that is called rogue is ended",
    tunnelTimeoutSeconds !== DEFAULT_TUNNEL_TIMEOUT_S &&
    (tunnelTimeoutSeconds === null
      ? "a VM without its tunnel goes on"
      : `a VM without its tunnel is ended after ${formatTtl(tunnelTimeoutSeconds)}`),
  ].filter((rule) => rule !== false);
}

function inShort(peers: readonly string[]): string {
  return peers.length <= 3 ? peers.join(" and ") : `${peers.length} peers`;
}

function rangesOf(quiet: readonly string[]): TimeRange[] {
  return quiet.map((text) => parseTimeRange(text)).filter((range) => range !== undefined);
}

/** A time in the largest unit that it is whole in, as `--ttl` takes it. */
export function formatTtl(seconds: number): string {
  for (const [unit, length] of [["d", 86_400], ["h", 3600], ["m", 60]] as const) {
    if (seconds % length === 0) return `${seconds / length}${unit}`;
  }
  return `${seconds}s`;
}
