/**
 * The command line: commands, options, and what becomes of an error.
 *
 * @module
 */

import process from "node:process";
import { basename } from "node:path";
import { Command, CommanderError, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, type ExitCode, messageOf, OmertaError } from "../lib/core/errors.ts";
import { formOf, VERSION } from "../lib/core/version.ts";
import { checkDepsCommand } from "./commands/check_deps.ts";
import { daemonCommand, daemonVerbs } from "./commands/daemon.ts";
import { executeCommand } from "./commands/execute.ts";
import { imageCommand } from "./commands/image.ts";
import { initCommand } from "./commands/init.ts";
import { jobCommand } from "./commands/job.ts";
import { keyCommand } from "./commands/key.ts";
import { lendCommand } from "./commands/lend.ts";
import { proveCommand } from "./commands/prove.ts";
import { runCommand } from "./commands/run.ts";
import { sshCommand } from "./commands/ssh.ts";
import { statusCommand } from "./commands/status.ts";
import { submitCommand } from "./commands/submit.ts";
import { vmCommand } from "./commands/vm.ts";
import { vpnCommand } from "./commands/vpn.ts";
import { contextOf } from "./context.ts";
import { exitCode } from "./exit_code.ts";
import { note, paint, print } from "./output.ts";

/**
 * Runs the command line.
 *
 * @param args Arguments without the program.
 * @param module The main module.
 * @returns The exit code.
 */
export async function main(args: readonly string[], module: URL): Promise<number> {
  const name = programName();
  try {
    const program = name === "omertad" ? buildDaemonProgram(module) : buildProgram(module);
    await program.parseAsync([...args], { from: "user" });
    return exitCode();
  } catch (error) {
    return report(error);
  }
}

/** The name that the program was started under: `omertad` is the daemon. */
function programName(): string {
  return basename(Deno.env.get("OMERTA_NAME") ?? process.argv0);
}

/** The command line of `omerta`. */
export function buildProgram(module: URL): CommandUnknownOpts {
  const context = contextOf(module);
  const program = base("omerta")
    .description("Lend and borrow virtual machines, peer to peer")
    .addCommand(initCommand(context))
    .addCommand(daemonCommand(context))
    .addCommand(statusCommand(context))
    .addCommand(checkDepsCommand(context))
    .addCommand(keyCommand(context))
    .addCommand(lendCommand(context))
    .addCommand(vmCommand(context))
    .addCommand(sshCommand(context))
    .addCommand(vpnCommand(context))
    .addCommand(runCommand(context))
    .addCommand(executeCommand(context))
    .addCommand(submitCommand(context))
    .addCommand(jobCommand(context))
    .addCommand(imageCommand(context))
    .addCommand(proveCommand(context));
  return inherited(program);
}

/** The command line of `omertad`: the verbs of `omerta daemon`. */
function buildDaemonProgram(module: URL): CommandUnknownOpts {
  return inherited(daemonVerbs(base("omertad"), contextOf(module)));
}

function base(name: string): CommandUnknownOpts {
  const program = new Command(name)
    .version(`${name} ${VERSION} (${formOf()})`, "-V, --version", "Print the version and the form")
    .helpOption("-h, --help", "Print this help")
    .helpCommand(false)
    .enablePositionalOptions()
    .showHelpAfterError("(see --help)")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => print(text.trimEnd()),
      writeErr: (text) => note(text.trimEnd()),
    });
  return program;
}

/** `program` with its settings handed down: commands that were made apart do not have them. */
function inherited(program: CommandUnknownOpts): CommandUnknownOpts {
  for (const command of program.commands) {
    command.copyInheritedSettings(program);
    command.helpCommand(false);
    inherited(command);
  }
  return program;
}

/** Prints an error and says which exit code it has. */
function report(error: unknown): ExitCode {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? EXIT.done : EXIT.usage; // commander has printed it
  }
  note(`${paint("red", "Error:")} ${messageOf(error)}`);
  if (!(error instanceof OmertaError)) {
    if (error instanceof Error && error.stack) note(paint("dim", error.stack));
    return EXIT.failed;
  }
  if (error.next !== undefined) note(`Next: ${error.next}`);
  return error.exit;
}
