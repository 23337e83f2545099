/**
 * `omerta vm console`: what a lent VM has printed.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { type Context, runningDaemon } from "../context.ts";
import { print } from "../output.ts";
import { parseCount } from "../values.ts";

/** The command. */
export function vmConsoleCommand(context: Context): CommandUnknownOpts {
  return new Command("console")
    .description("Print the last lines of the console of a VM that this node lends")
    .argument("<name>", "name, or unique beginning of its id")
    .option("--lines <count>", "how many lines", parseCount("--lines"), 50)
    .action(async (name, { lines }) => {
      using client = await runningDaemon(context);
      for (const line of await client.console(name, lines)) print(line);
    });
}
