/**
 * `omerta forward`: ports of this computer that lead to borrowed VMs, and back; through the daemon's
 * own TCP/IP stack, so without root.
 *
 * @module
 */

import { setTimeout as pause } from "node:timers/promises";
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { ApiClient } from "../../lib/api/client.ts";
import type { ProxyBody, ProxyView } from "../../lib/api/proxy_schemas.ts";
import { type Context, interruptible, runningDaemon } from "../context.ts";
import { formatBytes, note, print, printJson } from "../output.ts";
import { printTable } from "../table.ts";
import { parseForward } from "../tunnel/forward_argument.ts";
import { keepForward } from "../tunnel/kept_forward.ts";

/** What `--background` does. */
export const BACKGROUND_HELP =
  "return at once; it is opened again by every daemon until 'omerta forward stop' ends it";

/** The command. */
export function forwardCommand(context: Context): CommandUnknownOpts {
  return new Command("forward")
    .description("Lead a port of this computer to one of a borrowed VM, or the reverse")
    .argument("<spec>", "[ADDR:]PORT:HOST:PORT, as in 8080:web:80")
    .option(
      "--reverse",
      "VMs see the first port at 10.0.0.1; it leads to HOST:PORT on this computer",
    )
    .option("--background", BACKGROUND_HELP)
    .action(async (spec, { reverse, background }) => {
      const body = parseForward(spec, reverse ?? false);
      using client = await runningDaemon(context);
      await serve(client, body, background ?? false);
    })
    .addCommand(listCommand(context))
    .addCommand(stopCommand(context));
}

/**
 * Opens a proxy, and unless it is one for the background, keeps it until Ctrl-C, also when the daemon
 * ends and another begins.
 */
export async function serve(
  client: ApiClient,
  body: ProxyBody,
  background: boolean,
): Promise<void> {
  if (background) {
    const proxy = await client.openProxy(body);
    print(`${proxy.id}: ${describe(proxy)}`);
    return;
  }
  const onOpen = (proxy: ProxyView, again: boolean): void => {
    if (again) note(`Open again as ${proxy.id}`);
    else {
      print(`${proxy.id}: ${describe(proxy)}`);
      note("Ctrl-C ends it");
    }
  };
  const onWaiting = (why: string): void => note(`Not open now, trying again: ${why}`);
  const how = await interruptible((signal) =>
    keepForward({ client, body, pause: waitFor, onOpen, onWaiting }, signal)
  );
  if (how === "stopped") note("Ended by 'omerta forward stop'");
}

function waitFor(ms: number, signal: AbortSignal): Promise<void> {
  return pause(ms, undefined, { signal });
}

function state({ background, error }: ProxyView): string {
  if (error !== null) return `not open: ${error}`;
  return background ? "open, background" : "open";
}

function describe({ kind, listen, to }: ProxyView): string {
  if (kind === "socks") return `SOCKS5 at ${listen}`;
  return kind === "forward" ? `${listen} leads to ${to}` : `10.0.0.1:${listen} leads to ${to}`;
}

function listCommand(context: Context): CommandUnknownOpts {
  return new Command("list")
    .description("List the forwards and SOCKS5 servers, and those that cannot be opened again yet")
    .option("--json", "print JSON")
    .action(async ({ json }) => {
      using client = await runningDaemon(context);
      const proxies = await client.proxies();
      if (json) {
        printJson(proxies);
        return;
      }
      printTable(
        ["id", "what", "state", "connections", "failed", "to vms", "from vms"],
        proxies.map((proxy) => [
          proxy.id,
          describe(proxy),
          state(proxy),
          `${proxy.active} of ${proxy.connections}`,
          String(proxy.failed),
          formatBytes(proxy.bytesIn),
          formatBytes(proxy.bytesOut),
        ]),
        "Nothing is forwarded",
      );
    });
}

function stopCommand(context: Context): CommandUnknownOpts {
  return new Command("stop")
    .description("End a forward or SOCKS5 server, and its connections")
    .argument("<id>", "its id")
    .action(async (id) => {
      using client = await runningDaemon(context);
      print(`Ended: ${describe(await client.closeProxy(id))}`);
    });
}
