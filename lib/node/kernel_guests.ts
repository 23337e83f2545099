/**
 * Guests in mode `ebpf`: each has a TAP that QEMU makes, a filter in the kernel in front of it, and
 * nothing in this process but the counters' reader.
 *
 * @module
 */

import { type GuestLink, guestLink } from "../../net/filter/guest_link.ts";
import { KernelFilter, KernelPrograms } from "../../net/filter/ebpf/kernel_filter.ts";
import { rehearseInKernel } from "../../net/filter/ebpf/kernel_rehearsal.ts";
import type { RefusedFrame } from "../../net/filter/refusals.ts";
import type { RehearsedFrame } from "../../net/filter/rehearsal.ts";
import type { RogueAlarm } from "../../net/filter/rogue.ts";
import { countsByReason } from "../../net/filter/verdict.ts";
import type { Endpoint } from "../../net/os/endpoint.ts";
import { type KernelUplink, kernelUplink, sameUplink } from "../../net/os/uplink_linux.ts";
import type { Plane, PlaneGuest, PlaneGuestStats } from "../../net/plane/plane.ts";
import { parseMac } from "../../net/wire/ethernet.ts";
import { mac1Key } from "../../net/wireguard/mac1.ts";
import { messageOf, OmertaError } from "../core/errors.ts";
import { logger } from "../core/log.ts";
import type { GuestNetwork } from "./guest_network.ts";
import { checkHost, modeImpossible, ownerName } from "./kernel_host.ts";
import { KernelWatch } from "./kernel_watch.ts";

/** How often routes and counters are looked at, in ms. */
const POLL_MS = 5_000;
const log = logger("kernel");

/** What {@link KernelGuests} needs. */
export interface KernelGuestsOptions {
  /** The node's UDP port. */
  readonly nodePort: number;
  /** Tells the packet thread of a guest, or that it is gone; see `Plane.setKernelGuest`. */
  readonly setKernelGuest: Plane["setKernelGuest"];
  /** Hears, at a bounded rate, of refused frames: `count` of them for the same reason. */
  readonly onRefused: (id: string, reason: string, count: number, last: string) => void;
  /** Hears that a guest is called rogue. */
  readonly onRogue: (id: string, alarm: RogueAlarm) => void;
}

/** How the names of the VMs' TAPs begin. */
export const TAP_PREFIX = "om-";

/** Name of the TAP of a VM: 15 characters are the most that the kernel takes. */
export function tapName(id: string): string {
  return `${TAP_PREFIX}${id.slice(0, 12)}`;
}

/** Guests whose packets the kernel filters and forwards. */
export class KernelGuests implements GuestNetwork, Disposable {
  readonly #options: KernelGuestsOptions;
  readonly #guests = new Map<string, Entry>();
  readonly #timer: ReturnType<typeof setInterval>;

