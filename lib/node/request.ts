/**
 * What a VM is asked for with, and what is told while it comes up.
 *
 * @module
 */

import type { Stage } from "../../vm/stages.ts";
import type { VmAccepted, VmMode } from "./messages.ts";

/** What a VM is asked for with. */
export interface RequestOptions {
  /** The lender: address or name, with or without a port. */
  readonly provider: string;
  /** Name of the VM. */
  readonly name: string;
  /** Virtual processors. */
  readonly cpus: number;
  /** Memory in MiB. */
  readonly memoryMiB: number;
  /** Disk in GiB. */
  readonly diskGiB: number;
  /** An image of the lender's. */
  readonly image?: string | undefined;
  /** The VM ends by itself after this, in seconds. */
  readonly ttlSeconds?: number | undefined;
  /** Time from the request to ready, in ms. */
  readonly timeoutMs?: number | undefined;
  /** How closely the lender looks at its network. @default {"filtered"} */
  readonly mode?: VmMode | undefined;
  /** Whether to wait until it is ready; if not, it comes up in the background. */
  readonly wait: boolean;
  /** Go the whole way, but start nothing. */
  readonly dryRun: boolean;
}

/** What is told while a VM comes up. */
export type RequestProgress =
  | {
    /** The lender has answered. */
    readonly kind: "reachable";
    /** Address and port of the lender. */
    readonly endpoint: string;
    /** Time to its answer, in ms. */
    readonly latencyMs: number;
  }
  | {
    /** The lender lends; the VM is on its way. */
    readonly kind: "accepted";
    /** Id of the VM. */
    readonly id: string;
    /** What runs it there. */
    readonly accelerator: VmAccepted["accelerator"];
  }
  | {
    /** A stage was reached. */
    readonly kind: "stage";
    /** Which. */
    readonly stage: Stage;
    /** When, in ms since the request. */
    readonly atMs: number;
  };
