/**
 * How ssh reaches borrowed VMs where there is no interface: through the daemon's own TCP/IP stack.
 *
 * @module
 */

import type { ApiClient } from "../lib/api/client.ts";
import type { Paths } from "../lib/core/paths.ts";
import { shellQuote } from "../lib/core/shell_quote.ts";
import { selfCommand } from "../lib/core/version.ts";
import type { SshProxy } from "../lib/node/known_hosts.ts";
import { libc } from "../net/os/libc.ts";

/** The settings of ssh that go by `omerta nc`, which stands between the two while a session lasts. */
export function copyingProxy(home: string): SshProxy {
  return proxyOf(home, false);
}

/**
 * The same, and where a socket can be handed over, ssh takes it and nothing stands in between. Only
 * for a command line of ours: ssh would wait for a socket of any other ProxyCommand, too, which a user
 * puts in its place.
 */
export function stackProxy(home: string): SshProxy {
  return proxyOf(home, libc() !== undefined);
}

function proxyOf(home: string, handsOver: boolean): SshProxy {
  const { program, args } = selfCommand(Deno.mainModule);
  const words = ["env", `OMERTA_HOME=${home}`, program, ...args, "nc"];
  if (handsOver) words.push("--hand-over");
  // ssh hands it to the user's shell, after replacing what begins with a percent sign.
  const quoted = words.map((word) => shellQuote(word).replaceAll("%", "%%"));
  return { command: `${quoted.join(" ")} %h %p`, handsOver };
}

/** {@link stackProxy} where ssh needs it; undefined where the tunnels have an interface. */
export async function sshProxy(
  client: Pick<ApiClient, "status">,
  { home }: Pick<Paths, "home">,
): Promise<SshProxy | undefined> {
  const { tunnelEnd } = await client.status();
  return tunnelEnd.kind === "userspace" ? stackProxy(home) : undefined;
}
