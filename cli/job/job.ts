/**
 * One job from its beginning to its end:
 *
 * 1. borrow a VM and wait until it is ready;
 * 2. make the job's folder in it, write the script, bring up the borrower's own VPN when there is one,
 *    copy the inputs;
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
import { counted } from "../../lib/core/counted.ts";
import { EXIT, messageOf, OmertaError } from "../../lib/core/errors.ts";
import type { Paths } from "../../lib/core/paths.ts";
import { sshProxy } from "../ssh_proxy.ts";
import { Guest, type Stdio } from "./guest.ts";
import { bringUpVpn, readVpnConfig } from "./guest_vpn.ts";
import { jobCommand, prepareCommand, scpPath } from "./remote_command.ts";
import type { JobSpec } from "./spec.ts";

/** What {@link runJob} needs besides the job. */
export interface JobContext extends Omit<VmUse, "onReleased"> {
  /** The daemon. */
  readonly client: ApiClient;
  /** The borrower's home. */
  readonly paths: Pick<Paths, "home" | "sshKey" | "knownHosts">;
  /** Starts the command's process and returns its exit code when all its output is taken. */
  readonly attach: (start: (stdio: Stdio) => Deno.ChildProcess) => Promise<number>;
  /** Told what is being done. */
  readonly say: (line: string) => void;
  /** Told what went wrong without ending the job. */
  readonly warn: (line: string) => void;
}

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
    const proxy = await sshProxy(context.client, context.paths);
    const guest = new Guest(vm, context.paths, signal, proxy);
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
  if (spec.vpnConfig !== undefined) {
    const config = await readVpnConfig(spec.vpnConfig);
    context.say(`Bringing up the VPN of ${spec.vpnConfig}`);
    await bringUpVpn(guest, config, context.client);
  }
  if (spec.inputs.length > 0) {
    context.say(`Copying ${counted(spec.inputs.length, "input")}`);
    await guest.scp(spec.inputs, guest.remote(scpPath("")));
  }
  const code = await context.attach((stdio) => guest.spawn(jobCommand(spec), stdio));
  guest.signal.throwIfAborted();
  if (spec.outputs.length === 0) return code;
  context.say(`Copying ${counted(spec.outputs.length, "output")}`);
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
