/**
 * `omerta submit`: one script in a fresh VM, in the background.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { z } from "zod";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { anyDaemon, type Context } from "../context.ts";
import { startWorker } from "../job/background.ts";
import { JobStore } from "../job/job_store.ts";
import { jobOf, scriptOf, ScriptOptions, withScriptOptions } from "../job/options.ts";
import { note, print } from "../output.ts";

const Options = ScriptOptions.extend({ description: z.string().default("") });
/** Longest description, in characters. */
const MAX_DESCRIPTION = 200;

/** The command. */
export function submitCommand(context: Context): CommandUnknownOpts {
  const command = withScriptOptions(new Command("submit"))
    .description("Run a script like 'execute', in the background; prints the id of the job")
    .option("--description <text>", "what 'omerta job list' calls it", parseDescription)
    .option("--create-vpn", "changes nothing: every VM has a tunnel of its own")
    .action(async () => {
      const options = Options.parse(command.opts());
      const spec = await jobOf(context, options, await scriptOf(options));
      using _client = await anyDaemon(context, options.autostart);
      const store = new JobStore(context.paths.jobs);
      const job = await store.add(spec, options.description, Date.now());
      startWorker(context, store, job);
      note(`The job runs in the background: omerta job show ${job.id}`);
      print(job.id);
    });
  return command;
}

function parseDescription(text: string): string {
  if (text.length <= MAX_DESCRIPTION && !/\p{Cc}/u.test(text)) return text;
  throw new OmertaError(
    "bad-option",
    `Cannot use --description '${text}': want one line of at most ${MAX_DESCRIPTION} characters`,
    { exit: EXIT.usage },
  );
}
