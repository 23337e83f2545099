/**
 * The fail-safe of a VM: without its tunnel it has no borrower, so it is ended after a time that
 * the lender sets.
 *
 * The lender cannot read what goes through the tunnel, but sees data and answers to handshakes pass,
 * which only an end with a session sends; a handshake that is tried again and again without an answer
 * is no sign of life. Of a tunnel that works two things are sure:
 *
 *  - One of its ends is heard of every 15 s: both have a keepalive of that interval. Not each of
 *    them: what comes from the one puts off the keepalive of the other, so in an idle tunnel one
 *    end may keep still.
 *  - Each end is heard of every 180 s (paper 6.1, REJECT-AFTER-TIME): a session that old is not
 *    used any more, and both ends speak to make the next.
 *
 * So a tunnel is lost when no end is heard of any more; or else, when one end goes on speaking and
 * the other is not there, 180 s after that one was heard of last. Time counts from the moment when
 * the guest has set itself up; up to then, the stages of vm/ have limits of their own.
 *
 * It is a net for what breaks, not a wall: a guest or a borrower that wants to can pretend.
 *
 * @module
 */

import type { PlaneGuestStats } from "../../net/plane/plane.ts";
import { REJECT_AFTER_MS } from "../../net/wireguard/constants.ts";
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
  const { sessionFromGuestMs: from = 0, sessionToGuestMs: to = 0 } = times;
  const both = Math.min(from, to);
  const lostAt = both === 0 ? 0 : Math.min(Math.max(from, to), both + REJECT_AFTER_MS);
  if (now - Math.max(lostAt, vm.since + setUp) < timeoutSeconds * 1000) return undefined;
  const long = formatTime(timeoutSeconds);
  return both === 0
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
  /** What was counted of each guest. */
  readonly guestStats: () => Promise<readonly PlaneGuestStats[]>;
  /** What is lent, as configured now. */
  readonly rules: () => Promise<LendRules>;
}

const log = logger("lender");

/**
 * Asks the data plane once for all guests. @returns {@link tunnelFault} of each lease by what is
 * known now; nothing is found out of any when rules or data plane cannot be read.
 */
export async function tunnelFaults(
  { guestStats, rules }: TunnelSources,
  leases: Iterable<Pick<Lease, "accepted">>,
): Promise<(lease: Watched & Pick<Lease, "id">, now: number) => string | undefined> {
  if ([...leases].every(({ accepted }) => accepted.dryRun)) return () => undefined;
  try {
    const [{ tunnelTimeoutSeconds }, guests] = await Promise.all([rules(), guestStats()]);
    const times = new Map<string, TunnelTimes>(guests.map((guest) => [guest.id, guest]));
    return (lease, now) => tunnelFault(lease, times.get(lease.id), tunnelTimeoutSeconds, now);
  } catch (error) {
    log.warning("Cannot look after the tunnels: {error}", { error: messageOf(error) });
    return () => undefined;
  }
}
