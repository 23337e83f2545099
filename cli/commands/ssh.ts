/**
 * `omerta ssh`: a shell or a command in a borrowed VM, by the system's ssh through the tunnel.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { spawn } from "../../lib/core/process.ts";
import { SSH_USER, sshOptions } from "../../lib/node/known_hosts.ts";
import { anyDaemon, type Context } from "../context.ts";
import { endWith } from "../exit_code.ts";

/** The command. */
export function sshCommand(context: Context): CommandUnknownOpts {
  return new Command("ssh")
    .description("Open a shell in a borrowed VM, or run a command in it")
    .argument("<vm>", "NAME or USER@NAME; a unique beginning of the id will do")
    .argument("[command...]", "what to run; ssh gets it as it is")
    .passThroughOptions()
    .allowUnknownOption()
    .action(async (target, command) => {
      const at = target.lastIndexOf("@");
      const user = at < 0 ? SSH_USER : target.slice(0, at);
      using client = await anyDaemon(context, true);
      const vm = await client.vm(target.slice(at + 1));
      if (vm.dryRun) {
        throw new OmertaError("dry-run", `Cannot log in to '${vm.name}': it is a dry run`, {
          exit: EXIT.usage,
        });
      }
      const { sshKey, knownHosts } = context.paths;
      const args = [...sshOptions(vm, sshKey, knownHosts), "--", `${user}@${vm.address}`];
      const child = spawn("ssh", [...args, ...command]);
      // ssh has the terminal: it decides what Ctrl-C means.
      const ignore = (): void => {};
      Deno.addSignalListener("SIGINT", ignore);
      try {
        endWith((await child.status).code);
      } finally {
        Deno.removeSignalListener("SIGINT", ignore);
      }
    });
}
