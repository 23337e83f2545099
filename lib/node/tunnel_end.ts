/**
 * This computer's end of the tunnels to borrowed VMs: an interface of the operating system where that
 * is allowed, and always the TCP/IP stack of this process, which needs no right at all.
 *
 * @module
 */

import type { Plane } from "../../net/plane/plane.ts";
import { OmertaError } from "../core/errors.ts";
import { logger } from "../core/log.ts";
import type { BorrowedVm } from "./lease_store.ts";
import { isSshBanner, readSshBanner } from "./ssh_banner.ts";
import { BORROWER_ADDRESS, TUNNEL_PREFIX_BITS } from "./tunnel_addresses.ts";

/** Name of the TUN device. */
export const TUN_NAME = "omerta0";
/** MTU inside the tunnel, in bytes. */
const TUN_MTU = 1400;
const SSH_PORT = 22;
/** How long one try may take to hear an SSH server by the stack, in ms. */
const TRY_MS = 5_000;

/** What opening a TUN device may fail with so that the stack does instead. */
const WITHOUT_DEVICE: ReadonlySet<string> = new Set([
  "tun-needs-root",
  "tun-missing",
  "interface-in-use",
]);

/** How the tunnels end here. */
export type TunnelEndState =
  | {
    /** Nothing was borrowed yet. */
    readonly kind: "none";
  }
  | {
    /** There is an interface. */
    readonly kind: "device";
    /** Its name. */
    readonly name: string;
  }
  | {
    /** There is only the stack. */
    readonly kind: "userspace";
    /** Why there is no interface. */
    readonly why: string;
  };

const log = logger("borrower");

/** What of the data plane it uses. */
export type TunnelPlane = Pick<
  Plane,
  "openStack" | "openTun" | "openProxy" | "setNames" | "greeting"
>;

/** The end of the tunnels. */
export class TunnelEnd {
  readonly #plane: TunnelPlane;
  readonly #pipe: string;
  #stack: Promise<void> | undefined;
  #state: TunnelEndState = { kind: "none" };
  #opening: Promise<void> | undefined;

  /**
   * Nothing is open yet.
   *
   * @param pipe Path of the unix socket by which programs reach the ports of VMs.
   */
  constructor(plane: TunnelPlane, pipe: string) {
    this.#plane = plane;
    this.#pipe = pipe;
  }

  /** How it is. */
  get state(): TunnelEndState {
    return this.#state;
  }

  /**
   * Opens it unless it is open. A device that was refused is tried again by the next call: a node that
   * only lends needs none, and the right to it may come.
   *
   * @throws {OmertaError} When the data plane has failed, or a device cannot be set up.
   */
  open(): Promise<void> {
    if (this.#state.kind === "device") return Promise.resolve();
    this.#opening ??= this.#open().finally(() => this.#opening = undefined);
    return this.#opening;
  }

  /**
   * Opens only the stack, for what needs no interface, unless it is open.
   *
   * @throws {OmertaError} When the data plane has failed.
   */
  openStack(): Promise<void> {
    this.#stack ??= this.#openStack();
    this.#stack.catch(() => this.#stack = undefined);
    return this.#stack;
  }

  /** Makes names lead to VMs: NAME, NAME.omerta, and the id. */
  async setNames(vms: readonly Pick<BorrowedVm, "id" | "name" | "address" | "dryRun">[]): Promise<
    void
  > {
    await this.#plane.setNames(
      vms.filter(({ dryRun }) => !dryRun).flatMap(({ id, name, address }) =>
        [name, `${name}.omerta`, id].map((word) => [word, address] as const)
      ),
    );
  }

  /**
   * Asks the SSH server at an address who it is, by the way that ssh will go.
   *
   * @returns The line, or undefined when there was none in time.
   */
  async sshBanner(address: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#state.kind === "device") return await readSshBanner(address, SSH_PORT, signal);
    try {
      const line = await this.#plane.greeting(address, SSH_PORT, TRY_MS);
      return line !== undefined && isSshBanner(line) ? line : undefined;
    } catch (error) {
      // There may be room for one more connection the next time.
      if (error instanceof OmertaError && error.code === "greeting-failed") return undefined;
      throw error;
    }
  }

  async #openStack(): Promise<void> {
    await this.#plane.openStack(BORROWER_ADDRESS, TUN_MTU);
    await this.#plane.openProxy("pipe", { kind: "pipe", path: this.#pipe });
  }

  async #open(): Promise<void> {
    await this.openStack();
    try {
      await this.#plane.openTun({
        name: TUN_NAME,
        address: `${BORROWER_ADDRESS}/${TUNNEL_PREFIX_BITS}`,
        mtu: TUN_MTU,
      });
      this.#state = { kind: "device", name: TUN_NAME };
    } catch (error) {
      if (!(error instanceof OmertaError) || !WITHOUT_DEVICE.has(error.code)) throw error;
      if (this.#state.kind === "none") {
        log.info("Going on without an interface: {why}", { why: error.message });
      }
      this.#state = { kind: "userspace", why: error.message };
    }
  }
}
