/**
 * Where everything lives: one folder, `$OMERTA_HOME`, by default `~/.omerta`.
 *
 * ```
 * config.json            keys and settings                       0600
 * ssh/id_ed25519         the borrower's SSH key
 * ssh/known_hosts        host keys of borrowed VMs
 * omerta.sock            HTTP API of the daemon                  0600
 * pipe.sock              what reaches a port of a borrowed VM    0600
 * daemon.json            process id and start time of the daemon
 * leases.json            VMs borrowed
 * forwards.json          forwards and SOCKS5 servers of the background, with passwords  0600
 * images/                base images, content-addressed
 * vms/<vm id>/           one lent VM: disk, seed, console, sockets
 * jobs/<job id>/         one job in the background: what it is, what it printed
 * pair-<pid>-<start>/    homes of a lender and a borrower while this host is tested
 * logs/                  omerta.log, events.jsonl
 * ```
 *
 * @module
 */

import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The paths below one `$OMERTA_HOME`. */
export interface Paths {
  /** The folder itself. */
  readonly home: string;
  /** Keys and settings. */
  readonly config: string;
  /** Folder of the SSH key pair and known hosts. */
  readonly ssh: string;
  /** The borrower's private SSH key; the public one has `.pub` behind it. */
  readonly sshKey: string;
  /** Host keys of the VMs borrowed. */
  readonly knownHosts: string;
  /** Unix socket of the daemon's HTTP API. */
  readonly socket: string;
  /** Unix socket by which programs reach the ports of borrowed VMs; see net/proxy/pipe.ts. */
  readonly pipe: string;
  /** Process id and start time of the running daemon. */
  readonly daemon: string;
  /** What this node has borrowed. */
  readonly leases: string;
  /** Forwards and SOCKS5 servers of the background. */
  readonly forwards: string;
  /** Base images. */
  readonly images: string;
  /** One folder for each VM that runs here. */
  readonly vms: string;
  /** One folder for each job that runs or ran in the background. */
  readonly jobs: string;
  /** Log files. */
  readonly logs: string;
}

/** The paths below `home`, or below `$OMERTA_HOME`, or below `~/.omerta`. */
export function pathsOf(home?: string): Paths {
  const root = resolve(home ?? Deno.env.get("OMERTA_HOME") ?? join(homedir(), ".omerta"));
  return {
    home: root,
    config: join(root, "config.json"),
    ssh: join(root, "ssh"),
    sshKey: join(root, "ssh", "id_ed25519"),
    knownHosts: join(root, "ssh", "known_hosts"),
    socket: join(root, "omerta.sock"),
    pipe: join(root, "pipe.sock"),
    daemon: join(root, "daemon.json"),
    leases: join(root, "leases.json"),
    forwards: join(root, "forwards.json"),
    images: join(root, "images"),
    vms: join(root, "vms"),
    jobs: join(root, "jobs"),
    logs: join(root, "logs"),
  };
}
