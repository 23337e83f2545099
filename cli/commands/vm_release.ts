/**
 * `omerta vm release`: give VMs back.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import { anyDaemon, type Context } from "../context.ts";
import { print, warn } from "../output.ts";

/** The command. */
export function vmReleaseCommand(context: Context): CommandUnknownOpts {
  return new Command("release")
    .description("Give a VM back: it ends, and its disk is removed")
    .argument("[name...]", "names, or unique beginnings of ids")
    .option("--all", "every borrowed VM")
    .action(async (names, { all }) => {
      if ((names.length > 0) === (all === true)) {
        throw new OmertaError("bad-usage", "Cannot release: want a name, or --all", {
          exit: EXIT.usage,
          next: "See 'omerta vm list'",
        });
      }
      using client = await anyDaemon(context, true);
      const wanted = all ? (await client.status()).borrowed.map(({ id }) => id) : names;
      if (wanted.length === 0) print("No VM is borrowed");
      const failures: unknown[] = [];
      for (const name of wanted) {
        try {
          const { vm, ended } = await client.release(name);
          print(ended ? `Released ${vm.name}` : `Released ${vm.name}: it had ended already`);
        } catch (error) {
          failures.push(error);
          if (wanted.length > 1) warn(messageOf(error));
        }
      }
      if (failures.length > 0) throw failures[0];
    });
}
