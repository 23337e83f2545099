/**
 * `omerta cp`: copies between this computer and a borrowed VM, by the system's scp.
 *
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import { spawnWithUs } from "../../lib/core/process.ts";
import { SSH_USER, sshOptions } from "../../lib/node/known_hosts.ts";
import { type Context, runningDaemon } from "../context.ts";
import { endWith } from "../exit_code.ts";
import { passSignals } from "../pass_signals.ts";
import { sshProxy } from "../ssh_proxy.ts";
import { parseCopyPath, vmOf } from "../tunnel/copy_paths.ts";

/** The command. */
export function cpCommand(context: Context): CommandUnknownOpts {
  return new Command("cp")
    .description("Copy files between this computer and a borrowed VM; ends with scp's exit code")
    .argument("<source>", "PATH, or VM:PATH")
    .argument("<paths...>", "more sources, then the destination")
    .option("-r, --recursive", "copy folders")
    .action(async (source, rest, { recursive }) => {
      const paths = [source, ...rest].map(parseCopyPath);
      const name = vmOf(paths);
      using client = await runningDaemon(context);
      const vm = await client.vm(name);
      if (vm.dryRun) {
        throw new OmertaError("dry-run", `Cannot copy to or from '${vm.name}': it is a dry run`, {
          exit: EXIT.usage,
        });
      }
      const { sshKey, knownHosts } = context.paths;
      const options = sshOptions(vm, sshKey, knownHosts, await sshProxy(client, context.paths));
      const words = paths.map(({ vm: there, user, path }) =>
        there === undefined ? local(path) : `${user ?? SSH_USER}@${vm.address}:${path}`
      );
      // -s: the SFTP protocol, in which no shell reads the paths.
      const flags = ["-s", ...(recursive ? ["-r"] : [])];
      const child = await spawnWithUs("scp", [...options, ...flags, "--", ...words]);
      using _ = passSignals(child);
      endWith((await child.status).code);
    });
}

/** A path of this computer, so that scp takes it for one. */
function local(path: string): string {
  return path.startsWith("/") ? path : `./${path}`;
}
