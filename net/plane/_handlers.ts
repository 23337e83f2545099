/**
 * Keeps what a plane tells, for tests.
 *
 * @module
 */

import type { OmertaError } from "../../lib/core/errors.ts";
import type { Endpoint } from "../os/endpoint.ts";
import type { PlaneHandlers } from "./plane.ts";

/** Keeps every event. */
export class Recorder implements PlaneHandlers {
  /** Control datagrams, hex, with their senders. */
  readonly control: { datagram: string; from: string }[] = [];
  /** `handshake <key>` and `roamed <key>`. */
  readonly peers: string[] = [];
  /** Refusals. */
  readonly refusals: { id: string; reason: string; count: number }[] = [];
  /** Violations, `<id>: <reason>`. */
  readonly violations: string[] = [];
  /** Alarms, `<id>: <kind>: <frame>`. */
  readonly alarms: string[] = [];
  /** Failures of the thread. */
  readonly failures: OmertaError[] = [];

  /** See {@link PlaneHandlers.onControl}. */
  onControl(datagram: Uint8Array, from: Endpoint): void {
    this.control.push({ datagram: datagram.toHex(), from: from.toString() });
  }
  /** See {@link PlaneHandlers.onPeer}. */
  onPeer(event: Parameters<PlaneHandlers["onPeer"]>[0]): void {
    this.peers.push(`${event.kind} ${event.publicKey.toBase64()} ${event.endpoint}`);
  }
  /** See {@link PlaneHandlers.onGuest}. */
  onGuest(event: Parameters<PlaneHandlers["onGuest"]>[0]): void {
    const { id } = event;
    if (event.kind === "rogue") {
      this.alarms.push(`${id}: ${event.alarm.kind}: ${event.alarm.frame}`);
      return;
    }
    const { reason } = event;
    if (event.kind === "violation") this.violations.push(`${id}: ${reason}`);
    else this.refusals.push({ id, reason, count: event.count });
  }
  /** See {@link PlaneHandlers.onFailed}. */
  onFailed(error: OmertaError): void {
    this.failures.push(error);
  }
}
