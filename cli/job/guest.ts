/**
 * A borrowed VM that is ready, as the system's ssh and scp see it.
 *
 * @module
 */

import type { VmView } from "../../lib/api/schemas.ts";
import { EXIT, OmertaError } from "../../lib/core/errors.ts";
import type { Paths } from "../../lib/core/paths.ts";
import { run, type RunResult, spawn } from "../../lib/core/process.ts";
import { SSH_USER, sshOptions, type SshProxy } from "../../lib/node/known_hosts.ts";

/** Time for a short command, in ms. */
const PREPARE_MS = 60_000;
/** Time for the copies of one direction, in ms. */
const COPY_MS = 6 * 3_600_000;
/** ssh's own exit code, when it could not connect or the connection broke. */
const SSH_FAILED = 255;

/** Where the standard streams of the command go. */
export type Stdio = Required<Pick<Deno.CommandOptions, "stdin" | "stdout" | "stderr">>;

/** A VM that is ready, as ssh and scp see it. */
export class Guest {
  /** The VM. */
  readonly vm: VmView;
  /** Ends everything that is done in it. */
  readonly signal: AbortSignal;
  readonly #target: string;
  readonly #options: readonly string[];

  /**
   * A VM.
   *
   * @param paths Where the keys are that it is logged in to with.
   * @param signal Ends everything that is done in it.
   * @param proxy What reaches it, for ssh; undefined: ssh does it itself.
   */
  constructor(
    vm: VmView,
    paths: Pick<Paths, "sshKey" | "knownHosts">,
    signal: AbortSignal,
    proxy: SshProxy | undefined,
  ) {
    this.vm = vm;
    this.signal = signal;
    this.#target = `${SSH_USER}@${vm.address}`;
    this.#options = [
      // The user's own settings could add a terminal or another command.
      ...["-F", "/dev/null"],
      ...sshOptions(vm, paths.sshKey, paths.knownHosts, proxy),
      ...["-o", "BatchMode=yes"],
      ...["-o", "LogLevel=ERROR"],
    ];
  }

  /** A path in the guest, for scp. */
  remote(path: string): string {
    return `${this.#target}:${path}`;
  }

  /** Starts a command. */
  spawn(command: string, stdio: Stdio): Deno.ChildProcess {
    const args = [...this.#options, "-T", "--", this.#target, command];
    return spawn("ssh", args, { ...stdio, signal: this.signal });
  }

  /** Runs a short command, which gets `input`; what it says on failure is in the error. */
  async ssh(command: string, input: string): Promise<void> {
    const { code, stderr } = await this.try(command, input);
    if (code !== 0) throw failed("Cannot prepare the VM", code, stderr);
  }

  /**
   * Runs a short command, which gets `input`, whatever its exit code.
   *
   * @throws {OmertaError} When ssh could not log in.
   */
  async try(command: string, input: string): Promise<RunResult> {
    const args = [...this.#options, "-T", "--", this.#target, command];
    const result = await run("ssh", args, { signal: this.signal, timeoutMs: PREPARE_MS, input });
    if (result.code === SSH_FAILED) {
      throw failed("Cannot log in to the VM", SSH_FAILED, result.stderr);
    }
    return result;
  }

  /** Copies files and folders, with their times and modes. */
  async scp(from: readonly string[], to: string): Promise<void> {
    // -s: the SFTP protocol, in which no shell reads the paths.
    const args = [...this.#options, "-s", "-q", "-r", "-p", "--", ...from, to];
    const { code, stderr } = await run("scp", args, { signal: this.signal, timeoutMs: COPY_MS });
    if (code !== 0) throw failed(`Cannot copy ${from.join(", ")} to ${to}`, code, stderr);
  }
}

function failed(what: string, code: number, stderr: string): OmertaError {
  const words = stderr.trim().split("\n").slice(-3).join("; ");
  const reason = words === "" ? `exit code ${code}` : words;
  return new OmertaError("job-failed", `${what}: ${reason}`, {
    ...(code === SSH_FAILED ? { exit: EXIT.unreachable } : {}),
  });
}
