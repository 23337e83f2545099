/**
 * `omerta ssh`: a shell or a command in a borrowed VM, by the system's ssh through the tunnel.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { ApiClient } from "../../lib/api/client.ts";
import type { VmView } from "../../lib/api/schemas.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { signalIfThere, spawnWithUs } from "../../lib/core/process.ts";
import { sshTarget } from "../../lib/node/known_hosts.ts";
import { anyDaemon, type Context } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { passSignals } from "../pass_signals.ts";
import { sshProxy } from "../ssh_proxy.ts";
import { parseSshWords, sshArguments } from "../tunnel/ssh_words.ts";

/**
 * Throws when the VM is not borrowed any more: ssh itself would wait for it for minutes. A daemon that
 * ends takes only the tunnel away, which the next one brings back.
 */
async function untilGone(client: ApiClient, vm: VmView, signal: AbortSignal): Promise<never> {
  try {
    return await client.untilGone(vm, signal);
  } catch (error) {
    if (error instanceof OmertaError && error.code === "vm-lost") throw error;
    return await new Promise<never>(() => {});
  }
}

/** The command. */
export function sshCommand(context: Context): CommandUnknownOpts {
  return new Command("ssh")
    .description("Open a shell in a borrowed VM, or run a command in it")
    .usage("[SSH-OPTION...] [USER@]VM [COMMAND...]")
    .argument(
      "[words...]",
      "the VM by name, beginning of its id, or address; all else goes to ssh as it is",
    )
    .action(async (words) => {
      const said = parseSshWords(words);
      using client = await anyDaemon(context, true);
      const vm = await client.vm(said.vm);
      if (vm.dryRun) {
        throw new OmertaError("dry-run", `Cannot log in to '${vm.name}': it is a dry run`, {
          exit: EXIT.usage,
        });
      }
      const { sshKey, knownHosts } = context.paths;
      const proxy = await sshProxy(client, context.paths);
      const child = await spawnWithUs("ssh", [
        ...sshTarget(vm, sshKey, knownHosts, proxy),
        ...sshArguments(said, vm.address),
      ]);
      const ended = new AbortController();
      using _ = passSignals(child);
      try {
        const { code } = await Promise.race([child.status, untilGone(client, vm, ended.signal)]);
        endWith(code);
      } catch (error) {
        // ssh has put the terminal into a state of its own, and puts it back when it is asked to end.
        signalIfThere(child, "SIGTERM");
        await child.status;
        throw error;
      } finally {
        ended.abort();
      }
    });
}
