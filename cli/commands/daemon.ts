/**
 * `omerta daemon`: the node, in the foreground or the background.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
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

interface RunOptions {
  readonly port?: number | undefined;
  readonly lend: boolean;
  readonly dryRun?: true | undefined;
  readonly logLevel: string;
  readonly background?: true | undefined;
}

/** The command: without a verb it runs in the foreground. */
export function daemonCommand(context: Context): Command {
  return daemonVerbs(new Command("daemon"), context);
}

/** Adds the options and verbs of the daemon to `command`; `omertad` has them at the top. */
export function daemonVerbs(command: Command, context: Context): Command {
  const withOptions = (c: Command): Command =>
    c.option("--port <port>", "UDP port instead of the one in config.json; 0 for any", portOrAny)
      .option("--no-lend", "borrow only")
      .option("--dry-run", "accept requests, but start no VM")
      .option(
        "--log-level <level>",
        `one of ${LOG_LEVELS.join(", ")}`,
        "info",
      ) as unknown as Command;
  withOptions(command)
    .description("Run the node that lends and borrows VMs; Ctrl-C ends it")
    .addOption(new Command().createOption("--background").hideHelp())
    .action(async (options) => {
      await runDaemon(context, options as unknown as RunOptions);
    });
  command.addCommand(
    withOptions(new Command("start"))
      .description("Start it in the background")
      .action(async (_options, self) => {
        using client = await startDaemon(context, daemonArgs(self.opts() as RunOptions));
        const { pid, port } = await client.status();
        print(`The daemon runs: process ${pid}, UDP port ${port}`);
      }),
  );
  command.addCommand(
    new Command("stop").description("End it and every VM it lends").action(async () => {
      print(await stopDaemon(context) ? "The daemon has ended" : "No daemon runs");
    }),
  );
  command.addCommand(
    withOptions(new Command("restart"))
      .description("End it and start it again")
      .action(async (_options, self) => {
        await stopDaemon(context);
        using client = await startDaemon(context, daemonArgs(self.opts() as RunOptions));
        print(`The daemon runs: process ${(await client.status()).pid}`);
      }),
  );
  command.addCommand(
    new Command("status").description("Say whether it runs, and what it does").action(async () => {
      using client = new ApiClient(context.paths.socket);
      if (await client.isUp()) printStatus(await client.status());
      else {
        print("No daemon runs");
        endWith(EXIT.failed);
      }
    }),
  );
  return command;
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
  const level = LOG_LEVELS.find((l) => l === options.logLevel);
  if (!level) {
    throw new OmertaError(
      "bad-option",
      `Cannot use --log-level '${options.logLevel}': want one of ${LOG_LEVELS.join(", ")}`,
      { exit: EXIT.usage },
    );
  }
  const config = await loadConfig(paths);
  using _lock = await DaemonLock.take(paths);
  await using _logging = await startLogging(paths.logs, level);
  const log = logger("daemon");
  await interruptible(async (signal) => {
    const ended = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => ended.resolve());
    await using node = await Node.start({
      paths,
      module: context.module,
      port: options.port ?? config.port,
      lend: options.lend,
      dryRun: options.dryRun === true,
      version: VERSION,
      onWarning: (warning) => {
        log.warning(warning);
        if (!options.background) warn(warning);
      },
      onFailed: (error) => ended.reject(error),
    });
    if (signal.aborted) return;
    await using _api = await serveApi(createApp(node, () => ended.resolve()), paths.socket);
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
    const { capacity } = lending;
    print(`  link     ${formatLink({ key: Uint8Array.fromHex(localKey), host, port: node.port })}`);
    print(
      `  lends    ${capacity.cpus} processors, ${capacity.memoryMiB} MiB of memory, ` +
        `${capacity.diskGiB} GiB of disk, ${capacity.vms} VMs at a time, by ${lending.accelerator}` +
        (lending.dryRun ? " (dry run: no VM is started)" : ""),
    );
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
