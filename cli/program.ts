/**
 * The command line: commands, options, and what becomes of an error.
 *
 * @module
 */

import process from "node:process";
import { basename } from "node:path";
import { Command, CommanderError, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, type ExitCode, messageOf, OmertaError } from "../lib/core/errors.ts";
import { pathsOf } from "../lib/core/paths.ts";
import { formOf, VERSION } from "../lib/core/version.ts";
import type { Context } from "./context.ts";
import { exitCode } from "./exit_code.ts";
import { note, paint, print } from "./output.ts";

/** Makes a command. */
type Make = (context: Context) => CommandUnknownOpts;

/**
 * The commands, in the order of the help. Each is loaded only when it is asked for: `omerta nc` stands
 * at the beginning of each ssh session, and most of what the others import would cost it its time.
 */
export const COMMANDS: Readonly<Record<string, () => Promise<Make>>> = {
  init: async () => (await import("./commands/init.ts")).initCommand,
  daemon: async () => (await import("./commands/daemon.ts")).daemonCommand,
  status: async () => (await import("./commands/status.ts")).statusCommand,
  "check-deps": async () => (await import("./commands/check_deps.ts")).checkDepsCommand,
  key: async () => (await import("./commands/key.ts")).keyCommand,
  lend: async () => (await import("./commands/lend.ts")).lendCommand,
  vm: async () => (await import("./commands/vm.ts")).vmCommand,
  ssh: async () => (await import("./commands/ssh.ts")).sshCommand,
  "ssh-config": async () => (await import("./commands/ssh_config.ts")).sshConfigCommand,
  cp: async () => (await import("./commands/cp.ts")).cpCommand,
  nc: async () => (await import("./commands/nc.ts")).ncCommand,
  forward: async () => (await import("./commands/forward.ts")).forwardCommand,
  socks: async () => (await import("./commands/socks.ts")).socksCommand,
  ping: async () => (await import("./commands/ping.ts")).pingCommand,
  vpn: async () => (await import("./commands/vpn.ts")).vpnCommand,
  run: async () => (await import("./commands/run.ts")).runCommand,
  execute: async () => (await import("./commands/execute.ts")).executeCommand,
  submit: async () => (await import("./commands/submit.ts")).submitCommand,
  job: async () => (await import("./commands/job.ts")).jobCommand,
  image: async () => (await import("./commands/image.ts")).imageCommand,
  prove: async () => (await import("./commands/prove.ts")).proveCommand,
};

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
    const context: Context = { paths: pathsOf(), module };
    const program = name === "omertad"
      ? await buildDaemonProgram(context)
      : await buildProgram(context, args[0]);
    program.hook("preAction", () => checkHome(context.paths.home));
    await program.parseAsync(ownWords(args), { from: "user" });
    return exitCode();
  } catch (error) {
    return report(error);
  }
}

/**
 * Throws when the settings of ssh cannot name files in this home: it puts a variable of the environment
 * in place of `${NAME}`, and its file has lines.
 */
function checkHome(home: string): void {
  if (!/\$\{|[\r\n]/.test(home)) return;
  throw new OmertaError(
    "bad-home",
    `Cannot use '${home}' as a home: want a path without '\${' and line breaks, as ssh takes it`,
    { exit: EXIT.usage, next: "Set OMERTA_HOME to another folder" },
  );
}

/**
 * The arguments as they are to be parsed. All words of `omerta ssh` are ssh's, also those that look
 * like options of ours, such as `-h`; only where one stands first it is a call for our help.
 */
function ownWords(args: readonly string[]): string[] {
  const [command, ...words] = args;
  const isForSsh = command === "ssh" && words[0] !== "-h" && words[0] !== "--help";
  return isForSsh ? [command, "--", ...words] : [...args];
}

/** The name that the program was started under: `omertad` is the daemon. */
function programName(): string {
  return basename(Deno.env.get("OMERTA_NAME") ?? process.argv0);
}

/**
 * The command line of `omerta`.
 *
 * @param first What stands behind `omerta`: the name of a command needs only that one, and everything
 * else, such as `--help`, all.
 */
async function buildProgram(
  context: Context,
  first: string | undefined,
): Promise<CommandUnknownOpts> {
  const program = base("omerta").description("Lend and borrow virtual machines, peer to peer");
  const one = first === undefined || !Object.hasOwn(COMMANDS, first) ? undefined : COMMANDS[first];
  for (const load of one === undefined ? Object.values(COMMANDS) : [one]) {
    program.addCommand((await load())(context));
  }
  return inherited(program);
}

/** The command line of `omertad`: the verbs of `omerta daemon`. */
async function buildDaemonProgram(context: Context): Promise<CommandUnknownOpts> {
  const { daemonVerbs } = await import("./commands/daemon.ts");
  return inherited(daemonVerbs(base("omertad"), context));
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
