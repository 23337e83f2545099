/**
 * `omerta vpn`: look at, test and hand out the tunnels of VMs.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "../context.ts";
import { vpnConfigCommand } from "./vpn_config.ts";
import { vpnStatusCommand } from "./vpn_status.ts";
import { vpnProbeCommand } from "./vpn_probe.ts";

/** The command. */
export function vpnCommand(context: Context): CommandUnknownOpts {
  return new Command("vpn")
    .description("Look at the tunnels of VMs, test one, use one with another WireGuard")
    .addCommand(vpnStatusCommand(context))
    .addCommand(vpnProbeCommand(context))
    .addCommand(vpnConfigCommand(context));
}
