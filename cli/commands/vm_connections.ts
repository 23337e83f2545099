/**
 * `omerta vm connections`: what a lent VM in mode direct is connected to, as this host sees it.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { type Context, runningDaemon } from "../context.ts";
import { print, printJson } from "../output.ts";
import { printTable } from "../table.ts";

/** The command. */
export function vmConnectionsCommand(context: Context): CommandUnknownOpts {
  return new Command("connections")
    .description(
      "On the lender: list the connections of a VM in mode direct, by ss; a UDP socket shows no " +
        "other side, and ping is not shown",
    )
    .argument("<name>", "name of a VM that is lent, or beginning of its id")
    .option("--json", "print JSON")
    .action(async (name, { json }) => {
      using client = await runningDaemon(context);
      const view = await client.connections(name);
      if (json) {
        printJson(view);
        return;
      }
      if (view.mode !== "direct") {
        print(
          `${view.name} is in mode ${view.mode}: it has no connections of its own on this host. ` +
            "'omerta status' counts the frames that were refused, by reason with --json",
        );
        return;
      }
      printTable(
        ["protocol", "state", "local", "peer"],
        view.connections.map(({ protocol, state, local, peer }) => [protocol, state, local, peer]),
        `${view.name} has no connection now`,
      );
    });
}
