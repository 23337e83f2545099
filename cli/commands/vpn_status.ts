/**
 * `omerta vpn status`: the tunnels of this node.
 *
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import type { TunnelView } from "../../lib/api/tunnel_schemas.ts";
import { type Context, runningDaemon } from "../context.ts";
import { isOver, type JobRecord, JobStore } from "../job/job_store.ts";
import { formatAge, formatBytes, note, print, printJson } from "../output.ts";
import { printTable } from "../table.ts";
import { tunnelOfJob, tunnelsOfVm } from "../tunnel/find_tunnel.ts";

/** What a state means, for people. */
const STATES = {
  up: "up",
  "no-handshake": "no handshake",
  stale: "silent",
  carried: "carried",
  none: "none",
  "dry-run": "dry run",
} as const satisfies Record<TunnelView["state"], string>;

/** The command. */
export function vpnStatusCommand(context: Context): CommandUnknownOpts {
  return new Command("status")
    .description("List the tunnels to VMs that are borrowed, and of those that are lent")
    .addOption(new Option("--job-id <id>", "only that of a job's VM").conflicts("vm"))
    .option("--vm <name>", "only that of a VM: name, or a unique beginning of the id")
    .option("--json", "print JSON")
    .action(async ({ jobId, vm, json }) => {
      const store = new JobStore(context.paths.jobs);
      const job = jobId === undefined ? undefined : await store.find(jobId);
      const jobs = (await store.list()).filter((one) => !isOver(one));
      using client = await runningDaemon(context);
      const view = await client.tunnels();
      const tunnels = job
        ? [tunnelOfJob(view, job)]
        : vm === undefined
        ? view.tunnels
        : tunnelsOfVm(view, vm);
      const shown = tunnels.map((tunnel) => ({ ...tunnel, job: jobOf(tunnel, jobs) ?? null }));
      if (json) printJson({ device: view.device, tunnels: shown });
      else printTunnels(shown, Date.now());
    });
}

/** Id of the job in the background whose VM it is. */
function jobOf({ role, name }: TunnelView, jobs: readonly JobRecord[]): string | undefined {
  return role === "borrowed" ? jobs.find(({ spec }) => spec.request.name === name)?.id : undefined;
}

function printTunnels(
  tunnels: readonly (TunnelView & { readonly job: string | null })[],
  now: number,
): void {
  printTable(
    [
      ...["vm", "tunnel", "with", "address", "endpoint", "state"],
      ...["from vm", "to vm", "handshake", "keepalive", "job"],
    ],
    tunnels.map((tunnel) => [
      tunnel.name,
      tunnel.role,
      tunnel.with,
      tunnel.localAddress === null ? tunnel.address : `${tunnel.localAddress} - ${tunnel.address}`,
      tunnel.endpoint ?? "",
      STATES[tunnel.state],
      formatBytes(tunnel.fromVm),
      formatBytes(tunnel.toVm),
      tunnel.lastHandshake === null ? "" : `${formatAge(now - tunnel.lastHandshake)} ago`,
      tunnel.keepaliveSeconds === null ? "" : `${tunnel.keepaliveSeconds} s`,
      tunnel.job ?? "",
    ]),
    "There is no tunnel: no VM is borrowed or lent",
  );
  for (const { name, client, server } of tunnels) {
    if (client) {
      const where = `${client.address}, UDP port ${client.port}`;
      print(`${name} has a client of this computer at ${where}: ${bothWays(client)}`);
    }
    if (server) print(`${name} has a tunnel to the server ${server.endpoint}: ${bothWays(server)}`);
  }
  if (tunnels.some(({ state }) => state === "carried")) {
    note("A tunnel that is lent is carried: only its two ends know of its handshakes");
  }
}

function bothWays(bytes: { readonly fromVm: number; readonly toVm: number }): string {
  return `${formatBytes(bytes.fromVm)} from the VM, ${formatBytes(bytes.toVm)} to it`;
}
