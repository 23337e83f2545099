/**
 * The known_hosts file of borrowed VMs: ssh accepts a VM only with the host key that its lender
 * generated for it and handed over in the answer.
 *
 * @module
 */

import { writeFileAtomic } from "../core/files.ts";
import { shellQuote } from "../core/shell_quote.ts";
import { sshPath } from "../core/ssh_path.ts";
import type { BorrowedVm } from "./lease_store.ts";

/** The file, written anew at each change. */
export class KnownHosts {
  /** The file. */
  readonly path: string;

  /**
   * A file that need not exist yet.
   *
   * @param path Where the file is.
   */
  constructor(path: string) {
    this.path = path;
  }

  /** Replaces the file by the keys of `vms`. Each stands under its id and under its address. */
  async write(vms: readonly BorrowedVm[]): Promise<void> {
    const lines = vms.filter((vm) => !vm.dryRun).map((vm) => {
      const [type, key] = vm.hostKey.split(" ");
      return `${vm.id},${vm.address} ${type} ${key}\n`;
    });
    await writeFileAtomic(this.path, lines.join(""));
  }
}

/** A VM that has not greeted ssh after so long is given up, in s. A translated guest may be slow. */
const GREETING_S = 60;
/** A VM that is silent is asked for a sign of life this often, in s, and so many times. */
const ALIVE_S = 15;
const ALIVE_TRIES = 8;

/**
 * Options for how long `ssh` and `scp` wait. A VM that is gone sends nothing, not even a refusal:
 * without these ssh would wait for hours, and for its greeting for ever.
 */
export const SSH_PATIENCE: readonly string[] = [
  ...["-o", `ConnectTimeout=${GREETING_S}`],
  ...["-o", `ServerAliveInterval=${ALIVE_S}`],
  ...["-o", `ServerAliveCountMax=${ALIVE_TRIES}`],
];

/** How ssh reaches a VM by another program. */
export interface SshProxy {
  /** For ssh's ProxyCommand. */
  readonly command: string;
  /** Whether that program hands over a connected socket and ends (ssh's ProxyUseFdpass). */
  readonly handsOver: boolean;
}

/**
 * Options for `ssh` and `scp` that log in to a borrowed VM and to nothing else, and do not wait for
 * ever.
 *
 * @param proxy What reaches the VM; undefined: ssh does it itself.
 */
export function sshOptions(
  vm: Pick<BorrowedVm, "id">,
  keyPath: string,
  knownHostsPath: string,
  proxy?: SshProxy,
): string[] {
  return [...sshTarget(vm, keyPath, knownHostsPath, proxy), ...SSH_PATIENCE];
}

/**
 * The part of {@link sshOptions} that says who is who. Of two values of a setting ssh takes the first:
 * what a user gives stands behind it.
 */
export function sshTarget(
  vm: Pick<BorrowedVm, "id">,
  keyPath: string,
  knownHostsPath: string,
  proxy?: SshProxy,
): string[] {
  return [
    ...(proxy === undefined ? [] : ["-o", `ProxyCommand=${proxy.command}`]),
    ...(proxy?.handsOver ? ["-o", "ProxyUseFdpass=yes"] : []),
    ...["-o", `IdentityFile=${sshPath(keyPath)}`],
    ...["-o", "IdentitiesOnly=yes"],
    ...["-o", `UserKnownHostsFile=${sshPath(knownHostsPath)}`],
    ...["-o", "GlobalKnownHostsFile=/dev/null"],
    ...["-o", "StrictHostKeyChecking=yes"],
    ...["-o", `HostKeyAlias=${vm.id}`],
  ];
}

/** Who logs in to a VM. */
export const SSH_USER = "omerta";

/** The whole command, as somebody types it: paths are quoted where a shell wants it. */
export function sshCommandLine(
  vm: Pick<BorrowedVm, "id" | "address">,
  keyPath: string,
  knownHostsPath: string,
  proxy?: SshProxy,
): string {
  const words = sshOptions(vm, keyPath, knownHostsPath, proxy).map((word) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : shellQuote(word)
  );
  return ["ssh", ...words, `${SSH_USER}@${vm.address}`].join(" ");
}
