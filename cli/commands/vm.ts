/**
 * `omerta vm`: borrow, list, release; test that this host can run VMs.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "../context.ts";
import { vmAlarmsCommand } from "./vm_alarms.ts";
import { vmBootTestCommand } from "./vm_boot_trial.ts";
import { vmConnectionsCommand } from "./vm_connections.ts";
import { vmConsoleCommand } from "./vm_console.ts";
import { vmListCommand } from "./vm_list.ts";
import { vmLogsCommand } from "./vm_logs.ts";
import { vmRefusedCommand } from "./vm_refused.ts";
import { vmReleaseCommand } from "./vm_release.ts";
import { vmRequestCommand } from "./vm_request.ts";

/** The command. */
export function vmCommand(context: Context): CommandUnknownOpts {
  return new Command("vm")
    .description("Borrow, list and release VMs; test this host")
    .addCommand(vmRequestCommand(context))
    .addCommand(vmListCommand(context))
    .addCommand(vmReleaseCommand(context))
    .addCommand(vmConsoleCommand(context))
    .addCommand(vmConnectionsCommand(context))
    .addCommand(vmLogsCommand(context))
    .addCommand(vmAlarmsCommand(context))
    .addCommand(vmRefusedCommand(context))
    .addCommand(vmBootTestCommand(context));
}
