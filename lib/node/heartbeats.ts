/**
 * A borrower's heartbeats: every lender hears each minute which VMs are still used, and at once when
 * its tunnels send and hear nothing, which is what happens when this computer has another address.
 *
 * @module
 */

import { messageOf } from "../core/errors.ts";
import { type EventLog, logger } from "../core/log.ts";
import type { PlaneStats } from "../../net/plane/plane.ts";
import type { LenderClient } from "./lender_client.ts";
import type { BorrowedVm } from "./lease_store.ts";
import { HEARTBEAT_MS, MAX_HEARTBEAT_VMS } from "./messages.ts";
import { SilentTunnels } from "./silent_tunnels.ts";

/** How often tunnels that hear nothing are looked for, in ms. */
const LOOK_MS = 5_000;

const log = logger("borrower");

/** What {@link Heartbeats} needs. */
export interface HeartbeatsOptions {
  /** What is borrowed. */
  readonly vms: () => readonly BorrowedVm[];
  /** Counters of the tunnels. */
  readonly stats: () => Promise<Pick<PlaneStats, "peers">>;
  /** The lender of a VM. */
  readonly lenderOf: (vm: BorrowedVm) => Pick<LenderClient, "heartbeat">;
  /** Hears of a VM that its lender does not have any more. */
  readonly onLost: (id: string, reason: string) => Promise<void>;
  /** Where `lender-silent` and `lender-back` go. */
  readonly events: Pick<EventLog, "add">;
}

/** Heartbeats to all lenders, until disposed of. */
export class Heartbeats implements Disposable {
  readonly #o: HeartbeatsOptions;
  readonly #timers: readonly ReturnType<typeof setInterval>[];
  readonly #tunnels = new SilentTunnels();
  /** Lenders that a heartbeat is under way to, by machine. */
  readonly #beating = new Set<string>();
  /** Lenders that did not answer the last one, by machine. */
  readonly #silent = new Set<string>();
  #ended = false;

  /** Begins; the first heartbeat is a minute away. */
  constructor(options: HeartbeatsOptions) {
    this.#o = options;
    this.#timers = [
      setInterval(() => void this.beat(), HEARTBEAT_MS),
      setInterval(() => void this.look(), LOOK_MS),
    ];
  }

  /** Whether the lender of a VM did not answer when it was asked last. */
  isSilent(vm: Pick<BorrowedVm, "machine">): boolean {
    return this.#silent.has(vm.machine);
  }

  /**
   * Tells lenders which VMs are still used, and learns which are gone.
   *
   * @param wanted Which lenders, by machine. @default {all of them}
   */
  async beat(wanted: (machine: string) => boolean = () => true): Promise<void> {
    const vms = this.#o.vms();
    const machines = new Set(vms.map(({ machine }) => machine));
    for (const machine of this.#silent) if (!machines.has(machine)) this.#silent.delete(machine);
    await Promise.all(
      [...machines].filter((machine) => wanted(machine) && !this.#beating.has(machine))
        .map((machine) => this.#beatFor(machine, vms.filter((vm) => vm.machine === machine))),
    );
  }

  /**
   * Has the lenders of tunnels that hear nothing told where this computer is, and asks those again
   * that did not answer.
   */
  async look(): Promise<void> {
    const keys = new Set(this.#o.vms().map((vm) => vm.wireguardKey));
    if (keys.size === 0) return;
    try {
      const { peers } = await this.#o.stats();
      const silent = this.#tunnels.look(peers.filter(({ publicKey }) => keys.has(publicKey)));
      const machines = new Set(
        this.#o.vms().filter((vm) => silent.includes(vm.wireguardKey)).map((vm) => vm.machine),
      );
      const wanted = (machine: string): boolean => {
        return machines.has(machine) || this.#silent.has(machine);
      };
      await this.beat(wanted);
    } catch (error) {
      log.warning("Cannot look at the tunnels: {error}", { error: messageOf(error) });
    }
  }

  async #beatFor(machine: string, vms: readonly BorrowedVm[]): Promise<void> {
    this.#beating.add(machine);
    const host = vms[0]?.host ?? "";
    try {
      for (let i = 0; i < vms.length; i += MAX_HEARTBEAT_VMS) {
        await this.#tell(vms.slice(i, i + MAX_HEARTBEAT_VMS));
      }
      if (this.#silent.delete(machine)) this.#o.events.add({ event: "lender-back", host });
    } catch (error) {
      if (this.#silent.has(machine) || this.#ended) return; // said already
      this.#silent.add(machine);
      log.warning("No heartbeat to {host}: {error}", { host, error: messageOf(error) });
      this.#o.events.add({ event: "lender-silent", host, reason: messageOf(error) });
    } finally {
      this.#beating.delete(machine);
    }
  }

  async #tell(vms: readonly BorrowedVm[]): Promise<void> {
    const first = vms[0];
    if (!first) return;
    const alive = await this.#o.lenderOf(first).heartbeat(vms.map(({ id }) => id));
    for (const { id } of vms) {
      if (!alive.includes(id)) await this.#o.onLost(id, "its lender does not have it any more");
    }
  }

  /** Ends them. */
  [Symbol.dispose](): void {
    this.#ended = true;
    for (const timer of this.#timers) clearInterval(timer);
  }
}
