/**
 * The borrower's half of a node: asks lenders for VMs, brings up the tunnel to each, and lets go.
 *
 * A VM is called ready only after its SSH server has answered through the tunnel. A request that
 * fails or is given up leaves nothing: the lender is told, the peer and the lease are removed. The file
 * is longer than others because a VM comes and goes here by every way, and all of them have to agree.
 *
 * @module
 */

import type { NetworkKey } from "../../net/mesh/envelope.ts";
import { presharedKeyOf } from "../../net/mesh/network_key.ts";
import type { Endpoint } from "../../net/os/endpoint.ts";
import type { Plane } from "../../net/plane/plane.ts";
import type { Config } from "../core/config.ts";
import { EXIT, messageOf, OmertaError } from "../core/errors.ts";
import type { Identity } from "../core/identity.ts";
import { type EventLog, logger } from "../core/log.ts";
import type { Control } from "./control.ts";
import { CarriedTunnels } from "./carried_tunnels.ts";
import { checkName, checkPromise, requestFor } from "./_request_checks.ts";
import { Heartbeats } from "./heartbeats.ts";
import { HeldVms } from "./held_vms.ts";
import type { KnownHosts } from "./known_hosts.ts";
import { type BorrowedVm, endpointOf, type LeaseStore, wireguardKeyOf } from "./lease_store.ts";
import { findLender, KeyRing } from "./lender_address.ts";
import { LenderClient } from "./lender_client.ts";
import { CHANNEL, ShutdownNotice, type VmAccepted } from "./messages.ts";
import { awaitReady } from "./ready.ts";
import type { RequestOptions, RequestProgress } from "./request.ts";
import type { TunnelEnd } from "./tunnel_end.ts";

/** Time from the request to ready when none is given: accelerated, translated; in ms. */
const READY_TIMEOUT_MS = [180_000, 420_000] as const;
/** Keepalive of the tunnel, in s: keeps this side's NAT open. */
const KEEPALIVE_S = 15;

/** What {@link Borrower} needs. */
export interface BorrowerOptions {
  /** Control side of the node. */
  readonly control: Control;
  /** Data plane of the node. */
  readonly plane: Plane;
  /** This computer's end of the tunnels. */
  readonly end: TunnelEnd;
  /** Who this node is. */
  readonly identity: Identity;
  /** Configuration of the node, as it is now. */
  readonly config: () => Config;
  /** What is borrowed. */
  readonly leases: LeaseStore;
  /** Pins the host keys of the VMs. */
  readonly knownHosts: KnownHosts;
  /** Public SSH key that VMs let in. */
  readonly sshKey: string;
  /** Where events go. */
  readonly events: EventLog;
  /** Time of now in ms since 1970. */
  readonly now: () => number;
}

/**
 * How long lenders are waited for once this node stops, in ms, also those that were asked before: they
 * may stop at the same time, and what they were told they do without us.
 */
const STOPPING_MS = 5_000;

const log = logger("borrower");

/** Borrows VMs. */
export class Borrower implements AsyncDisposable {
  /** The tunnels to borrowed VMs besides this node's own. */
  readonly carried: CarriedTunnels;
  readonly #o: BorrowerOptions;
  readonly #heartbeats: Heartbeats;
  /** Called at a handshake with a VM that comes up, by the hex of its WireGuard key. */
  readonly #handshakes = new Map<string, () => void>();
  /** Ends the request of a VM that comes up, by its id. */
  readonly #starting = new Map<string, AbortController>();
  readonly #held = new HeldVms();
  /** Settles when the requests that were begun have been answered. */
  #asked: Promise<unknown> = Promise.resolve();
  readonly #keys = new KeyRing();
  readonly #stop = new AbortController();
  /** Ends what lenders are still waited for. */
  readonly #patience = new AbortController();
  /** Requests that go on, each until it has succeeded or cleaned up. */
  readonly #requests = new Set<Promise<unknown>>();

