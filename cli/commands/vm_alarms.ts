/**
 * `omerta vm alarms`: lent VMs that looked for a way around their tunnel.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { AlarmView } from "../../lib/api/schemas.ts";
import { type Context, runningDaemon } from "../context.ts";
import { formatAge, print, printJson } from "../output.ts";

/** The command. */
export function vmAlarmsCommand(context: Context): CommandUnknownOpts {
  return new Command("alarms")
    .description(
      "Print the alarms about VMs that this node lends, also about those that have ended",
    )
    .argument("[name]", "name of one VM, or beginning of its id")
    .option("--clear", "forget them: they have been looked at")
    .option("--json", "print JSON")
    .action(async (name, { clear, json }) => {
      using client = await runningDaemon(context);
      const alarms = await client.alarms(name, clear === true);
      if (json) {
        printJson(alarms);
        return;
      }
      if (alarms.length === 0) print("No alarm");
      const now = Date.now();
      for (const alarm of alarms) {
        print(describeAlarm(alarm, now));
        print(`  ${alarm.words}`);
        print(`  the last one: ${alarm.frame}`);
      }
      if (clear && alarms.length > 0) print(`Cleared ${alarms.length}`);
    });
}

/** `web (0123456789abcdef) of 89abcdef01234567: scan, 2 times, 41 s ago`. */
export function describeAlarm(alarm: AlarmView, now: number): string {
  const { name, vm, borrower, kind, times, last } = alarm;
  const often = times === 1 ? "" : `${times} times, `;
  return `${name} (${vm}) of ${borrower}: ${kind}, ${often}${formatAge(now - last)} ago`;
}
