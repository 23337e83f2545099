/**
 * What a borrower sends and accepts, held against what it has borrowed already.
 *
 * @module
 */

import { EXIT, OmertaError } from "../core/errors.ts";
import type { BorrowedVm } from "./lease_store.ts";
import { DEFAULT_MODE, type VmRequest } from "./messages.ts";
import type { RequestOptions } from "./request.ts";
import { hostOf } from "./tunnel_addresses.ts";

/**
 * A name names one VM.
 *
 * @throws {OmertaError} `name-taken`.
 */
export function checkName(name: string, vms: readonly BorrowedVm[]): void {
  if (!vms.some((vm) => vm.name === name)) return;
  throw new OmertaError(
    "name-taken",
    `Cannot borrow a VM named '${name}': there is one already`,
    {
      exit: EXIT.usage,
      next: `Choose another --name, or run 'omerta vm release ${name}'`,
    },
  );
}

/** What is sent to the lender; it names the addresses that are taken by `vms`. */
export function requestFor(
  options: RequestOptions,
  sshKey: string,
  vms: readonly BorrowedVm[],
): VmRequest {
  return {
    name: options.name,
    cpus: options.cpus,
    memoryMiB: options.memoryMiB,
    diskGiB: options.diskGiB,
    sshKey,
    taken: vms.flatMap((vm) => hostOf(vm.address) ?? []).slice(-64),
    mode: options.mode ?? DEFAULT_MODE,
    dryRun: options.dryRun,
    ...(options.image === undefined ? {} : { image: options.image }),
    ...(options.ttlSeconds === undefined ? {} : { ttlSeconds: options.ttlSeconds }),
  };
}

/**
 * A lender chooses id and address, but not those of another VM.
 *
 * @throws {OmertaError} `bad-answer`.
 */
export function checkPromise(vm: BorrowedVm, vms: readonly BorrowedVm[]): void {
  const free = hostOf(vm.address) !== undefined &&
    vms.every(({ id, address }) => id !== vm.id && address !== vm.address);
  if (free) return;
  throw new OmertaError(
    "bad-answer",
    `Cannot use the VM that ${vm.host} lends: its id ${vm.id} or address ${vm.address} is taken`,
    { exit: EXIT.failed, next: "Use the same version of omerta on both sides" },
  );
}
