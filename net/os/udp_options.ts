/**
 * What both implementations of a UDP socket take, and the error both give for a port that is taken.
 *
 * @module
 */

import { OmertaError } from "../../lib/core/errors.ts";

/** Settings of a UDP socket. */
export interface UdpOptions {
  /** Port to bind; 0 picks a free one. */
  readonly port: number;
  /** Address literal to bind. @default {every address of both families} */
  readonly address?: string;
}

/** The error for a port that somebody else has. */
export function portInUse(port: number, cause?: unknown): OmertaError {
  return new OmertaError(
    "port-in-use",
    `Cannot listen on UDP port ${port}: another program uses it`,
    {
      next:
        `Stop the other program ("ss -ulpn sport = :${port}" names it), or choose another port with --port`,
      ...(cause === undefined ? {} : { cause }),
    },
  );
}
