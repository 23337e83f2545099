/**
 * `omerta vm logs`: what happened to a VM, from the event log of this node.
 *
 * @module
 */

import { join } from "node:path";
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { readTextIfThere } from "../../lib/core/files.ts";
import type { Context } from "../context.ts";
import { print, printJson } from "../output.ts";

/** The command. */
export function vmLogsCommand(context: Context): CommandUnknownOpts {
  return new Command("logs")
    .description("Print what happened to a VM, borrowed or lent, also after its end")
    .argument("<name>", "name, or beginning of its id")
    .option("--json", "print JSON")
    .action(async (name, { json }) => {
      const events = await readEvents(join(context.paths.logs, "events.jsonl"));
      const ids = new Set(
        events.filter((e) => e["name"] === name || String(e["vm"] ?? "").startsWith(name))
          .map((e) => e["vm"]),
      );
      const found = events.filter((e) => e["vm"] !== undefined && ids.has(e["vm"]));
      if (found.length === 0) {
        throw new OmertaError("unknown-vm", `Cannot find VM '${name}' in the event log`, {
          exit: EXIT.usage,
          next: "See 'omerta vm list'",
        });
      }
      if (json) {
        printJson(found);
        return;
      }
      for (const { time, event, vm, ...rest } of found) {
        const details = Object.entries(rest).map(([key, value]) => `${key}=${String(value)}`);
        print([time, vm, event, ...details].map(String).join("  "));
      }
    });
}

/** The events, oldest first. A line that a crash cut off is left out. */
async function readEvents(path: string): Promise<Record<string, unknown>[]> {
  const lines = (await readTextIfThere(path) ?? "").split("\n");
  return lines.flatMap((line) => {
    try {
      const event: unknown = JSON.parse(line);
      return typeof event === "object" && event !== null ? [event as Record<string, unknown>] : [];
    } catch {
      return [];
    }
  });
}
