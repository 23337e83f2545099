/**
 * `omerta ssh-config`: settings with which plain ssh, scp, rsync and git reach borrowed VMs by name.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { VmView } from "../../lib/api/schemas.ts";
import { SSH_USER, sshOptions } from "../../lib/node/known_hosts.ts";
import { type Context, runningDaemon } from "../context.ts";
import { note, print } from "../output.ts";
import { copyingProxy } from "../ssh_proxy.ts";

/** The command. */
export function sshConfigCommand(context: Context): CommandUnknownOpts {
  return new Command("ssh-config")
    .description("Print settings for plain ssh, scp, rsync and git, to be put into ~/.ssh/config")
    .argument("[vm]", "only one: NAME, or a unique beginning of the id")
    .action(async (name) => {
      using client = await runningDaemon(context);
      const vms = name === undefined ? (await client.status()).borrowed : [await client.vm(name)];
      const real = vms.filter(({ dryRun }) => !dryRun);
      if (real.length === 0) note("No VM is borrowed");
      for (const vm of real) print(hostBlock(vm, context));
    });
}

/** The Host block of a VM. The command by which it is reached works with and without an interface. */
export function hostBlock(
  vm: Pick<VmView, "id" | "name" | "address">,
  { paths }: Pick<Context, "paths">,
): string {
  const { sshKey, knownHosts, home } = paths;
  const settings = sshOptions(vm, sshKey, knownHosts, copyingProxy(home)).filter((word) =>
    word !== "-o"
  );
  const lines = [
    `HostName ${vm.address}`,
    `User ${SSH_USER}`,
    ...settings.map((setting) => setting.replace("=", " ")),
  ];
  return `Host ${vm.name} ${vm.name}.omerta\n${lines.map((line) => `  ${line}\n`).join("")}`;
}
