/**
 * `omerta run`: one command in a fresh VM.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { attachHere, runHere } from "../job/foreground.ts";
import { jobOf, JobOptions, withJobOptions } from "../job/options.ts";

/** The command. */
export function runCommand(context: Context): CommandUnknownOpts {
  const command: CommandUnknownOpts = withJobOptions(new Command("run"))
    .description(
      "Run a command in a VM that is borrowed for it and given back; ends with its exit code",
    )
    .usage("[options] --provider <address> -- <command> [args...]")
    .argument("<command...>", "the program and its arguments; no shell reads them")
    .passThroughOptions()
    .action(async () => {
      const options = JobOptions.parse(command.opts());
      const spec = await jobOf(context, options, { kind: "command", words: command.args });
      endWith(await runHere(context, spec, options.autostart, attachHere(true)));
    });
  return command;
}
