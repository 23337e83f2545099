/**
 * One job from its beginning to its end:
 *
 * 1. borrow a VM and wait until it is ready;
 * 2. make the job's folder in it, write the script, copy the inputs;
 * 3. run the command, its standard streams connected;
 * 4. copy the outputs, also when the command failed;
 * 5. give the VM back, whatever happened: an error, an interruption, the loss of the VM, and, by the
 *    daemon, also when this process is killed.
 *
 * Everything in the VM is done by the system's ssh and scp, which accept the VM's host key only.
 *
 * @module
 */

import type { ApiClient, VmUse } from "../../lib/api/client.ts";
import type { VmView } from "../../lib/api/schemas.ts";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import type { Paths } from "../../lib/core/paths.ts";
import { run, spawn } from "../../lib/core/process.ts";
import { SSH_USER, sshOptions } from "../../lib/node/known_hosts.ts";
import { jobCommand, prepareCommand, scpPath } from "./remote_command.ts";
import type { JobSpec } from "./spec.ts";

/** Time to make the job's folder, in ms. */
const PREPARE_MS = 60_000;
/** Time for the copies of one direction, in ms. */
const COPY_MS = 6 * 3_600_000;
/** ssh's own exit code, when it could not connect or the connection broke. */
const SSH_FAILED = 255;

/** What {@link runJob} needs besides the job. */
export interface JobContext extends Omit<VmUse, "onReleased"> {
  /** The daemon. */
  readonly client: ApiClient;
  /** The borrower's home. */
  readonly paths: Pick<Paths, "sshKey" | "knownHosts">;
  /** Starts the command's process and returns its exit code when all its output is taken. */
  readonly attach: (start: (stdio: Stdio) => Deno.ChildProcess) => Promise<number>;
  /** Told what is being done. */
  readonly say: (line: string) => void;
  /** Told what went wrong without ending the job. */
  readonly warn: (line: string) => void;
}

/** Where the standard streams of the command go. */
export type Stdio = Required<Pick<Deno.CommandOptions, "stdin" | "stdout" | "stderr">>;

/**
 * Runs a job.
 *
 * @returns The exit code of its command.
 * @throws {OmertaError} When there is none: no VM, a copy that failed, an interruption, a lost VM.
 */
export async function runJob(spec: JobSpec, context: JobContext): Promise<number> {
  const { name } = spec.request;
  return await context.client.withVm(spec.request, {
    signal: context.signal,
    onEvent: context.onEvent,
    onReleased: (error) => {
      if (error === undefined) context.say(`Released ${name}`);
      else context.warn(`Cannot tell the lender to end ${name}: ${messageOf(error)}`);
    },
  }, async (vm, signal) => {
    if (vm.dryRun) {
      throw new OmertaError("dry-run", `Cannot run a job in ${name}: its lender does a dry run`, {
        exit: EXIT.refused,
      });
    }
    const guest = new Guest(vm, context.paths, signal);
    try {
      return await inGuest(spec, guest, context);
    } catch (error) {
      signal.throwIfAborted(); // says more than that ssh was ended
      throw error;
    }
  });
}

async function inGuest(spec: JobSpec, guest: Guest, context: JobContext): Promise<number> {
  const script = spec.work.kind === "script" ? spec.work.text : "";
  await guest.ssh(prepareCommand(spec), script);
  if (spec.inputs.length > 0) {
    context.say(`Copying ${count(spec.inputs.length, "input")}`);
    await guest.scp(spec.inputs, guest.remote(scpPath("")));
  }
  const code = await context.attach((stdio) => guest.spawn(jobCommand(spec), stdio));
  guest.signal.throwIfAborted();
  if (spec.outputs.length === 0) return code;
  context.say(`Copying ${count(spec.outputs.length, "output")}`);
  let failure: unknown;
  for (const { remote, local } of spec.outputs) {
    try {
      await guest.scp([guest.remote(scpPath(remote))], local);
    } catch (error) {
      guest.signal.throwIfAborted();
      failure ??= error;
      context.warn(messageOf(error));
    }
  }
  // A command that failed may not have made its outputs: its exit code says more.
  if (failure !== undefined && code === 0) throw failure;
  return code;
}

/** A VM that is ready, as ssh and scp see it. */
class Guest {
  readonly signal: AbortSignal;
  readonly #target: string;
  readonly #options: readonly string[];

  constructor(vm: VmView, paths: JobContext["paths"], signal: AbortSignal) {
    this.signal = signal;
    this.#target = `${SSH_USER}@${vm.address}`;
    this.#options = [
      // The user's own settings could add a terminal or another command.
      ...["-F", "/dev/null"],
      ...sshOptions(vm, paths.sshKey, paths.knownHosts),
      ...["-o", "BatchMode=yes"],
      ...["-o", "LogLevel=ERROR"],
      ...["-o", "ConnectTimeout=30"],
      // A VM that has gone does not close its connections: it is silent.
      ...["-o", "ServerAliveInterval=15"],
      ...["-o", "ServerAliveCountMax=4"],
    ];
  }

  /** A path in the guest, for scp. */
  remote(path: string): string {
    return `${this.#target}:${path}`;
  }

  spawn(command: string, stdio: Stdio): Deno.ChildProcess {
    const args = [...this.#options, "-T", "--", this.#target, command];
    return spawn("ssh", args, { ...stdio, signal: this.signal });
  }

  /** Runs a short command. */
  async ssh(command: string, input: string): Promise<void> {
    const args = [...this.#options, "-T", "--", this.#target, command];
    const { code, stderr } = await run("ssh", args, {
      signal: this.signal,
      timeoutMs: PREPARE_MS,
      input,
    });
    if (code !== 0) throw failed("Cannot prepare the VM", code, stderr);
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

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
