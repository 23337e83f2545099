/**
 * The lender's half of a node: takes requests, boots a sealed VM for each, and ends it.
 *
 * What is promised for each VM: its only cable is the filter in the data plane, its only way out is
 * to the borrower's endpoint, and when it ends (released, expired, borrower or tunnel gone, lender
 * stopped, a failed start) its process, sockets and disk are gone.
 *
 * The file is longer than others because all ways on which a VM begins and ends meet in its table of
 * leases; what decides about them is beside it.
 *
 * @module
 */

import type { BaseImage } from "../../vm/image/image.ts";
import type { Vm, VmManager } from "../../vm/manager.ts";
import { failStage, reachStage, type Stage, stageError } from "../../vm/stages.ts";
import type { Accelerator } from "../../vm/accelerator.ts";
import type { RogueAlarm } from "../../net/filter/rogue.ts";
import type { PlaneGuestStats } from "../../net/plane/plane.ts";
import type { LendRules } from "../core/config.ts";
import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import { machineIdOf, type PeerId, peerIdOf, type VmId } from "../core/ids.ts";
import { type EventLog, logger } from "../core/log.ts";
import type { LocalTime } from "../core/quiet_hours.ts";
import { Alarms } from "./alarms.ts";
import type { Control, Origin } from "./control.ts";
import { EndedVms } from "./ended_vms.ts";
import type { GuestNetwork } from "./guest_network.ts";
import { type HostNow, takenMemory } from "./host_now.ts";
import { plainly } from "./descriptors.ts";
import { type GuestKeys, guestMac, vmForLease } from "./vm_for_lease.ts";
import { type Lease, type LentVm, overdue, statusOf, viewOf } from "./lease.ts";
import {
  CHANNEL,
  MAX_HEARTBEAT_VMS,
  ShutdownNotice,
  type VmAccepted,
  VmList,
  type VmMode,
  VmRelease,
  type VmReleased,
  VmRequest,
  VmStatusRequest,
} from "./messages.ts";
import { DIRECT_WARNING, filterModeOf, violationReason } from "./modes.ts";
import { newLease } from "./new_lease.ts";
import { judgeRogue } from "./rogue_vm.ts";
import { refusalOf } from "./rules.ts";
import { tunnelFaults } from "./tunnel_watch.ts";

/** How often expiry and heartbeats are looked at, in ms. */
const SWEEP_MS = 5_000;
/** How long what became of a VM that failed can be asked for, in ms. */
const KEEP_FAILED_MS = 600_000;
/** VMs that failed and are remembered; the oldest goes first. */
const MAX_FAILED = 64;
/** What {@link Lender} needs. */
export interface LenderOptions {
  /** Control side of the node. */
  readonly control: Control;
  /** Carries guests' packets: the data plane of the node, or for mode `ebpf` the kernel. */
  readonly networkOf: (mode: VmMode) => GuestNetwork;
  /** What was counted of each guest. */
  readonly guestStats: () => Promise<readonly PlaneGuestStats[]>;
  /** Boots the VMs. */
  readonly manager: Pick<VmManager, "create" | "get">;
  /** Finds a base image by name or id; the default one without. */
  readonly findImage: (name?: string) => Promise<BaseImage>;
  /** What runs VMs on this host. */
  readonly accelerator: Accelerator;
  /** What is lent, to whom and when: as configured now, asked for at every request. */
  readonly rules: () => Promise<LendRules>;
  /** What this host has now. */
  readonly host: () => HostNow;
  /** The time at this host's place, of a time in ms since 1970. */
  readonly localTime: (at: number) => LocalTime;
  /** Hex of the key whose holders may borrow. Secret. */
  readonly localKey: string;
  /** Start nothing, whatever is asked. */
  readonly dryRun: boolean;
  /** Where events go. */
  readonly events: EventLog;
  /** Time of now in ms since 1970. */
  readonly now: () => number;
}

const log = logger("lender");

/** Lends VMs. */
export class Lender implements AsyncDisposable {
  /** Alarms that nobody has looked at yet. */
  readonly alarms: Alarms = new Alarms();
  readonly #o: LenderOptions;
  readonly #leases = new Map<VmId, Lease>();
  readonly #failed = new Map<VmId, Lease>();
  readonly #ended = new EndedVms<Lease>();
  readonly #sweep: ReturnType<typeof setInterval>;

