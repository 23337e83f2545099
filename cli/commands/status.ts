/**
 * `omerta status`: what this node is doing.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { StatusView } from "../../lib/api/schemas.ts";
import { ApiClient } from "../../lib/api/client.ts";
import { identityOf, loadConfig } from "../../lib/core/config.ts";
import { counted } from "../../lib/core/counted.ts";
import type { Context } from "../context.ts";
import { describeAlarm } from "./vm_alarms.ts";
import { formatAge, formatBytes, paint, print, printJson } from "../output.ts";

/** The command. */
export function statusCommand(context: Context): CommandUnknownOpts {
  return new Command("status")
    .description("Say what this node is, and what it does now")
    .option("--json", "print JSON")
    .action(async ({ json }) => {
      using client = new ApiClient(context.paths.socket);
      if (await client.isUp()) {
        const status = await client.status();
        if (json) printJson({ running: true, ...status });
        else printStatus(status);
        return;
      }
      const { peerId, machineId } = identityOf(await loadConfig(context.paths));
      if (json) printJson({ running: false, peer: peerId, machine: machineId });
      else {
        print("No daemon runs ('omerta daemon start' starts one)");
        print(`  peer     ${peerId}`);
        print(`  machine  ${machineId}`);
      }
    });
}

/** Prints what a daemon tells about itself. */
export function printStatus(status: StatusView): void {
  const now = Date.now();
  print(`The daemon runs since ${formatAge(now - status.started)} (process ${status.pid})`);
  print(`  version  ${status.version}`);
  print(`  peer     ${status.peer}`);
  print(`  machine  ${status.machine}`);
  print(`  port     ${status.port} (UDP)`);
  const { lending } = status;
  if (lending) {
    const used = lending.vms.reduce((sum, vm) => sum + vm.memoryMiB, 0);
    print(
      `  lends    ${lending.vms.length} of ${lending.maxVms} VMs, ${used} of ${lending.memoryMiB} ` +
        `MiB of memory, by ${lending.accelerator}${lending.dryRun ? " (dry run)" : ""}`,
    );
    if (lending.rules.length > 0) print(`  rules    ${lending.rules.join(", ")}`);
    for (const vm of lending.vms) {
      const cable = status.cables.find(({ id }) => id === vm.id);
      const refused = Object.values(cable?.refused ?? {}).reduce((a, b) => a + b, 0);
      print(
        `    ${vm.name} (${vm.id}) to ${vm.borrower} at ${vm.endpoint}: ${vm.stage}, mode ${vm.mode}, ` +
          `${formatAge(now - vm.since)}, ${formatBytes(cable?.fromGuest ?? 0)} out, ` +
          `${formatBytes(cable?.toGuest ?? 0)} in, ${refused} frames refused`,
      );
    }
    for (const alarm of lending.alarms) {
      print(`  ${paint("red", "ALARM")}    ${describeAlarm(alarm, now)}`);
    }
    if (lending.alarms.length > 0) print("           ('omerta vm alarms --clear' when looked at)");
  } else print("  lends    nothing");
  const end = status.tunnelEnd;
  if (end.kind === "device") print(`  interface ${end.name}`);
  if (end.kind === "userspace") print(`  interface userspace (${end.why})`);
  print(`  borrows  ${counted(status.borrowed.length, "VM")}`);
  for (const vm of status.borrowed) {
    print(
      `    ${vm.name} (${vm.id}) from ${vm.host}: ${vm.address}, ` +
        `${vm.readyAt === undefined ? "starting" : "ready"}, mode ${vm.mode}, ` +
        formatAge(now - vm.since),
    );
  }
}
