/**
 * What a borrower can ask a lender.
 *
 * @module
 */

import type { z } from "zod";
import type { Stage } from "../../vm/stages.ts";
import type { NetworkKey } from "../../net/mesh/envelope.ts";
import type { Endpoint } from "../../net/os/endpoint.ts";
import type { Control } from "./control.ts";
import {
  CHANNEL,
  PingAnswer,
  VmAccepted,
  VmList,
  VmReleased,
  type VmRequest,
  VmStatus,
} from "./messages.ts";

/** How long a lender may take to end a VM, in ms: a guest is asked to shut down first. */
const RELEASE_TIMEOUT_MS = 45_000;
/** How long a lender that is asked to end a VM may take to show that it is there, in ms. */
const PING_TIMEOUT_MS = 5_000;

/** Where a lender is and how it is known. */
export interface LenderIdentity {
  /** Address and port. */
  readonly endpoint: Endpoint;
  /** The network shared with it. */
  readonly network: NetworkKey;
  /** Hex of its machine key, where it is known: nobody else may answer then. */
  readonly machine?: string;
}

/** One lender, as a borrower sees it. */
export class LenderClient {
  readonly #control: Control;
  readonly #lender: LenderIdentity;

  /** A lender that is asked through `control`. */
  constructor(control: Control, lender: LenderIdentity) {
    this.#control = control;
    this.#lender = lender;
  }

  /** Whether it is there and lends, and the hex of its machine key. */
  async ping(
    options: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
  ): Promise<z.infer<typeof PingAnswer> & { readonly machine: string }> {
    const { body, machine } = await this.#control.ask({
      ...this.#to(CHANNEL.ping, {}, PingAnswer),
      ...options,
    });
    return { ...body, machine };
  }

  /**
   * Asks for a VM. Nothing aborts this: whoever gives up afterwards must know what was promised, to
   * give it back.
   */
  async request(request: VmRequest): Promise<VmAccepted> {
    return (await this.#control.ask(this.#to(CHANNEL.request, request, VmAccepted))).body;
  }

  /** How far a VM is; `seen` are the stages that only the borrower can see. */
  async status(vmId: string, seen: readonly Stage[], signal: AbortSignal): Promise<VmStatus> {
    const asked = this.#to(CHANNEL.status, { vmId, seen }, VmStatus);
    return (await this.#control.ask({ ...asked, signal })).body;
  }

  /**
   * Gives a VM back; a lender that is not there is not waited for long.
   *
   * @param signal Ends the waiting for its answer, with its reason.
   * @returns Whether it had it.
   */
  async release(vmId: string, signal: AbortSignal): Promise<boolean> {
    await this.ping({ timeoutMs: PING_TIMEOUT_MS, signal });
    const asked = this.#to(CHANNEL.release, { vmId }, VmReleased);
    return (await this.#control.ask({ ...asked, timeoutMs: RELEASE_TIMEOUT_MS, signal })).body
      .ended;
  }

  /** Says which VMs are still used. @returns Those of them that still run. */
  async heartbeat(vms: readonly string[]): Promise<string[]> {
    return (await this.#control.ask(this.#to(CHANNEL.heartbeat, { vms }, VmList))).body.vms;
  }

  #to<Answer>(channel: string, body: unknown, answer: z.ZodType<Answer>): {
    readonly channel: string;
    readonly body: unknown;
    readonly answer: z.ZodType<Answer>;
    readonly to: Endpoint;
    readonly network: NetworkKey;
    readonly machine?: string;
  } {
    const { endpoint, network, machine } = this.#lender;
    return { channel, body, answer, to: endpoint, network, ...(machine ? { machine } : {}) };
  }
}
