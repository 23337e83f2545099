/**
 * A proof from within: in a world of namespaces (world.ts) a lender and a borrower, daemons of this
 * same executable, lend and borrow a VM the usual way, and a probe in it (cloud-init/probe.py) tries
 * everything as root (guest_trials.ts).
 *
 * @module
 */

import { messageOf } from "../core/errors.ts";
import { DEFAULT_PORT } from "../core/link.ts";
import type { Paths } from "../core/paths.ts";
import { SSH_USER, sshOptions } from "../node/known_hosts.ts";
import { VmMode } from "../node/messages.ts";
import { Pair } from "../pair/pair.ts";
import { attemptsOf } from "./attempts.ts";
import { runControls } from "./controls.ts";
import { endsVm } from "./expectation.ts";
import { GuestTrials, type OtherVm } from "./guest_trials.ts";
import { notTried } from "./judge.ts";
import { Probe } from "./probe.ts";
import type { Proof } from "./report.ts";
import { ADDRESS, World } from "./world.ts";

/** Memory of a VM, in MiB; its disk, in GiB. */
const MEMORY_MIB = 512;
const DISK_GIB = 4;
/** What the lender lends: processors and memory, in MiB, in any mode. */
const LEND = { cpus: 64, memoryMiB: 65_536, modes: [...VmMode.options] };

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
  readonly daemons: Pair;
}

/** A VM with the probe in it. */
interface Lent extends OtherVm {
  /** What runs its instructions. */
  readonly accelerator: string;
}

/**
 * Proves, in a world of its own, of which nothing is left.
 *
 * @returns What was found out, one entry for each mode; of several, one that fails says why.
 * @throws {OmertaError} When something is missing on this host, or the only mode fails.
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
  await using daemons = await Pair.start({
    ...options,
    lenderAddress: ADDRESS.lender,
    // What is proven is not how much is lent: a small host runs two VMs here all the same.
    lend: LEND,
    onLender: (...words) => world.machine("lender").spawn(...words),
    onBorrower: () => (...words) => world.machine("borrower").spawn(...words),
  });
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
      let lent: Lent | undefined;
      try {
        lent = await lend(request, `prove-${mode}`, mode, cpus, owned, signal);
        const { vm, accelerator } = lent;
        const trials = await GuestTrials.create({
          ...request,
          ...lent,
          attempts,
          controls,
          other: endsVm(mode) ? undefined : await coming,
          onStep: (what) => onStep(`${mode}: ${what}`),
          signal,
        });
        const rows = endsVm(mode) ? await trials.untilEnded() : await trials.all();
        proofs.push({ mode, vm: vm.id, accelerator, rows });
      } catch (error) {
        signal.throwIfAborted();
        if (options.modes.length === 1) throw error;
        const row = notTried(lent === undefined ? "boot" : "probe", messageOf(error));
        const { vm, accelerator = null } = lent ?? {};
        proofs.push({ mode, vm: vm?.id ?? null, accelerator, rows: [row] });
      }
    }
  } finally {
    asked.abort(signal.reason);
    await coming.catch(() => {});
  }
  return proofs;
}

/** Borrows a VM and starts the probe in it; `owned` ends both. */
async function lend(
  { options: { image, onStep }, world, daemons: { borrower } }: Request,
  name: string,
  mode: VmMode,
  cpus: number,
  owned: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Lent> {
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
  const words = [
    ...["-F", "none", "-o", "BatchMode=yes"],
    ...sshOptions(vm, borrower.paths.sshKey, borrower.paths.knownHosts),
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
  return { vm, probe: owned.use(probe), accelerator };
}

/** Another VM of the same lender, which is listened to. */
async function lendOther(
  request: Request,
  owned: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<OtherVm> {
  const other = await lend(request, "prove-other", "filtered", 1, owned, signal);
  await other.probe.beginHearing();
  return other;
}
