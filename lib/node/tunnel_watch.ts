/**
 * The fail-safe of a VM: without its tunnel it has no borrower, so it is ended after a time that
 * the lender sets.
 *
 * The lender cannot read what goes through the tunnel, but sees whether it lives: both ends send a
 * keepalive every 15 s, and only an end with a session sends one. A tunnel is heard of when both
 * ends have been; a handshake that is tried again and again without an answer is no sign of life.
 * Time counts from the moment when the guest has set itself up; up to then, the stages of vm/ have
 * limits of their own.
 *
 * It is a net for what breaks, not a wall: a guest or a borrower that wants to can pretend.
 *
 * @module
 */

import type { Plane, PlaneGuestStats } from "../../net/plane/plane.ts";
import { type StageRecord, STAGES } from "../../vm/stages.ts";
import type { LendRules } from "../core/config.ts";
import { messageOf } from "../core/errors.ts";
import { logger } from "../core/log.ts";
import type { Lease } from "./lease.ts";

/** What is known of a VM that is lent. */
export interface Watched {
  /** When it was asked for: ms since 1970. */
  readonly since: number;
  /** The stages it has reached. */
  readonly stages: StageRecord;
}

/** When each end of a tunnel was heard of, as the data plane tells. */
export type TunnelTimes = Pick<PlaneGuestStats, "sessionFromGuestMs" | "sessionToGuestMs">;

/**
 * Why a VM has to end for want of its tunnel; undefined when it has not.
 *
 * @param times What the data plane tells of it; undefined when its cable is not there, and then
 * nothing is known.
 * @param timeoutSeconds How long a tunnel may be lost; null for any time.
 * @param now In ms since 1970.
 */
export function tunnelFault(
  vm: Watched,
  times: TunnelTimes | undefined,
  timeoutSeconds: number | null,
  now: number,
): string | undefined {
  const setUp = setUpAt(vm.stages);
  if (times === undefined || timeoutSeconds === null || setUp === undefined) return undefined;
  const heard = Math.min(times.sessionFromGuestMs ?? 0, times.sessionToGuestMs ?? 0);
  if (now - Math.max(heard, vm.since + setUp) < timeoutSeconds * 1000) return undefined;
  const long = formatTime(timeoutSeconds);
  return heard === 0
    ? `its tunnel did not come up within ${long}`
    : `its tunnel was lost for ${long}`;
}

/** When the guest had set itself up, in ms since the request; the stage may have passed unseen. */
function setUpAt({ reached }: StageRecord): number | undefined {
  const stage = STAGES.slice(STAGES.indexOf("cloud-init"))
    .find((stage) => reached[stage] !== undefined);
  return stage && reached[stage];
}

/** `90 s`, `5 min`, `2 h`: a whole number of the largest unit. */
function formatTime(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

/** What {@link tunnelFaults} asks. */
export interface TunnelSources {
  /** Data plane of the node. */
  readonly plane: Pick<Plane, "stats">;
  /** What is lent, as configured now. */
  readonly rules: () => Promise<LendRules>;
}

const log = logger("lender");

/**
 * Asks the data plane once for all guests. @returns {@link tunnelFault} of each lease by what is
 * known now; nothing is found out of any when rules or data plane cannot be read.
 */
export async function tunnelFaults(
  { plane, rules }: TunnelSources,
  leases: Iterable<Pick<Lease, "accepted">>,
): Promise<(lease: Watched & Pick<Lease, "id">, now: number) => string | undefined> {
  if ([...leases].every(({ accepted }) => accepted.dryRun)) return () => undefined;
  try {
    const [{ tunnelTimeoutSeconds }, { guests }] = await Promise.all([rules(), plane.stats()]);
    const times = new Map<string, TunnelTimes>(guests.map((guest) => [guest.id, guest]));
    return (lease, now) => tunnelFault(lease, times.get(lease.id), tunnelTimeoutSeconds, now);
  } catch (error) {
    log.warning("Cannot look after the tunnels: {error}", { error: messageOf(error) });
    return () => undefined;
  }
}