  /** Registers the handlers; requests are served from now on. */
  constructor(options: LenderOptions) {
    this.#o = options;
    const { control } = options;
    control.handle(CHANNEL.request, VmRequest, async (body, origin) => {
      try {
        return await this.#request(body, origin);
      } catch (error) {
        throw plainly(error);
      }
    });
    control.handle(CHANNEL.status, VmStatusRequest, (body, origin) => {
      const lease = this.#leaseOf(body.vmId, origin);
      for (const stage of body.seen) this.#seenByBorrower(lease, stage);
      return statusOf(lease);
    });
    control.handle(CHANNEL.release, VmRelease, (body, origin) => this.#release(body.vmId, origin));
    control.handle(CHANNEL.heartbeat, VmList, (body, origin) => this.#heartbeat(body.vms, origin));
    this.#sweep = setInterval(() => void this.endOverdue(), SWEEP_MS);
  }

  /** What runs VMs on this host. */
  get accelerator(): Accelerator {
    return this.#o.accelerator;
  }

  /** The VMs lent now. */
  list(): LentVm[] {
    return [...this.#leases.values()].map(viewOf);
  }

  async #request(request: VmRequest, origin: Origin): Promise<VmAccepted> {
    const { now } = this.#o;
    if (origin.network.key.toHex() !== this.#o.localKey) {
      throw new OmertaError("not-allowed", "Cannot lend to this key: it is not the lender's own", {
        exit: EXIT.refused,
        next: "Ask the lender for the output of 'omerta key share'",
      });
    }
    const rules = await this.#o.rules();
    const peer = peerIdOf(origin.peerKey);
    this.#check(rules, request, peer);
    this.#o.networkOf(request.mode).check?.(origin.from);
    const dryRun = request.dryRun || this.#o.dryRun;
    const image = dryRun ? undefined : await this.#o.findImage(request.image);
    // Once more: other requests may have been accepted while the image was looked for.
    this.#check(rules, request, peer);
    const { lease, keys } = newLease(request, origin, {
      accelerator: this.#o.accelerator,
      dryRun,
      sampleRate: rules.sampleRate,
      rogue: rules.rogue,
      now: now(),
    });
    this.#leases.set(lease.id, lease);
    this.#o.events.add({
      event: "vm-accepted",
      vm: lease.id,
      name: request.name,
      borrower: lease.peer,
      machine: machineIdOf(origin.machineKey),
      mode: request.mode,
      dryRun,
    });
    if (request.mode === "direct") {
      const words = { vm: lease.id, name: request.name, peer, what: DIRECT_WARNING };
      log.warning("VM {vm} ({name}) of peer {peer}: {what}", words);
    }
    if (image) lease.started = this.#start(lease, image, keys);
    else keys.privateKey.fill(0);
    return lease.accepted;
  }

