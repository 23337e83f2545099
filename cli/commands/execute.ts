/**
 * `omerta execute`: one script in a fresh VM.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { attachHere, runHere } from "../job/foreground.ts";
import { jobOf, scriptOf, ScriptOptions, withScriptOptions } from "../job/options.ts";

/** The command. */
export function executeCommand(context: Context): CommandUnknownOpts {
  const command = withScriptOptions(new Command("execute"))
    .description("Run a script in a VM that is borrowed for it; ends with its exit code")
    .action(async () => {
      const options = ScriptOptions.parse(command.opts());
      const spec = await jobOf(context, options, await scriptOf(options));
      const attach = attachHere(options.script !== "-");
      endWith(await runHere(context, spec, options.autostart, attach));
    });
  return command;
}
