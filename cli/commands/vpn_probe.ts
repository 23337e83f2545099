/**
 * `omerta vpn test`: real packets through one tunnel. The name of this file is another, because one
 * that ends with the command's is taken for a test of this program.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { TunnelView } from "../../lib/api/tunnel_schemas.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { run } from "../../lib/core/process.ts";
import { type Context, interruptible, runningDaemon } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { formatAge, note, print, printJson } from "../output.ts";
import { tunnelTo } from "../tunnel/find_tunnel.ts";
import { type PingReport, readPing, roundTrips } from "../tunnel/ping_report.ts";
import { pingByStack } from "../tunnel/stack_ping.ts";
import { parseCount, parseTimeout } from "../values.ts";

/** Time between two questions, in s. */
const INTERVAL_S = 0.2;
/** Most questions. */
const MAX_COUNT = 10_000;
/** How long the last answer is waited for when nothing else is said, in s. */
const DEFAULT_TIMEOUT_S = 5;

/** The command. */
export function vpnProbeCommand(context: Context): CommandUnknownOpts {
  return new Command("test")
    .description(
      "Send ICMP echo through the tunnel to a borrowed VM; ends with 4 without an answer",
    )
    .requiredOption("--server-ip <address>", "the VM's address in the tunnel")
    .option("--count <count>", "packets", parseCount("--count", MAX_COUNT), 5)
    .option(
      "--timeout <time>",
      "how long to wait for the last answer, as in 5s",
      parseTimeout,
      DEFAULT_TIMEOUT_S,
    )
    .option("--json", "print JSON")
    .action(async ({ serverIp, count, timeout, json }) => {
      using client = await runningDaemon(context);
      const view = await client.tunnels();
      const tunnel = tunnelTo(view, serverIp);
      checkTunnel(tunnel);
      const { device } = view;
      const report = await interruptible((signal) =>
        device === null
          ? pingByStack({
            ping: (body) => client.ping(body),
            ...{ host: serverIp, count, intervalMs: INTERVAL_S * 1000, timeoutMs: timeout * 1000 },
            onAnswer: () => {},
          }, signal)
          : ping(device, serverIp, count, timeout, signal)
      );
      // What the packets may have changed: a handshake, bytes.
      const after = tunnelTo(await client.tunnels(), serverIp);
      if (json) printJson({ ...report, tunnel: after });
      else printReport(report, after, Date.now());
      if (report.received === 0) {
        if (!json) note(`Next: ${nextStep(after)}`);
        endWith(EXIT.unreachable);
      }
    });
}

/** Throws when no packet can go through it. */
function checkTunnel({ name, state }: TunnelView): void {
  const what = `Cannot test the tunnel of VM "${name}"`;
  if (state === "dry-run") {
    throw new OmertaError("dry-run", `${what}: it is a dry run`, { exit: EXIT.usage });
  }
  if (state !== "none") return;
  throw new OmertaError("no-tunnel", `${what}: it is not there yet`, {
    exit: EXIT.unreachable,
    next: "See 'omerta vm list'",
  });
}

async function ping(
  device: string,
  address: string,
  count: number,
  timeoutS: number,
  signal: AbortSignal,
): Promise<PingReport> {
  // Bound to the interface: another WireGuard of this computer may have a closer route to the VM.
  const args = ["-n", "-I", device, "-c", `${count}`, "-i", `${INTERVAL_S}`, "-W", `${timeoutS}`];
  const { code, stdout, stderr } = await run("ping", [...args, address], {
    signal,
    env: { LC_ALL: "C" },
    timeoutMs: (count * INTERVAL_S + timeoutS + 10) * 1000,
  });
  if (code === 0 || code === 1) return readPing(stdout, count);
  throw new OmertaError("ping-failed", `Cannot run ping: ${stderr.trim() || `exit code ${code}`}`, {
    exit: EXIT.missing,
    next: "Install ping of iputils (Debian: iputils-ping); it may need root",
  });
}

function printReport(report: PingReport, tunnel: TunnelView, now: number): void {
  print(`VM         ${tunnel.name} (${tunnel.id}), lent by ${tunnel.with}`);
  print(`tunnel     ${tunnel.localAddress} - ${tunnel.address}, endpoint ${tunnel.endpoint}`);
  print(
    `handshake  ${
      tunnel.lastHandshake === null ? "none" : `${formatAge(now - tunnel.lastHandshake)} ago`
    }`,
  );
  for (const line of roundTrips(report)) print(line);
}

/** What to look at when nothing has answered. */
function nextStep({ name, lastHandshake, with: lender, state }: TunnelView): string {
  if (lastHandshake === null || state === "stale") {
    return `No packet comes from the VM: ask the lender (${lender}) for 'omerta vm console ${name}', ` +
      "and look for a firewall on the way that drops UDP";
  }
  return `The tunnel is up and the VM is silent: its firewall may drop ICMP; try 'omerta ssh ${name}'`;
}
