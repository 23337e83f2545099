/**
 * What a lender keeps of a VM that it lends, and what it tells of it.
 *
 * @module
 */

import { lastStage, type Stage, type StageRecord } from "../../vm/stages.ts";
import type { NetworkKey } from "../../net/mesh/envelope.ts";
import type { RogueLimits } from "../../net/filter/rogue.ts";
import type { Endpoint } from "../../net/os/endpoint.ts";
import type { PeerId, VmId } from "../core/ids.ts";
import type { Resources } from "./capacity.ts";
import {
  HEARTBEAT_MS,
  type VmAccepted,
  type VmMode,
  type VmRequest,
  type VmStatus,
} from "./messages.ts";

/** A VM is ended when its borrower has missed so many heartbeats. */
const MISSED_HEARTBEATS = 10;
/** Longest reason that is told, in characters: an answer must fit one envelope. */
const MAX_REASON = 700;
/** The same for what to try next. */
const MAX_NEXT = 200;

/** A VM that is lent, as others may see it. */
export interface LentVm extends Resources {
  /** Id of the VM. */
  readonly id: VmId;
  /** Name that the borrower gave it. */
  readonly name: string;
  /** Who borrowed it. */
  readonly borrower: PeerId;
  /** Where the borrower is. */
  readonly endpoint: string;
  /** Address in the borrower's tunnel. */
  readonly address: string;
  /** Last stage reached. */
  readonly stage: Stage;
  /** When it was asked for: ms since 1970. */
  readonly since: number;
  /** When it ends by itself: ms since 1970. */
  readonly expires: number | undefined;
  /** How closely its network is looked at. */
  readonly mode: VmMode;
  /** Whether nothing was started. */
  readonly dryRun: boolean;
}

/** What a lender keeps of a VM that it lends. */
export interface Lease extends Resources {
  /** Id of the VM. */
  readonly id: VmId;
  /** What was asked for. */
  readonly request: VmRequest;
  /** Hex of the borrower's machine key: whose the VM is. */
  readonly machine: string;
  /** The borrower's peer. */
  readonly peer: PeerId;
  /** The network that the request came by. */
  readonly network: NetworkKey;
  /** What was promised. */
  readonly accepted: VmAccepted;
  /** Share of its frames that is judged in mode `sampled`. */
  readonly sampleRate: number;
  /** From when on it is called rogue. */
  readonly rogue: RogueLimits;
  /** When it was asked for: ms since 1970. */
  readonly since: number;
  /** Ends the start. */
  readonly abort: AbortController;
  /** Settles when the start has succeeded or failed and cleaned up. */
  started: Promise<void>;
  /** Where the borrower is. */
  endpoint: Endpoint;
  /** Stages reached, or the failure. */
  stages: StageRecord;
  /** What to try, when it has failed. */
  next: string | undefined;
  /** When the borrower was heard of last: ms since 1970. */
  lastSeen: number;
}

/** What others may see of a lease. */
export function viewOf(lease: Lease): LentVm {
  return {
    id: lease.id,
    name: lease.request.name,
    borrower: lease.peer,
    endpoint: lease.endpoint.toString(),
    address: lease.accepted.address,
    stage: lastStage(lease.stages) ?? "accepted",
    since: lease.since,
    expires: expiryOf(lease),
    mode: lease.request.mode,
    dryRun: lease.accepted.dryRun,
    cpus: lease.cpus,
    memoryMiB: lease.memoryMiB,
    diskGiB: lease.diskGiB,
  };
}

/** What the borrower is told of its VM. */
export function statusOf(lease: Lease): VmStatus {
  const { reached, failure } = lease.stages;
  if (!failure) return { reached };
  return {
    reached,
    failure: {
      ...failure,
      reason: tail(failure.reason, MAX_REASON),
      ...(lease.next === undefined ? {} : { next: lease.next.slice(0, MAX_NEXT) }),
    },
  };
}

/** Why a lease has to end now, or undefined when it has not. */
export function overdue(lease: Lease, now: number): string | undefined {
  const expires = expiryOf(lease);
  if (expires !== undefined && now >= expires) return "its time is over";
  if (now - lease.lastSeen <= HEARTBEAT_MS * MISSED_HEARTBEATS) return undefined;
  return `no word from its borrower for ${MISSED_HEARTBEATS} minutes`;
}

/** When a lease ends by itself, in ms since 1970. */
function expiryOf(lease: Lease): number | undefined {
  const { ttlSeconds } = lease.request;
  return ttlSeconds === undefined ? undefined : lease.since + ttlSeconds * 1000;
}

function tail(text: string, length: number): string {
  return text.length <= length ? text : `...${text.slice(3 - length)}`;
}