  /** No guests. */
  constructor(options: KernelGuestsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.poll().catch((error: unknown) => {
        log.error("Cannot look at the kernel's filters: {error}", { error: messageOf(error) });
      });
    }, POLL_MS);
  }

  /**
   * Looks whether this host can filter in the kernel, by having it check the programs, and forward to
   * this borrower.
   *
   * @throws {OmertaError} `mode-impossible`, `uplink-impossible`.
   */
  check(uplink: Endpoint): void {
    checkHost();
    try {
      const options = { link: guestLink(), mac1Key: new Uint8Array(32), tapIndex: 1 };
      new KernelPrograms({ ...options, nodePort: this.#options.nodePort })[Symbol.dispose]();
    } catch (error) {
      throw modeImpossible(messageOf(error));
    }
    kernelUplink(uplink);
  }

  /** Remembers a guest; there is nothing to guard before its hypervisor runs. */
  addGuest(guest: PlaneGuest): Promise<void> {
    this.#guests.set(guest.id, { guest, uplink: guest.uplink, watch: this.#watch(guest) });
    return Promise.resolve();
  }

  /** Guards the TAP that the hypervisor has made, and brings it up. */
  async hypervisorRuns(id: string): Promise<void> {
    const entry = this.#guest(id);
    const { guest } = entry;
    await this.#close(entry);
    entry.filter = new KernelFilter({
      link: linkOf(guest),
      mac1Key: mac1Key(guest.publicKey),
      nodePort: this.#options.nodePort,
      tap: tapName(id),
      owner: await ownerName(),
    });
    entry.watch = this.#watch(guest);
    await this.#route(entry);
  }

  /** Changes where a guest's tunnel goes; nowhere, when the kernel cannot forward there. */
  async setUplink(id: string, uplink: Endpoint): Promise<void> {
    const entry = this.#guest(id);
    entry.uplink = uplink;
    await this.#route(entry);
  }

  /** Takes a guest off its uplink. Its TAP stays guarded until its hypervisor ends. */
  async removeGuest(id: string): Promise<void> {
    const entry = this.#guests.get(id);
    this.#guests.delete(id);
    if (entry !== undefined) await this.#close(entry);
  }

  async #close(entry: Entry): Promise<void> {
    const { filter } = entry;
    delete entry.filter;
    entry.way = undefined;
    if (filter === undefined) return;
    using _closed = filter;
    await this.#options.setKernelGuest(entry.guest.id, undefined);
  }

  /** What was counted, in the words of the packet thread. */
  stats(): PlaneGuestStats[] {
    return [...this.#guests.values()].flatMap((entry) => {
      const { guest, uplink, filter, watch } = entry;
      if (filter === undefined) return [];
      this.#look(entry);
      const { fromGuest, fromUplink, bytesToUplink, bytesToGuest } = filter.counters();
      return [{
        id: guest.id,
        uplink: String(uplink),
        mode: "ebpf" as const,
        unjudged: 0,
        bytesToUplink,
        bytesToGuest,
        fromGuest: countsByReason(fromGuest),
        fromUplink: countsByReason(fromUplink),
        sessionFromGuestMs: watch.fromGuestMs || undefined,
        sessionToGuestMs: watch.toGuestMs || undefined,
      }];
    });
  }

  /** The last refused frames of a guest, oldest first; undefined when it is not here. */
  refused(id: string): readonly RefusedFrame[] | undefined {
    return this.#guests.get(id)?.filter?.refused();
  }

  /** What would become of frames from a guest's TAP; undefined when it is not here. */
  rehearse(id: string, frames: readonly Uint8Array[]): RehearsedFrame[] | undefined {
    const { guest, filter, way, uplink } = this.#guests.get(id) ?? {};
    if (guest === undefined || filter === undefined || uplink === undefined) return undefined;
    return rehearseInKernel({
      ...{ link: linkOf(guest), mac1Key: mac1Key(guest.publicKey), tapIndex: filter.tapIndex },
      ...{ nodePort: this.#options.nodePort, way, uplink },
    }, frames);
  }

  #watch(guest: PlaneGuest): KernelWatch {
    const { onRefused, onRogue } = this.#options;
    const { id } = guest;
    return new KernelWatch({
      link: linkOf(guest),
      limits: guest.rogue,
      onRefused: (reason, count, last) => onRefused(id, reason, count, last),
      onRogue: (alarm) => onRogue(id, alarm),
    });
  }

  /** Follows changes of routes, and tells of refused frames; called every few seconds. */
  async poll(): Promise<void> {
    for (const entry of this.#guests.values()) {
      if (entry.filter === undefined) continue;
      const hadWay = entry.way !== undefined;
      try {
        await this.#route(entry);
      } catch (error) {
        // Told once, not at every look.
        if (hadWay) {
          log.warning("Cannot forward for {vm}: {error}", {
            vm: entry.guest.id,
            error: messageOf(error),
          });
        }
      }
      this.#look(entry);
    }
  }

  #look({ filter, watch }: Entry): void {
    if (filter === undefined) return; // it may have been removed meanwhile
    watch.look(filter.counters(), () => filter.refused(), Date.now());
  }

  async #route(entry: Entry): Promise<void> {
    const { filter, guest, uplink } = entry;
    if (filter === undefined) return;
    let way: KernelUplink;
    try {
      way = kernelUplink(uplink);
      if (entry.way !== undefined && sameUplink(entry.way, way)) return;
      filter.setUplink(way);
      entry.way = way;
    } catch (error) {
      entry.way = undefined;
      filter.setUplink(undefined);
      throw error;
    }
    await this.#options.setKernelGuest(guest.id, {
      programFd: filter.fromUplinkFd,
      tapIndex: filter.tapIndex,
      uplink,
      hostAddress: way.hostAddress,
    });
  }

  #guest(id: string): Entry {
    const entry = this.#guests.get(id);
    if (entry !== undefined) return entry;
    throw new OmertaError("no-such-guest", `Cannot find guest ${id}`);
  }

  /** Takes all guests off their uplinks. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const { filter } of this.#guests.values()) filter?.[Symbol.dispose]();
    this.#guests.clear();
  }
}

function linkOf({ mac }: PlaneGuest): GuestLink {
  const guestMac = parseMac(mac);
  if (guestMac === undefined) throw new RangeError(`Cannot use MAC address ${mac}`);
  return guestLink({ guestMac });
}

interface Entry {
  readonly guest: PlaneGuest;
  /** Where its tunnel goes. */
  uplink: Endpoint;
  /** How the kernel gets there; undefined while it does not. */
  way?: KernelUplink | undefined;
  /** What is made of its counters. */
  watch: KernelWatch;
  /** There as soon as its hypervisor is. */
  filter?: KernelFilter;
}
