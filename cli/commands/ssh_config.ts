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
function hostBlock(vm: VmView, { paths }: Context): string {
  const { sshKey, knownHosts, home } = paths;
  const words = sshOptions(vm, sshKey, knownHosts, copyingProxy(home));
  const lines = [`HostName ${vm.address}`, `User ${SSH_USER}`];
  for (let i = 0; i + 1 < words.length; i += 2) {
    const value = words[i + 1] ?? "";
    lines.push(words[i] === "-i" ? `IdentityFile "${value}"` : value.replace("=", " "));
  }
  return `Host ${vm.name} ${vm.name}.omerta\n${lines.map((line) => `  ${line}\n`).join("")}`;
}
