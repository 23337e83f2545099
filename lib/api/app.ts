/**
 * The daemon's HTTP API. It is served on a unix socket that only the user can open, so it asks for
 * no password.
 *
 * ```
 * GET    /v1/status
 * GET    /v1/vms/:name             a borrowed VM, by name or prefix of its id
 * GET    /v1/vms/:name/gone        answers when it is not borrowed any more, and why
 * POST   /v1/vms                   borrow one; a JSON line for each step, the last is done or error.
 *                                  "hold": gives it back when the client goes away
 * DELETE /v1/vms/:name             give it back
 * GET    /v1/lent/:name/console    ?lines=N
 * GET    /v1/lent/:name/refused    its last refused frames, and how many there were by reason
 * GET    /v1/alarms                ?vm=NAME: alarms about lent VMs; DELETE forgets them
 * GET    /v1/lent/:name/connections
 * POST   /v1/lent/:name/rehearsal  what the VM's filter would do with frames from its cable
 * POST   /v1/stop                  end the daemon
 * ```
 *
 * tunnels.ts has those about tunnels.
 *
 * @module
 */

import { type Context, Hono } from "hono";
import { stream } from "hono/streaming";
import { EXIT, type ExitCode, OmertaError } from "../core/errors.ts";
import type { BorrowedVm } from "../node/lease_store.ts";
import { hostConnections } from "../node/host_connections.ts";
import type { LentVm } from "../node/lease.ts";
import type { Node, NodeStatus } from "../node/node.ts";
import {
  type ConnectionsView,
  type LentView,
  type RefusedView,
  RehearsalBody,
  type RehearsalView,
  RequestBody,
  type RequestEvent,
  type StatusView,
  toApiError,
  type VmView,
} from "./schemas.ts";
import { bodyOf } from "./_body.ts";
import { addProxyRoutes } from "./proxies.ts";
import { addTunnelRoutes } from "./tunnels.ts";

/** Verdicts of the filter that are no refusals. */
const NOT_REFUSED: ReadonlySet<string> = new Set(["forwarded", "answered", "announced"]);
/** Most console lines in one answer. */
const MAX_CONSOLE_LINES = 1000;

/**
 * The API of `node`.
 *
 * @param stop Ends the daemon after the answer is out.
 * @param ending Aborts when the daemon ends: gives up what is being asked for or held.
 */
export function createApp(node: Node, stop: () => void, ending: AbortSignal): Hono {
  const app = new Hono();
  app.onError((error, c) => c.json(toApiError(error), statusOf(error)));
  app.notFound((c) =>
    c.json(toApiError(new OmertaError("not-found", `Cannot find ${c.req.path}`)), 404)
  );

  app.get("/v1/status", async (c) => c.json(statusView(await node.status())));

  app.get("/v1/vms/:name", (c) => c.json(vmView(node.borrower.find(c.req.param("name")))));

  app.get("/v1/vms/:name/gone", async (c) => {
    const signal = AbortSignal.any([c.req.raw.signal, ending]);
    return c.json({ reason: await node.borrower.whenGone(c.req.param("name"), signal) });
  });

  app.post("/v1/vms", async (c) => {
    const body = await bodyOf(c, RequestBody);
    await node.reload();
    return requestStream(c, node, body, ending);
  });

  app.delete("/v1/vms/:name", async (c) => {
    const { vm, ended } = await node.borrower.release(c.req.param("name"));
    return c.json({ vm: vmView(vm), ended });
  });

  app.get("/v1/lent/:name/console", (c) => {
    const lines = Math.min(Number(c.req.query("lines") ?? "50") || 0, MAX_CONSOLE_LINES);
    const vm = findLent(node, c.req.param("name"));
    return c.json({ lines: node.manager.get(vm.id)?.consoleLines(lines) ?? [] });
  });

  app.get("/v1/lent/:name/refused", async (c) => {
    return c.json(await refusedView(node, findLent(node, c.req.param("name"))));
  });

  app.get("/v1/alarms", (c) => {
    const name = alarmedName(node, c.req.query("vm"));
    return c.json({ alarms: node.lender?.alarms.list(name) ?? [] });
  });

  app.delete("/v1/alarms", (c) => {
    const name = alarmedName(node, c.req.query("vm"));
    return c.json({ alarms: node.lender?.alarms.clear(name) ?? [] });
  });

  app.get("/v1/lent/:name/connections", async (c) => {
    const { id, name, mode } = findLent(node, c.req.param("name"));
    const pid = mode === "direct" ? node.manager.get(id)?.pid : undefined;
    const connections = pid === undefined ? [] : await hostConnections(pid);
    return c.json({ name, mode, connections } satisfies ConnectionsView);
  });

  app.post("/v1/lent/:name/rehearsal", async (c) => {
    const { frames } = await bodyOf(c, RehearsalBody);
    const { id } = findLent(node, c.req.param("name"));
    const view: RehearsalView = {
      frames: [...await node.rehearse(id, frames.map((frame) => Uint8Array.fromHex(frame)))],
    };
    return c.json(view);
  });

  addTunnelRoutes(app, node);
  addProxyRoutes(app, node, ending);

  app.post("/v1/stop", (c) => {
    stop();
    return c.json({ pid: Deno.pid });
  });
  return app;
}

