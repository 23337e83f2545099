/**
 * `omerta init`: configuration, identity and SSH key.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { identityOf } from "../../lib/core/config.ts";
import { initHome } from "../../lib/core/init.ts";
import type { Context } from "../context.ts";
import { print } from "../output.ts";

/** The command. */
export function initCommand(context: Context): CommandUnknownOpts {
  return new Command("init")
    .description("Create configuration, keys and folders; keeps what is there")
    .option("--force", "replace the keys; the old ones are kept beside")
    .action(async ({ force }) => {
      const { paths } = context;
      const report = await initHome(paths, { force: force === true, now: Date.now() });
      const { peerId, machineId } = identityOf(report.config);
      print(report.created ? `Initialized ${paths.home}` : `Kept ${paths.home}: it is initialized`);
      if (report.keptAside !== undefined) print(`The old keys are kept in ${report.keptAside}`);
      print(`  peer     ${peerId}`);
      print(`  machine  ${machineId}`);
      print(`  SSH key  ${paths.sshKey}`);
      print();
      print("To lend:    omerta daemon");
      print("To borrow:  omerta key import LINK, then omerta vm request --provider ADDRESS");
    });
}
