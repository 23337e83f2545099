/**
 * SSH into a guest that is being tested: with a key made for the test, its host key pinned, and
 * nothing of the user's own SSH settings.
 *
 * @module
 */

import { join } from "node:path";
import { writeFileAtomic } from "../lib/core/files.ts";
import { run, type RunResult } from "../lib/core/process.ts";
import type { SshKeyPair } from "../lib/core/ssh_key.ts";
import { sshPath } from "../lib/core/ssh_path.ts";
import type { Vm } from "./manager.ts";
import { programMissing } from "./requirements.ts";

/** Time for one try of SSH, in ms. */
const SSH_TRY_MS = 30_000;

/** The keys of a test, made for it and gone with it. */
export interface TestKeys {
  /** The guest's host key. */
  readonly hostKey: SshKeyPair;
  /** Who may log in. */
  readonly userKey: SshKeyPair;
}

/**
 * Runs a command in the guest that says who it is, over 127.0.0.1:`port`.
 *
 * @throws {OmertaError} `ssh-missing`; the reason of `signal`.
 */
export async function sshOnce(
  vm: Vm,
  keys: TestKeys,
  port: number,
  signal: AbortSignal,
): Promise<RunResult> {
  const key = join(vm.folder, "user_key");
  const knownHosts = join(vm.folder, "known_hosts");
  await writeFileAtomic(key, keys.userKey.privatePem);
  await writeFileAtomic(knownHosts, `[127.0.0.1]:${port} ${keys.hostKey.publicLine}\n`);
  const args = [
    ...["-F", "none", "-o", `IdentityFile=${sshPath(key)}`, "-p", `${port}`],
    ...["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes"],
    ...["-o", "StrictHostKeyChecking=yes", "-o", `UserKnownHostsFile=${sshPath(knownHosts)}`],
    ...["-o", "GlobalKnownHostsFile=none", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"],
    ...["omerta@127.0.0.1", "hostname && uname -sr"],
  ];
  try {
    return await run("ssh", args, { signal, timeoutMs: SSH_TRY_MS });
  } catch (error) {
    throw programMissing(error, "ssh");
  }
}

/** What the command printed, in one line; undefined when it was not this guest that answered. */
export function sshProof(vm: Vm, result: RunResult): string | undefined {
  if (result.code !== 0 || !result.stdout.startsWith(`${vm.name}\n`)) return undefined;
  return result.stdout.trim().replaceAll("\n", ", ");
}

/** The last line of what ssh complained about. */
export function sshWords({ stderr, stdout }: RunResult): string {
  return (stderr.trim() || stdout.trim()).split("\n").at(-1) || "nothing";
}
