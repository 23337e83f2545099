/**
 * `omerta check-deps`: what this host has, what is missing, and how to get it.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT } from "../../lib/core/errors.ts";
import { findRequirements } from "../../vm/requirements.ts";
import type { Context } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { paint, print, printJson } from "../output.ts";
import { printTable } from "../table.ts";

/** The command. */
export function checkDepsCommand(context: Context): CommandUnknownOpts {
  return new Command("check-deps")
    .description("Say what this host has, what is missing and how to get it")
    .option("--json", "print JSON")
    .action(async ({ json }) => {
      const { paths } = context;
      const found = await findRequirements(`${paths.vms}/accelerator`, paths.home);
      const missing = found.filter((r) => r.found === undefined && r.needed === "required");
      if (json) printJson(found);
      else {
        printTable(
          ["what", "for", "found", "how to get it"],
          found.map((r) => [
            r.name,
            r.purpose,
            r.found ?? paint(r.needed === "required" ? "red" : "yellow", `missing (${r.needed})`),
            r.found === undefined ? r.get ?? "" : "",
          ]),
          "",
        );
        print();
        print(missing.length === 0 ? "This host can lend VMs" : "This host cannot lend VMs yet");
      }
      if (missing.length > 0) endWith(EXIT.missing);
    });
}
