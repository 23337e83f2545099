/**
 * A proof from within: in a world of namespaces (world.ts) a lender and a borrower, daemons of this
 * same executable, lend and borrow a VM the usual way, and a probe in it (cloud-init/probe.py) tries
 * everything as root (guest_trials.ts).
 *
 * @module
 */

import type { VmView } from "../api/schemas.ts";
import { DEFAULT_PORT } from "../core/link.ts";
import type { Paths } from "../core/paths.ts";
import { SSH_USER, sshOptions } from "../node/known_hosts.ts";
import type { VmMode } from "../node/messages.ts";
import { attemptsOf } from "./attempts.ts";
import { runControls } from "./controls.ts";
import { type Daemons, startDaemons } from "./daemons.ts";
import { endsVm } from "./expectation.ts";
import { GuestTrials, type OtherVm } from "./guest_trials.ts";
import { Probe } from "./probe.ts";
import type { Proof } from "./report.ts";
import { ADDRESS, World } from "./world.ts";

/** Memory of a VM, in MiB; its disk, in GiB. */
const MEMORY_MIB = 512;
const DISK_GIB = 4;

/** How a proof from within is made. */
export interface GuestProofOptions {
  /** The modes, each with a VM of its own. */
  readonly modes: readonly VmMode[];
  /** Beginnings of the ids of the attempts that are made; all when there are none. */
  readonly only: readonly string[];
  /** The main module of this program, which daemons are started from. */
  readonly module: URL;
  /** The home whose images are used. */
  readonly paths: Paths;
  /** Name or id of the image; the default one when absent. */
  readonly image?: string;
  /** Hears what is being done. */
  readonly onStep: (what: string) => void;
  /** Gives it up. */
  readonly signal: AbortSignal;
}

/** What VMs are asked for with, and who hears of it. */
interface Request {
  readonly options: GuestProofOptions;
  readonly world: World;
  readonly daemons: Daemons;
}

/**
 * Proves, in a world of its own, of which nothing is left.
 *
 * @returns What was found out, one entry for each mode.
 * @throws {OmertaError} When something is missing on this host, or a VM does not come up.
 */
export async function proveByGuest(options: GuestProofOptions): Promise<Proof[]> {
  const { onStep, signal } = options;
  const attempts = attemptsOf(options.only);
  onStep("making a network of namespaces");
  await using world = await World.create();
  onStep("controls: whoever may reach a target does");
  // The frames of the controls need no VM: any addresses do.
  const scene = world.scene({ mac: 0x0200000000fd, lenderPort: DEFAULT_PORT, borrowerPort: 1 });
  const controls = await runControls(world, scene, attempts);
  signal.throwIfAborted();
  onStep("starting a lender and a borrower");
  await using daemons = await startDaemons({ ...options, world });
  const request = { options, world, daemons };
  const inAllModes = options.modes.every(endsVm);
  const wantsOther = !inAllModes && attempts.some(({ from }) => from.includes("other"));
  await using others = new AsyncDisposableStack();
  const asked = new AbortController();
  const both = AbortSignal.any([signal, asked.signal]);
  // It comes up beside the first of the others.
  const coming = wantsOther ? lendOther(request, others, both) : Promise.resolve(undefined);
  coming.catch(() => {}); // awaited below, unless something else fails before
  const proofs: Proof[] = [];
  try {
    for (const mode of options.modes) {
      await using owned = new AsyncDisposableStack();
      const cpus = wantsOther && proofs.length === 0 ? 1 : 2;
      const { vm, accelerator } = await lend(request, `prove-${mode}`, mode, cpus, owned, signal);
      const probe = await startProbe(request, vm, owned);
      const trials = await GuestTrials.create({
        ...request,
        attempts,
        controls,
        vm,
        probe,
        other: endsVm(mode) ? undefined : await coming,
        onStep: (what) => onStep(`${mode}: ${what}`),
        signal,
      });
      const rows = endsVm(mode) ? await trials.untilEnded() : await trials.all();
      proofs.push({ mode, vm: vm.id, accelerator, rows });
    }
  } finally {
    asked.abort(signal.reason);
    await coming.catch(() => {});
  }
  return proofs;
}

/** Borrows a VM, which is given back with `owned`. */
async function lend(
  { options: { image, onStep }, daemons: { borrower } }: Request,
  name: string,
  mode: VmMode,
  cpus: number,
  owned: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<{ readonly vm: VmView; readonly accelerator: string }> {
  onStep(`${mode}: VM ${name} comes up`);
  let accelerator = "";
  const vm = await borrower.client.request({
    provider: ADDRESS.lender,
    name,
    cpus: Math.min(cpus, navigator.hardwareConcurrency),
    memoryMiB: MEMORY_MIB,
    diskGiB: DISK_GIB,
    mode,
    wait: true,
    dryRun: false,
    ...(image === undefined ? {} : { image }),
  }, (event) => {
    if (event.kind === "accepted") accelerator = event.accelerator;
    else if (event.kind === "stage") onStep(`${mode}: VM ${name} comes up: ${event.stage}`);
  }, signal);
  owned.defer(async () => {
    await borrower.client.release(vm.id).catch(() => {}); // it may have been ended
  });
  return { vm, accelerator };
}

/** Another VM of the same lender, which is listened to. */
async function lendOther(
  request: Request,
  owned: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<OtherVm> {
  const { vm } = await lend(request, "prove-other", "filtered", 1, owned, signal);
  const probe = await startProbe(request, vm, owned);
  await probe.beginHearing();
  return { vm, probe };
}

/** Starts the probe in a VM, over its tunnel. */
async function startProbe(
  { world, daemons }: Request,
  vm: VmView,
  owned: AsyncDisposableStack,
): Promise<Probe> {
  const { sshKey, knownHosts } = daemons.borrower.paths;
  const words = [
    ...["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60"],
    ...sshOptions(vm, sshKey, knownHosts),
    `${SSH_USER}@${vm.address}`,
  ];
  const probe = await Probe.start(
    vm.name,
    (command) =>
      world.machine("borrower").spawn("ssh", [...words, command], {
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }),
  );
  return owned.use(probe);
}
