/**
 * `omerta daemon`: the node, in the foreground or the background.
 *
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { z } from "zod";
import { createApp } from "../../lib/api/app.ts";
import { serveApi } from "../../lib/api/server.ts";
import { loadConfig } from "../../lib/core/config.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { formatLink, parsePort } from "../../lib/core/link.ts";
import { LOG_LEVELS, logger, startLogging } from "../../lib/core/log.ts";
import { VERSION } from "../../lib/core/version.ts";
import { DaemonLock, daemonPid } from "../../lib/node/daemon_lock.ts";
import { Node } from "../../lib/node/node.ts";
import { ApiClient } from "../../lib/api/client.ts";
import { setTimeout as pause } from "node:timers/promises";
import { type Context, interruptible, startDaemon } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { print, warn } from "../output.ts";
import { likelyAddress } from "./key.ts";
import { printStatus } from "./status.ts";

/** How long a daemon may take to end its VMs and itself, in ms. */
const STOP_TIMEOUT_MS = 60_000;

/** The options of a daemon, as commander hands them over. */
const RunOptions = z.object({
  port: z.number().optional(),
  lend: z.boolean(),
  dryRun: z.boolean().default(false),
  logLevel: z.enum(LOG_LEVELS),
  background: z.boolean().default(false),
});
type RunOptions = z.infer<typeof RunOptions>;

/** The command: without a verb it runs in the foreground. */
export function daemonCommand(context: Context): CommandUnknownOpts {
  return daemonVerbs(new Command("daemon"), context);
}

/** Adds the options and verbs of the daemon to `command`; `omertad` has them at the top. */
export function daemonVerbs(command: CommandUnknownOpts, context: Context): CommandUnknownOpts {
  withOptions(command)
    .description("Run the node that lends and borrows VMs; Ctrl-C ends it")
    .addOption(new Option("--background").hideHelp())
    .action(() => runDaemon(context, RunOptions.parse(command.opts())));
  const start = withOptions(new Command("start"))
    .description("Start it in the background")
    .action(() => startInBackground(context, RunOptions.parse(start.opts())));
  const restart = withOptions(new Command("restart"))
    .description("End it and start it again")
    .action(async () => {
      await stopDaemon(context);
      await startInBackground(context, RunOptions.parse(restart.opts()));
    });
  const stop = new Command("stop")
    .description("End it and every VM it lends")
    .action(async () => {
      print(await stopDaemon(context) ? "The daemon has ended" : "No daemon runs");
    });
  const status = new Command("status")
    .description("Say whether it runs, and what it does")
    .action(async () => {
      using client = new ApiClient(context.paths.socket);
      if (await client.isUp()) printStatus(await client.status());
      else {
        print("No daemon runs");
        endWith(EXIT.failed);
      }
    });
  for (const verb of [start, stop, restart, status]) command.addCommand(verb);
  return command;
}

function withOptions(command: CommandUnknownOpts): CommandUnknownOpts {
  return command
    .option("--port <port>", "UDP port instead of the one in config.json; 0 for any", portOrAny)
    .option("--no-lend", "borrow only")
    .option("--dry-run", "accept requests, but start no VM")
    .addOption(
      new Option("--log-level <level>", "what goes into the log").choices(LOG_LEVELS)
        .default("info"),
    );
}

async function startInBackground(context: Context, options: RunOptions): Promise<void> {
  using client = await startDaemon(context, daemonArgs(options));
  const { pid, port } = await client.status();
  print(`The daemon runs: process ${pid}, UDP port ${port}`);
}

function portOrAny(text: string): number {
  return text === "0" ? 0 : parsePort(text);
}

/** The options of a daemon as arguments for another process. */
function daemonArgs(options: RunOptions): string[] {
  return [
    ...(options.port === undefined ? [] : ["--port", String(options.port)]),
    ...(options.lend ? [] : ["--no-lend"]),
    ...(options.dryRun ? ["--dry-run"] : []),
    ...["--log-level", options.logLevel],
  ];
}

async function runDaemon(context: Context, options: RunOptions): Promise<void> {
  const { paths } = context;
  const config = await loadConfig(paths);
  using _lock = await DaemonLock.take(paths);
  await using _logging = await startLogging(paths.logs, options.logLevel);
  const log = logger("daemon");
  await interruptible(async (signal) => {
    const ended = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => ended.resolve());
    await using node = await Node.start({
      paths,
      module: context.module,
      port: options.port ?? config.port,
      lend: options.lend,
      dryRun: options.dryRun,
      version: VERSION,
      onWarning: (warning) => {
        log.warning(warning);
        if (!options.background) warn(warning);
      },
      onFailed: (error) => ended.reject(error),
    });
    if (signal.aborted) return;
    const ending = new AbortController();
    const app = createApp(node, () => ended.resolve(), ending.signal);
    await using _api = await serveApi(app, paths.socket);
    // Before the API, which waits for the requests that it is answering.
    using ends = new DisposableStack();
    ends.defer(() =>
      ending.abort(new OmertaError("stopped", "Cannot finish the request: this node stops"))
    );
    log.info("Started, UDP port {port}", { port: node.port });
    if (!options.background) await printWelcome(node, config.localKey);
    await ended.promise;
    log.info("Ends");
    if (!options.background) print("Ending: every lent VM is shut down");
  });
}

async function printWelcome(node: Node, localKey: string): Promise<void> {
  const host = likelyAddress();
  const { lending } = await node.status();
  print(lending ? "Mesh provider daemon started" : "Daemon started");
  print(`  address  ${host}:${node.port} (UDP)`);
  if (lending) {
    const { capacity, rules } = lending;
    print(`  link     ${formatLink({ key: Uint8Array.fromHex(localKey), host, port: node.port })}`);
    print(
      `  lends    ${capacity.cpus} processors, ${capacity.memoryMiB} MiB of memory, ` +
        `${capacity.diskGiB} GiB of disk, ${capacity.vms} VMs at a time, by ${lending.accelerator}` +
        (lending.dryRun ? " (dry run: no VM is started)" : ""),
    );
    if (rules.length > 0) print(`  rules    ${rules.join(", ")}`);
    print("Whoever has the link can borrow VMs from this node: treat it as a password");
  }
  print("Ctrl-C ends it");
}

/** Ends the daemon and waits until its process is gone. @returns Whether one ran. */
async function stopDaemon(context: Context): Promise<boolean> {
  const { paths } = context;
  const pid = await daemonPid(paths);
  if (pid === undefined) return false;
  using client = new ApiClient(paths.socket);
  if (await client.isUp()) await client.stop();
  else Deno.kill(pid, "SIGTERM"); // it starts or ends just now, and cannot be asked
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (await daemonPid(paths) !== undefined) {
    if (Date.now() > deadline) {
      throw new OmertaError(
        "daemon-hangs",
        `Cannot end the daemon (process ${pid}): it is still there after ${
          STOP_TIMEOUT_MS / 1000
        } s`,
        { next: `See ${paths.logs}/omerta.log, then 'kill -9 ${pid}': the next start cleans up` },
      );
    }
    await pause(50);
  }
  return true;
}
