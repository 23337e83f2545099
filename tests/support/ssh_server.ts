/**
 * An SSH server (dropbear) for a machine of a lab, with a user who is not one of this host's: its
 * passwd(5) is seen by the server alone, in a mount namespace of its own.
 *
 * @module
 */

import { join } from "node:path";
import { runChecked } from "../../lib/core/process.ts";
import type { SshKeyPair } from "../../lib/core/ssh_key.ts";
import { SSH_USER } from "../../lib/node/known_hosts.ts";
import type { Namespace } from "../netlab/netlab.ts";
import { until } from "./until.ts";

/** User and group in the VM: nobody of this host's, it is hoped. */
const VM_UID = 64_999;

/** What a server is made of. */
export interface SshServerOptions {
  /** Address to listen on. */
  readonly address: string;
  /** Ports to listen on, each with its host key. */
  readonly hostKeys: ReadonlyMap<number, SshKeyPair>;
  /** Who may log in: lines of authorized_keys. */
  readonly authorizedKeys: string;
}

/** Starts one; it ends with the lab. @returns Its folder, which the caller removes. */
export async function startSshServer(
  machine: Namespace,
  { address, hostKeys, authorizedKeys }: SshServerOptions,
): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "omerta-sshd-" });
  const home = join(folder, "home");
  await Deno.mkdir(join(home, ".ssh"), { recursive: true });
  await Deno.writeTextFile(join(home, ".ssh", "authorized_keys"), authorizedKeys);
  await runChecked("chown", ["-R", `${VM_UID}:${VM_UID}`, home]);
  await runChecked("chmod", ["-R", "go-w", folder]);
  await Deno.chmod(folder, 0o755);
  const passwd = join(folder, "passwd");
  const user = `${SSH_USER}:*:${VM_UID}:${VM_UID}::${home}:/bin/sh\n`;
  await Deno.writeTextFile(passwd, `root:*:0:0::/nonexistent:/bin/sh\n${user}`);
  for (const [port, key] of hostKeys) {
    const pem = join(folder, `${port}.pem`);
    const own = join(folder, `${port}.key`);
    await Deno.writeTextFile(pem, key.privatePem, { mode: 0o600 });
    await runChecked("dropbearconvert", ["openssh", "dropbear", pem, own]);
    const script = `mount --bind "$1" /etc/passwd && shift && exec "$@"`;
    const server = ["dropbear", "-F", "-s", "-r", own, "-P", `${own}.pid`];
    const args = ["-m", "sh", "-c", script, "sh", passwd, ...server, "-p", `${address}:${port}`];
    machine.spawn("unshare", args, { stdout: "null", stderr: "null" });
    await until(
      async () => (await machine.run("ss", ["-ltnH", "sport", "=", `:${port}`])).stdout !== "",
      { what: `an SSH server on port ${port}` },
    );
  }
  return folder;
}
