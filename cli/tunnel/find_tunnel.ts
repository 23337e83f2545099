/**
 * Which tunnel is meant.
 *
 * @module
 */

import type { TunnelsView, TunnelView } from "../../lib/api/tunnel_schemas.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { BORROWER_ADDRESS } from "../../lib/node/tunnel_addresses.ts";
import { isOver, type JobRecord } from "../job/job_store.ts";

/**
 * The tunnels of the VM of this name or beginning of an id.
 *
 * @throws {OmertaError} `unknown-vm`.
 */
export function tunnelsOfVm({ tunnels }: TunnelsView, nameOrId: string): TunnelView[] {
  const named = tunnels.filter(({ name }) => name === nameOrId);
  const found = named.length > 0
    ? named
    : tunnels.filter(({ id }) => nameOrId !== "" && id.startsWith(nameOrId));
  if (found.length > 0) return found;
  throw new OmertaError("unknown-vm", `Cannot find a tunnel of a VM named '${nameOrId}'`, {
    exit: EXIT.usage,
    next: known(tunnels.map(({ name }) => name)),
  });
}

/**
 * The tunnel of a job's VM.
 *
 * @throws {OmertaError} `job-over`, or `no-vm` while it has none.
 */
export function tunnelOfJob({ tunnels }: TunnelsView, job: JobRecord): TunnelView {
  if (isOver(job)) {
    throw new OmertaError(
      "job-over",
      `Cannot show the tunnel of job ${job.id}: it has ended (${job.state}), its VM is gone`,
      { next: `See 'omerta job show ${job.id}'` },
    );
  }
  const found = tunnels.find(({ role, name }) =>
    role === "borrowed" && name === job.spec.request.name
  );
  if (found) return found;
  throw new OmertaError(
    "no-vm",
    `Cannot show the tunnel of job ${job.id}: it has no VM yet`,
    { exit: EXIT.unreachable, next: `See 'omerta job show ${job.id}'` },
  );
}

/**
 * The tunnel of this node's own that leads to an address.
 *
 * @throws {OmertaError} `no-tunnel`.
 */
export function tunnelTo({ tunnels }: TunnelsView, address: string): TunnelView {
  const own = tunnels.filter(({ role }) => role === "borrowed");
  const found = own.find((tunnel) => tunnel.address === address);
  if (found) return found;
  const reason = address === BORROWER_ADDRESS
    ? "that is this node's own end"
    : "no tunnel of this node leads there";
  throw new OmertaError("no-tunnel", `Cannot test a tunnel to ${address}: ${reason}`, {
    exit: EXIT.usage,
    next: known(own.map((tunnel) => `${tunnel.address} (${tunnel.name})`)),
  });
}

function known(what: readonly string[]): string {
  return what.length === 0
    ? "Borrow a VM with 'omerta vm request'"
    : `There are: ${what.join(", ")}`;
}