/** Borrows a VM and tells each step; a client that goes away gives the request up. */
function requestStream(
  c: Context,
  node: Node,
  body: RequestBody,
  ending: AbortSignal,
): Response {
  c.header("Content-Type", "application/x-ndjson");
  return stream(c, async (out) => {
    const gone = new AbortController();
    out.onAbort(() =>
      gone.abort(new OmertaError("given-up", `Cannot borrow VM "${body.name}": it was given up`))
    );
    const signal = AbortSignal.any([gone.signal, ending]);
    // Lines leave in the order in which they were written.
    let written: Promise<unknown> = Promise.resolve();
    const tell = (event: RequestEvent): void => {
      written = written.then(() => out.writeln(JSON.stringify(event)));
    };
    try {
      const vm = await node.borrower.request(body, tell, signal);
      tell({ kind: "done", vm: vmView(vm) });
      if (body.hold) tell({ kind: "gone", reason: await node.borrower.hold(vm, signal) });
    } catch (error) {
      tell({ kind: "error", error: toApiError(error) });
    }
    await written;
  });
}

/** HTTP status of an error: its exit code says whose fault it is. */
function statusOf(error: unknown): 400 | 404 | 500 | 502 | 504 {
  if (!(error instanceof OmertaError)) return 500;
  if (error.code === "unknown-vm") return 404;
  const statuses = {
    [EXIT.done]: 500,
    [EXIT.failed]: 500,
    [EXIT.usage]: 400,
    [EXIT.missing]: 500,
    [EXIT.unreachable]: 504,
    [EXIT.refused]: 502,
  } as const satisfies Record<ExitCode, number>;
  return statuses[error.exit];
}

function findLent(node: Node, nameOrId: string): LentVm {
  const lent = node.lender?.list() ?? [];
  const named = lent.filter((vm) => vm.name === nameOrId);
  const found = named.length > 0 ? named : lent.filter((vm) => vm.id.startsWith(nameOrId));
  const [first, second] = found;
  if (first && !second) return first;
  throw new OmertaError(
    first ? "ambiguous-vm" : "unknown-vm",
    first
      ? `Cannot choose a lent VM by '${nameOrId}': ${found.map(({ id }) => id).join(", ")}`
      : `Cannot find a lent VM named '${nameOrId}'`,
    { exit: EXIT.usage, next: "See 'omerta vm list'" },
  );
}

/** A name that alarms are asked for by: an alarm's, or else that of a VM that is lent. */
function alarmedName(node: Node, nameOrId: string | undefined): string | undefined {
  if (nameOrId !== undefined && !node.lender?.alarms.list(nameOrId).length) {
    findLent(node, nameOrId);
  }
  return nameOrId;
}

async function refusedView(node: Node, { id, name }: LentVm): Promise<RefusedView> {
  const { plane } = await node.status();
  const cable = plane.guests.find((guest) => guest.id === id);
  if (!cable) {
    throw new OmertaError(
      "no-cable",
      `Cannot say what VM "${name}" was not allowed to send: it has no cable now`,
      { next: "See 'omerta vm list' for its stage, and 'omerta vm logs'" },
    );
  }
  const frames = await node.refusedFrames(id);
  return {
    ...{ id, name },
    counts: refusals(cable.fromGuest),
    frames: frames.map(({ time, reason, length, text, bytes }) => ({
      ...{ time, reason, length, text },
      bytes: bytes.toBase64(),
    })),
  };
}

function statusView(status: NodeStatus): StatusView {
  const { lending, plane } = status;
  return {
    version: status.version,
    pid: status.pid,
    started: status.started,
    peer: status.peer,
    machine: status.machine,
    port: status.port,
    lending: lending === undefined ? null : {
      cpus: lending.capacity.cpus,
      memoryMiB: lending.capacity.memoryMiB,
      diskGiB: lending.capacity.diskGiB,
      maxVms: lending.capacity.vms,
      rules: [...lending.rules],
      accelerator: lending.accelerator,
      dryRun: lending.dryRun,
      vms: lending.vms.map(lentView),
      alarms: [...lending.alarms],
    },
    tunnelEnd: status.tunnelEnd,
    borrowed: status.borrowed.map((vm) => ({ ...vmView(vm), lenderSilent: vm.lenderSilent })),
    controlFaults: status.controlFaults,
    tunnels: plane.peers.map((peer) => ({
      publicKey: peer.publicKey,
      endpoint: peer.endpoint ?? null,
      rxBytes: peer.rxBytes,
      txBytes: peer.txBytes,
      lastHandshake: peer.lastHandshakeMs ?? null,
    })),
    cables: plane.guests.map((guest) => ({
      id: guest.id,
      fromGuest: guest.bytesToUplink,
      toGuest: guest.bytesToGuest,
      unjudged: guest.unjudged,
      refused: withTooLong(refusals(guest.fromGuest), guest.cable?.truncated ?? 0),
    })),
  };
}

/** What the filter did not let through or answer, by reason. */
function refusals(verdicts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(verdicts).filter(([verdict, count]) => count > 0 && !NOT_REFUSED.has(verdict)),
  );
}

/** `refused` with the frames that were longer than anything a cable carries: they end before the filter. */
function withTooLong(refused: Record<string, number>, count: number): Record<string, number> {
  const reason = "too-long";
  return count === 0 ? refused : { ...refused, [reason]: (refused[reason] ?? 0) + count };
}

function vmView(vm: BorrowedVm): VmView {
  return {
    id: vm.id,
    name: vm.name,
    host: vm.host,
    address: vm.address,
    since: vm.since,
    ...(vm.readyAt === undefined ? {} : { readyAt: vm.readyAt }),
    mode: vm.mode,
    dryRun: vm.dryRun,
  };
}

function lentView(vm: LentVm): LentView {
  return {
    id: vm.id,
    name: vm.name,
    borrower: vm.borrower,
    endpoint: vm.endpoint,
    stage: vm.stage,
    cpus: vm.cpus,
    memoryMiB: vm.memoryMiB,
    diskGiB: vm.diskGiB,
    since: vm.since,
    ...(vm.expires === undefined ? {} : { expires: vm.expires }),
    mode: vm.mode,
    dryRun: vm.dryRun,
  };
}
