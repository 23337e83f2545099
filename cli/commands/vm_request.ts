/**
 * `omerta vm request`: borrow a VM, its stages shown as they are reached.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { z } from "zod";
import type { RequestBody, VmView } from "../../lib/api/schemas.ts";
import { loadConfig } from "../../lib/core/config.ts";
import { sshCommandLine, type SshProxy } from "../../lib/node/known_hosts.ts";
import { anyDaemon, type Context, interruptible } from "../context.ts";
import { paint, print, printJson } from "../output.ts";
import { RequestProgress } from "../request_progress.ts";
import { sshProxy } from "../ssh_proxy.ts";
import { requestOf, VmOptions, withVmOptions } from "../vm_options.ts";

/** The options, as commander hands them over. */
const Options = VmOptions.extend({
  wait: z.boolean(),
  dryRun: z.boolean().default(false),
  json: z.boolean().default(false),
});

/** The command. */
export function vmRequestCommand(context: Context): CommandUnknownOpts {
  const command = withVmOptions(new Command("request"))
    .description("Borrow a VM and wait until it is ready")
    .option("--no-wait", "return when the lender has accepted; it comes up in the background")
    .option("--dry-run", "go the whole way, but start no VM")
    .option("--json", "print JSON")
    .action(async () => {
      const options = Options.parse(command.opts());
      await loadConfig(context.paths); // says what is wrong with it before a daemon is started
      const body: RequestBody = {
        ...requestOf(options),
        wait: options.wait,
        dryRun: options.dryRun,
      };
      using client = await anyDaemon(context, options.autostart);
      using progress = new RequestProgress(options.json ? undefined : print);
      const vm = await interruptible((signal) =>
        client.request(body, (event) => progress.take(event), signal)
      );
      progress.clear();
      if (options.json) printJson(vm);
      else printResult(context, vm, await sshProxy(client, context.paths));
    });
  return command;
}

function printResult(context: Context, vm: VmView, proxy: SshProxy | undefined): void {
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
  const { sshKey, knownHosts } = context.paths;
  print(`  or       ${sshCommandLine(vm, sshKey, knownHosts, proxy)}`);
}