  #networkOf(lease: Lease): GuestNetwork {
    return this.#o.networkOf(lease.request.mode);
  }

  /** Throws what the rules refuse a request with. */
  #check(rules: LendRules, request: VmRequest, peer: PeerId): void {
    const { host, localTime, manager, now } = this.#o;
    const used = [...this.#leases.values()].map((lease) => ({
      peer: lease.peer,
      cpus: lease.cpus,
      memoryMiB: lease.memoryMiB,
      diskGiB: lease.diskGiB,
      // Takes some milliseconds for each VM, so it is found out only where it counts.
      takenMiB: rules.reserve.memoryMiB === 0
        ? 0
        : takenMemory(manager.get(lease.id)?.pid, lease.memoryMiB),
    }));
    const situation = { used, host: host(), time: localTime(now()) };
    const refusal = refusalOf(rules, { ...request, peer }, situation);
    if (refusal) throw refusal;
  }

  /** Boots the VM of a lease. Never rejects: a failure is in the lease, and nothing is left. */
  async #start(lease: Lease, image: BaseImage, keys: GuestKeys): Promise<void> {
    const { manager, networkOf } = this.#o;
    const { id, abort } = lease;
    const { mode } = lease.request;
    const network = networkOf(mode);
    const spec = vmForLease(lease, image, keys);
    try {
      const vm = await manager.create(spec, {
        signal: abort.signal,
        onStage: (stage) => this.#reached(lease, stage),
        beforeStart: (vm) =>
          network.addGuest({
            id,
            cablePath: vm.cablePath,
            guestPath: vm.guestPath,
            mac: guestMac(id),
            publicKey: keys.publicKey,
            uplink: lease.endpoint,
            mode: filterModeOf(lease.request.mode),
            sampleRate: lease.sampleRate,
            rogue: lease.rogue,
          }),
        afterStart: async () => await network.hypervisorRuns?.(id),
      });
      void vm.exited.then((reason) => this.#exited(lease, vm, reason));
      await vm.waitFor("cloud-init", { signal: abort.signal });
    } catch (error) {
      await manager.get(id)?.stop();
      await network.removeGuest(id).catch(() => {}); // it may never have been added
      if (!abort.signal.aborted) this.#fail(lease, plainly(error));
    } finally {
      keys.privateKey.fill(0);
    }
  }

  /** The guest has switched itself off, or did not get on in the time that it is allowed. */
  async #exited(lease: Lease, vm: Vm, reason: string): Promise<void> {
    if (this.#leases.get(lease.id) !== lease) return; // it was ended from here
    const { failure } = vm.stages;
    if (failure) {
      await this.#networkOf(lease).removeGuest(lease.id).catch(() => {});
      this.#fail(lease, stageError(lease.request.name, failure, vm.consoleLines(8)));
    } else await this.end(lease.id, `the guest has ended: ${reason}`);
    // Whoever still waits for it asks, and is told more than a notice says.
    if (lease.stages.reached.ready !== undefined) {
      void this.#notify([lease], `the guest has ended: ${reason}`);
    }
  }

  /**
   * Ends a VM at once for a frame that its mode does not forgive; its cable is dead already.
   *
   * @param id Id of the VM.
   * @param frame The line about the frame that the data plane gives.
   */
  async violated(id: VmId, frame: string): Promise<void> {
    const lease = this.#leases.get(id);
    if (!lease) return; // it was ended for another reason
    const { mode, name } = lease.request;
    this.#o.events.add({ event: "vm-violation", vm: id, name, mode, frame });
    await this.#endAtOnce(lease, "violation", violationReason(mode, frame));
  }

  /**
   * Does what the lender's rules say about a VM that is called rogue.
   *
   * @param id Id of the VM.
   * @param alarm What it is called so for.
   */
  async rogue(id: VmId, alarm: RogueAlarm): Promise<void> {
    const lease = this.#leases.get(id);
    if (!lease) return; // it was ended meanwhile
    const reason = await judgeRogue({ ...this.#o, alarms: this.alarms }, lease, alarm);
    if (reason === undefined || this.#leases.get(id) !== lease) return;
    await this.#endAtOnce(lease, "rogue", reason);
  }

  /** Ends a VM without grace for what it did on its network card, and tells its borrower why. */
  async #endAtOnce(lease: Lease, code: "violation" | "rogue", reason: string): Promise<void> {
    const { id, request: { name } } = lease;
    const wasReady = lease.stages.reached.ready !== undefined;
    if (!wasReady) {
      // Whoever still waits for it asks, and finds it among those that failed.
      this.#fail(
        lease,
        new OmertaError(code, `Cannot go on with VM "${name}": ${reason}`, {
          exit: EXIT.refused,
          next: "Nothing but the tunnel may use the VM's network card",
        }),
      );
    }
    this.#leases.delete(id);
    await this.#takeDown(lease, reason, 0);
    if (wasReady) await this.#notify([lease], reason);
  }

  #seenByBorrower(lease: Lease, stage: Stage): void {
    // The manager ends a guest whose tunnel does not come up: it must know that it has.
    if (lease.accepted.dryRun) this.#reached(lease, stage);
    else this.#o.manager.get(lease.id)?.reach(stage);
  }

  #reached(lease: Lease, stage: Stage): void {
    const before = lease.stages;
    lease.stages = reachStage(before, stage, this.#o.now() - lease.since);
    if (lease.stages === before) return;
    this.#o.events.add({
      event: "vm-stage",
      vm: lease.id,
      stage,
      ms: lease.stages.reached[stage] ?? 0,
    });
  }

  #fail(lease: Lease, error: unknown): void {
    if (!this.#leases.delete(lease.id)) return; // known to have failed already
    lease.stages = failStage(lease.stages, messageOf(error), this.#o.now() - lease.since);
    lease.next = error instanceof OmertaError ? error.next : undefined;
    this.#failed.set(lease.id, lease);
    for (const id of this.#failed.keys()) {
      if (this.#failed.size <= MAX_FAILED) break;
      this.#failed.delete(id);
    }
    log.warning("VM {vm} failed: {reason}", { vm: lease.id, reason: messageOf(error) });
    this.#o.events.add({
      event: "vm-failed",
      vm: lease.id,
      stage: lease.stages.failure?.stage ?? "",
      reason: messageOf(error),
    });
  }

  /** The lease that a borrower asks about, marked as used; its endpoint follows the borrower's. */
  #leaseOf(vmId: string, origin: Origin): Lease {
    const id = vmId as VmId;
    const lease = this.#leases.get(id) ?? this.#failed.get(id);
    if (!lease || lease.machine !== origin.machineKey.toHex()) {
      throw new OmertaError("unknown-vm", `Cannot find VM ${vmId}: it is not lent to you here`, {
        exit: EXIT.refused,
      });
    }
    this.#seen(lease, origin);
    return lease;
  }

  #seen(lease: Lease, origin: Origin): void {
    lease.lastSeen = this.#o.now();
    if (lease.endpoint.equals(origin.from)) return;
    lease.endpoint = origin.from;
    if (lease.accepted.dryRun || lease.stages.failure) return;
    this.#networkOf(lease).setUplink(lease.id, origin.from).catch((error: unknown) => {
      log.warning("Cannot follow the borrower of {vm}: {error}", {
        vm: lease.id,
        error: messageOf(error),
      });
    });
  }

  async #release(vmId: string, origin: Origin): Promise<typeof VmReleased._output> {
    const lease = this.#leases.get(vmId as VmId);
    if (!lease || lease.machine !== origin.machineKey.toHex()) return { ended: false };
    await this.end(lease.id, "released by the borrower");
    return { ended: true };
  }

  async #heartbeat(vms: readonly string[], origin: Origin): Promise<typeof VmList._output> {
    const machine = origin.machineKey.toHex();
    // Why comes before that, which the answer says by leaving the VM out.
    await Promise.all(
      this.#ended.of(machine, vms).map(({ lease, reason }) => {
        lease.endpoint = origin.from;
        return this.#notify([lease], reason);
      }),
    );
    return {
      vms: vms.filter((id) => {
        const lease = this.#leases.get(id as VmId);
        if (!lease || lease.machine !== machine) return false;
        this.#seen(lease, origin);
        return true;
      }),
    };
  }

  /** Ends a VM and removes everything of it. @returns Whether it was there. */
  async end(id: VmId, reason: string): Promise<boolean> {
    const lease = this.#leases.get(id);
    if (!lease) return false;
    this.#leases.delete(id);
    await this.#takeDown(lease, reason);
    return true;
  }

  /** Ends the VM of a lease that is not in the table any more; without grace, at once. */
  async #takeDown(lease: Lease, reason: string, graceMs?: number): Promise<void> {
    const { id, request, abort, started, accepted } = lease;
    this.#ended.add(lease, reason);
    abort.abort(new OmertaError("vm-ended", `Cannot start VM "${request.name}": ${reason}`));
    await started;
    if (!accepted.dryRun) {
      await this.#networkOf(lease).removeGuest(id).catch(() => {}); // gone already when its start failed
      await this.#o.manager.get(id)?.stop(graceMs === undefined ? {} : { graceMs });
    }
    this.#o.events.add({ event: "vm-ended", vm: id, reason });
  }

  /** Ends VMs whose time is over or whose borrower or tunnel is gone; called every few seconds. */
  async endOverdue(): Promise<void> {
    const tunnelFault = await tunnelFaults(this.#o, this.#leases.values());
    const now = this.#o.now();
    for (const [id, lease] of this.#failed) {
      if (now - lease.lastSeen > KEEP_FAILED_MS) this.#failed.delete(id);
    }
    await Promise.all([...this.#leases.values()].map(async (lease) => {
      const reason = overdue(lease, now) ?? tunnelFault(lease, now);
      if (reason === undefined) return;
      try {
        await this.end(lease.id, reason);
      } catch (error) {
        log.error("Cannot end VM {vm}: {error}", { vm: lease.id, error: messageOf(error) });
      }
      void this.#notify([lease], reason);
    }));
  }

  /** Tells the borrowers of `leases` that these have ended; nobody has to be there. */
  async #notify(leases: readonly Lease[], reason: string): Promise<void> {
    const byMachine = Map.groupBy(leases, (lease) => lease.machine);
    await Promise.allSettled([...byMachine.values()].map((group) => {
      const first = group[0];
      return first && this.#o.control.ask({
        channel: CHANNEL.shutdown,
        body: { vms: group.slice(0, MAX_HEARTBEAT_VMS).map(({ id }) => id), reason },
        answer: ShutdownNotice.pick({ vms: true }),
        to: first.endpoint,
        network: first.network,
        machine: first.machine,
        timeoutMs: 1000,
      });
    }));
  }

  /** Ends every VM and tells its borrower. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweep);
    const leases = [...this.#leases.values()];
    await Promise.all(leases.map((lease) => this.end(lease.id, "the lender stops")));
    await this.#notify(leases, "the lender stops");
  }
}
