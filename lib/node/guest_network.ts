/**
 * What carries a guest's packets: the packet thread, or the kernel.
 *
 * @module
 */

import type { Endpoint } from "../../net/os/endpoint.ts";
import type { PlaneGuest } from "../../net/plane/plane.ts";

/** A way to connect guests to their borrowers; `Plane` is one. */
export interface GuestNetwork {
  /**
   * Looks whether a guest can be connected to a borrower who is there; one that has no `check` can
   * always.
   *
   * @throws {OmertaError} What is missing; told to the borrower.
   */
  check?(uplink: Endpoint): void;
  /** Takes a guest, before its hypervisor is started. */
  addGuest(guest: PlaneGuest): Promise<void>;
  /**
   * Connects a guest whose hypervisor runs from now on, perhaps for the second time. Where the
   * hypervisor needs something made by it to be guarded, the guest has no network before.
   */
  hypervisorRuns?(id: string): Promise<void>;
  /** Changes where a guest's tunnel goes. */
  setUplink(id: string, uplink: Endpoint): Promise<void>;
  /** Lets nothing more of a guest through; nothing when there is none. */
  removeGuest(id: string): Promise<void>;
}