  /** Registers the handler of the lenders' notices. */
  constructor(options: BorrowerOptions) {
    this.#o = options;
    this.carried = new CarriedTunnels(options.plane, options.leases);
    options.control.handle(CHANNEL.shutdown, ShutdownNotice, async (notice, origin) => {
      const machine = origin.machineKey.toHex();
      const vms = notice.vms.filter((id) => options.leases.get(id)?.machine === machine);
      for (const id of vms) await this.#lost(id, notice.reason);
      return { vms };
    });
    this.#heartbeats = new Heartbeats({
      vms: () => this.list(),
      stats: () => options.plane.stats(),
      lenderOf: (vm) => this.#lenderOf(vm),
      onLost: (id, reason) => this.#lost(id, reason),
      events: options.events,
    });
  }

  /** The networks whose envelopes are opened: this node's own key and those of known lenders. */
  networks(): NetworkKey[] {
    const { localKey, lenders } = this.#o.config();
    return [localKey, ...lenders.map(({ key }) => key)].map((key) => this.#keys.network(key));
  }

  /** VMs that are borrowed. */
  list(): BorrowedVm[] {
    return this.#o.leases.list();
  }

  /**
   * The one borrowed VM of this name or prefix of an id.
   *
   * @throws {OmertaError} `unknown-vm` or `ambiguous-vm`.
   */
  find(nameOrId: string): BorrowedVm {
    return this.#o.leases.find(nameOrId);
  }

  /** Brings back the tunnels of what a former run of this node has borrowed. */
  async resume(): Promise<void> {
    for (const vm of this.list()) {
      if (vm.dryRun) continue;
      try {
        await this.#o.end.open();
        await this.#addPeer(vm);
        await this.carried.resume(vm);
      } catch (error) {
        log.warning("Cannot bring back the tunnel to {vm}: {error}", {
          vm: vm.name,
          error: messageOf(error),
        });
      }
    }
    await this.#o.end.setNames(this.list());
    // The former run may have been killed before it wrote it.
    await this.#o.knownHosts.write(this.list());
    void this.#heartbeats.beat();
  }

  /** Whether the lender of a VM did not answer when it was asked last. */
  isSilent(vm: BorrowedVm): boolean {
    return this.#heartbeats.isSilent(vm);
  }

  /**
   * Tells that a tunnel goes somewhere else now: its lender has another address, and control
   * messages follow. Only who holds the keys of a VM's tunnel can bring this about.
   */
  async onRoamed(publicKey: Uint8Array, endpoint: Endpoint): Promise<void> {
    const key = publicKey.toBase64();
    const moved = this.list().find((vm) => vm.wireguardKey === key);
    if (!moved || endpointOf(moved).equals(endpoint)) return;
    const { address, port } = endpoint;
    this.#o.events.add({
      event: "lender-moved",
      vm: moved.id,
      host: moved.host,
      to: `${endpoint}`,
    });
    for (const { id, machine } of this.list()) {
      const vm = this.#o.leases.get(id); // it may have ended while another one was written
      if (vm && machine === moved.machine) {
        await this.#o.leases.put({ ...vm, endpoint: { address, port } });
      }
    }
  }

  /** Tells that a WireGuard handshake with this key was completed. */
  onHandshake(publicKey: Uint8Array): void {
    this.#handshakes.get(publicKey.toHex())?.();
  }

  /**
   * Asks a lender for a VM and, unless told otherwise, waits until it is ready.
   *
   * @throws {OmertaError} With the stage and the reason; nothing is left behind.
   */
  async request(
    options: RequestOptions,
    progress: (event: RequestProgress) => void,
    signal: AbortSignal,
  ): Promise<BorrowedVm> {
    const stopping = AbortSignal.any([signal, this.#stop.signal]);
    const accepted = this.#track(this.#accept(options, progress, stopping));
    const { vm, accelerator } = await accepted;
    if (vm.dryRun) return vm;
    const up = options.wait
      ? this.#bringUp(vm, accelerator, options, progress, stopping)
      : this.#bringUp(vm, accelerator, options, () => {}, this.#stop.signal);
    const tracked = this.#track(up);
    if (options.wait) return await tracked;
    tracked.catch((error: unknown) => {
      log.warning("VM {vm} failed: {error}", { vm: vm.id, error: messageOf(error) });
      this.#o.events.add({ event: "vm-failed", vm: vm.id, reason: messageOf(error) });
    });
    return vm;
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(() => {}, () => {}).finally(() => this.#requests.delete(settled));
    this.#requests.add(settled);
    return work;
  }

  /** Finds the lender, asks, and records what it has promised. */
  async #accept(
    options: RequestOptions,
    progress: (event: RequestProgress) => void,
    signal: AbortSignal,
  ): Promise<{ readonly vm: BorrowedVm; readonly accelerator: VmAccepted["accelerator"] }> {
    const { control, now } = this.#o;
    checkName(options.name, this.list());
    if (!options.dryRun) await this.#o.end.open();
    const { host, endpoint, network } = await findLender(
      options.provider,
      this.#o.config(),
      this.#keys,
    );
    const asked = now();
    const { machine, lends } = await new LenderClient(control, { endpoint, network })
      .ping({ signal });
    progress({ kind: "reachable", endpoint: String(endpoint), latencyMs: now() - asked });
    if (!lends) {
      throw new OmertaError("not-lending", `Cannot borrow from ${endpoint}: it does not lend`, {
        exit: EXIT.refused,
        next: "Start it with 'omerta daemon'",
      });
    }
    const lender = new LenderClient(control, { endpoint, network, machine });
    // One at a time: each request names the addresses that are taken by those before it.
    const asking = this.#asked.then(() =>
      this.#ask(options, lender, {
        host,
        endpoint: { address: endpoint.address, port: endpoint.port },
        machine,
        network: network.key.toHex(),
      })
    );
    this.#asked = asking.catch(() => {});
    const { vm, accelerator } = await asking;
    progress({ kind: "accepted", id: vm.id, accelerator });
    return { vm, accelerator };
  }

  /** Asks a lender for a VM and records what it has promised. */
  async #ask(
    options: RequestOptions,
    lender: LenderClient,
    where: Pick<BorrowedVm, "host" | "endpoint" | "machine" | "network">,
  ): Promise<{ readonly vm: BorrowedVm; readonly accelerator: VmAccepted["accelerator"] }> {
    const { leases, now } = this.#o;
    checkName(options.name, this.list());
    const since = now();
    const request = requestFor(options, this.#o.sshKey, this.list());
    const accepted = await lender.request(request);
    const vm: BorrowedVm = {
      id: accepted.vmId,
      name: options.name,
      ...where,
      address: accepted.address,
      wireguardKey: accepted.wireguardKey,
      hostKey: accepted.hostKey,
      since,
      mode: request.mode,
      dryRun: accepted.dryRun,
    };
    checkPromise(vm, this.list());
    await leases.put(vm);
    this.#o.events.add({ event: "vm-borrowed", vm: vm.id, name: vm.name, host: vm.host });
    return { vm, accelerator: accepted.accelerator };
  }

  /** Brings up the tunnel and waits for the shell; lets go of the VM when that fails. */
  async #bringUp(
    vm: BorrowedVm,
    accelerator: VmAccepted["accelerator"],
    options: RequestOptions,
    progress: (event: RequestProgress) => void,
    signal: AbortSignal,
  ): Promise<BorrowedVm> {
    const { leases, knownHosts, end, now } = this.#o;
    const key = wireguardKeyOf(vm).toHex();
    const handshake = Promise.withResolvers<void>();
    this.#handshakes.set(key, handshake.resolve);
    const lost = new AbortController();
    this.#starting.set(vm.id, lost);
    try {
      await this.#addPeer(vm);
      await knownHosts.write(leases.list());
      await end.setNames(leases.list());
      await awaitReady({
        name: vm.name,
        sshBanner: (signal) => end.sshBanner(vm.address, signal),
        since: vm.since,
        timeoutMs: options.timeoutMs ?? READY_TIMEOUT_MS[accelerator === "tcg" ? 1 : 0],
        status: (seen, signal) => this.#lenderOf(vm).status(vm.id, seen, signal),
        handshake: handshake.promise,
        onStage: (stage, atMs) => progress({ kind: "stage", stage, atMs }),
        now,
      }, AbortSignal.any([signal, lost.signal]));
      // As it stands there now: its lender may have moved meanwhile.
      const ready = { ...leases.get(vm.id) ?? vm, readyAt: now() };
      await leases.put(ready);
      this.#o.events.add({ event: "vm-ready", vm: vm.id, ms: now() - vm.since });
      return ready;
    } catch (error) {
      if (!lost.signal.aborted) {
        await this.#letGo(vm).catch((later: unknown) => {
          log.warning("Cannot tell {host} to end {vm}: {error}", {
            host: vm.host,
            vm: vm.id,
            error: messageOf(later),
          });
        });
      }
      throw error;
    } finally {
      this.#handshakes.delete(key);
      this.#starting.delete(vm.id);
    }
  }

  /**
   * Gives a VM back.
   *
   * @returns Whether its lender still had it.
   * @throws {OmertaError} When the lender cannot be told; here everything is removed all the same.
   */
  async release(nameOrId: string): Promise<{ readonly vm: BorrowedVm; readonly ended: boolean }> {
    const vm = this.find(nameOrId);
    const ended = await this.#letGo(vm);
    this.#o.events.add({ event: "vm-released", vm: vm.id });
    return { vm, ended };
  }

  /**
   * Waits until a VM is not borrowed any more, and gives it back as soon as `signal` aborts.
   *
   * @returns Why it is not borrowed any more.
   */
  hold(vm: Pick<BorrowedVm, "id">, signal: AbortSignal): Promise<string> {
    if (!this.#o.leases.get(vm.id)) return Promise.resolve("its lender has ended it");
    const ends = AbortSignal.any([signal, this.#stop.signal]);
    return this.#track(this.#held.hold(vm.id, ends, async () => {
      try {
        await this.release(vm.id);
      } catch (error) {
        log.warning("Cannot give {vm} back: {error}", { vm: vm.id, error: messageOf(error) });
      }
    }));
  }

  /**
   * Waits until a VM is not borrowed any more.
   *
   * @returns Why it is not.
   * @throws {OmertaError} `too-many-watchers`, or the reason of `signal`.
   */
  async whenGone(nameOrId: string, signal: AbortSignal): Promise<string> {
    const ends = AbortSignal.any([signal, this.#stop.signal]);
    return await this.#held.watch(this.find(nameOrId).id, ends);
  }

  /** Removes tunnel and lease, then tells the lender. @returns Whether it had the VM. */
  async #letGo(vm: BorrowedVm): Promise<boolean> {
    await this.#forget(vm, "it was given back");
    return await this.#lenderOf(vm).release(vm.id, this.#patience.signal);
  }

  async #forget(vm: BorrowedVm, reason: string): Promise<void> {
    this.#held.gone(vm.id, reason);
    await this.#o.leases.remove(vm.id);
    if (vm.dryRun) return;
    await this.#o.plane.removePeer(wireguardKeyOf(vm));
    await this.carried.gone(vm);
    await this.#o.knownHosts.write(this.list());
    await this.#o.end.setNames(this.list());
  }

  async #lost(id: string, reason: string): Promise<void> {
    const vm = this.#o.leases.get(id);
    if (!vm) return;
    await this.#forget(vm, reason);
    this.#starting.get(id)?.abort(
      new OmertaError(
        "vm-lost",
        `Cannot borrow VM "${vm.name}": its lender has ended it: ${reason}`,
        { exit: EXIT.refused },
      ),
    );
    this.#o.events.add({ event: "vm-lost", vm: id, name: vm.name, reason });
  }

  #lenderOf(vm: BorrowedVm): LenderClient {
    return new LenderClient(this.#o.control, {
      endpoint: endpointOf(vm),
      network: this.#keys.network(vm.network),
      machine: vm.machine,
    });
  }

  async #addPeer(vm: BorrowedVm): Promise<void> {
    const publicKey = wireguardKeyOf(vm);
    await this.#o.plane.addPeer({
      publicKey,
      presharedKey: presharedKeyOf(
        Uint8Array.fromHex(vm.network),
        publicKey,
        this.#o.identity.machineKey,
      ),
      endpoint: endpointOf(vm),
      allowedIps: [`${vm.address}/32`],
      keepaliveSeconds: KEEPALIVE_S,
    });
  }

  /** Stops requests that go on and waits until each has cleaned up. Leases stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#heartbeats[Symbol.dispose]();
    this.#stop.abort(new OmertaError("stopped", "Cannot finish the request: this node stops"));
    const timer = setTimeout(
      () =>
        this.#patience.abort(
          new OmertaError("stopped", "Cannot wait for the lender: this node stops"),
        ),
      STOPPING_MS,
    );
    try {
      await Promise.all(this.#requests);
    } finally {
      clearTimeout(timer);
    }
  }
}
