/**
 * `omerta ssh`: a shell or a command in a borrowed VM, by the system's ssh through the tunnel.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import type { ApiClient } from "../../lib/api/client.ts";
import type { VmView } from "../../lib/api/schemas.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { spawn } from "../../lib/core/process.ts";
import { SSH_PATIENCE, SSH_USER, sshTarget } from "../../lib/node/known_hosts.ts";
import { anyDaemon, type Context } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { passSignals } from "../pass_signals.ts";
import { sshProxy } from "../ssh_proxy.ts";
import { parseSshWords } from "../tunnel/ssh_words.ts";

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
    .passThroughOptions()
    .allowUnknownOption()
    .action(async (words) => {
      const { options: wanted, user = SSH_USER, vm: name, rest } = parseSshWords(words);
      using client = await anyDaemon(context, true);
      const vm = await client.vm(name);
      if (vm.dryRun) {
        throw new OmertaError("dry-run", `Cannot log in to '${vm.name}': it is a dry run`, {
          exit: EXIT.usage,
        });
      }
      const { sshKey, knownHosts } = context.paths;
      const proxy = await sshProxy(client, context.paths);
      // Of two values of a setting ssh takes the first: who is who is ours to say, how long to wait
      // is the user's.
      const options = [...sshTarget(vm, sshKey, knownHosts, proxy), ...wanted, ...SSH_PATIENCE];
      const child = spawn("ssh", [...options, `${user}@${vm.address}`, ...rest]);
      const ended = new AbortController();
      using _ = passSignals(child);
      try {
        const { code } = await Promise.race([child.status, untilGone(client, vm, ended.signal)]);
        endWith(code);
      } catch (error) {
        // ssh has put the terminal into a state of its own, and puts it back when it is asked to end.
        child.kill("SIGTERM");
        await child.status;
        throw error;
      } finally {
        ended.abort();
      }
    });
}
