/**
 * `omerta vm request`: borrow a VM, its stages shown as they are reached.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { RequestBody, RequestEvent, VmView } from "../../lib/api/schemas.ts";
import { loadConfig } from "../../lib/core/config.ts";
import { parseHostPort } from "../../lib/core/link.ts";
import { sshCommandLine } from "../../lib/node/known_hosts.ts";
import { STAGES } from "../../vm/stages.ts";
import { anyDaemon, type Context, interruptible } from "../context.ts";
import { paint, print, printJson, StatusLine, warn } from "../output.ts";
import {
  parseCount,
  parseDiskGiB,
  parseMemoryMiB,
  parseSeconds,
  parseVmName,
  randomVmName,
} from "../values.ts";

/** How often the line that says what is being waited for is written anew, in ms. */
const STATUS_MS = 500;

/** The command. */
export function vmRequestCommand(context: Context): CommandUnknownOpts {
  return new Command("request")
    .description("Borrow a VM and wait until it is ready")
    .requiredOption("--provider <address>", "the lender: ADDRESS or ADDRESS:PORT")
    .option("--name <name>", "name of the VM, also its host name", parseVmName)
    .option("--cpu <count>", "virtual processors", parseCount("--cpu"), 1)
    .option("--memory <size>", "memory: MiB, or as in 2G", parseMemoryMiB("--memory"), 1024)
    .option("--disk <size>", "disk: GiB, or as in 1T", parseDiskGiB("--disk"), 10)
    .option("--image <name>", "an image of the lender's, by name or id")
    .option("--ttl <time>", "end the VM after this time, as in 2h", parseSeconds("--ttl"))
    .option("--timeout <time>", "give up when it is not ready by then", parseSeconds("--timeout"))
    .option("--no-wait", "return when the lender has accepted; it comes up in the background")
    .option("--dry-run", "go the whole way, but start no VM")
    .option("--no-autostart", "do not start a daemon when none runs")
    .option("--json", "print JSON")
    .action(async (options) => {
      await loadConfig(context.paths); // says what is wrong with it before a daemon is started
      parseHostPort(options.provider);
      const body: RequestBody = {
        provider: options.provider,
        name: options.name ?? randomVmName(),
        cpus: options.cpu,
        memoryMiB: options.memory,
        diskGiB: options.disk,
        wait: options.wait,
        dryRun: options.dryRun === true,
        ...(options.image === undefined ? {} : { image: options.image }),
        ...(options.ttl === undefined ? {} : { ttlSeconds: options.ttl }),
        ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout * 1000 }),
      };
      using client = await anyDaemon(context, options.autostart);
      using progress = new Progress(!options.json);
      const vm = await interruptible((signal) =>
        client.request(body, (event) => progress.take(event), signal)
      );
      progress.clear();
      if (options.json) printJson(vm);
      else printResult(context, vm);
    });
}

function printResult(context: Context, vm: VmView): void {
  if (vm.dryRun) {
    print(paint("green", "Dry run: the lender accepted; no VM was started"));
    print(`Release it with: omerta vm release ${vm.name}`);
    return;
  }
  if (vm.readyAt === undefined) {
    print(`VM ${vm.name} is accepted and comes up in the background: omerta vm list`);
    return;
  }
  print();
  print(paint("green", "VM Created Successfully!"));
  print(`  name     ${vm.name}`);
  print(`  address  ${vm.address}`);
  print(`  shell    omerta ssh ${vm.name}`);
  print(`  or       ${sshCommandLine(vm, context.paths.sshKey, context.paths.knownHosts)}`);
}

/** Shows the stages, and at the bottom what is being waited for. */
class Progress implements Disposable {
  readonly #line = new StatusLine();
  readonly #shown: boolean;
  readonly #since = Date.now();
  readonly #timer: ReturnType<typeof setInterval>;
  #waitingFor = "the lender";

  constructor(shown: boolean) {
    this.#shown = shown;
    this.#timer = setInterval(() => this.#update(), STATUS_MS);
  }

  take(event: RequestEvent): void {
    if (!this.#shown) return;
    this.#line.clear();
    if (event.kind === "reachable") {
      print(`Provider reachable: ${event.latencyMs}ms latency (${event.endpoint})`);
    } else if (event.kind === "accepted") {
      if (event.accelerator === "tcg") {
        warn("The lender has no hardware acceleration: the VM is translated and many times slower");
      }
    } else if (event.kind === "stage") {
      print(`  ${event.stage.padEnd(12)}${(event.atMs / 1000).toFixed(1).padStart(6)} s`);
      const next = STAGES[STAGES.findIndex((stage) => stage === event.stage) + 1];
      this.#waitingFor = next ?? "the end";
    }
    this.#update();
  }

  #update(): void {
    if (!this.#shown) return;
    const seconds = Math.round((Date.now() - this.#since) / 1000);
    this.#line.show(`  waiting for ${this.#waitingFor} (${seconds} s)`);
  }

  clear(): void {
    clearInterval(this.#timer);
    this.#line.clear();
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}
