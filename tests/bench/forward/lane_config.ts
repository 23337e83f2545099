/**
 * What the load generator has to know about a forwarder: plain data, handed to it as JSON.
 *
 * @module
 */

import type { UnixKind } from "./message_wire.ts";

/** The programs that carry a guest's frames. */
export type ForwarderName = "omerta" | "passt" | "slirp4netns";

/** One way from a guest's cable through a forwarder to a UDP port, and back. */
export interface LaneConfig {
  /** The program in the middle. */
  readonly forwarder: ForwarderName;
  /** Its process id. */
  readonly pid: number;
  /** Kind of its cable. */
  readonly kind: UnixKind;
  /** Path of the forwarder's end of the cable. */
  readonly peer: string;
  /** Path of the guest's end; none where the forwarder needs none. */
  readonly local?: string;
  /** Whom the guest's frames are for, 48 bits. */
  readonly gatewayMac: number;
  /** IPv4 address of the gateway, which ARP finds. */
  readonly gatewayAddress: number;
  /** IPv4 address of the guest. */
  readonly guestAddress: number;
  /** IPv4 address that the guest sends to. */
  readonly destination: number;
  /** UDP port that the guest sends to. */
  readonly destinationPort: number;
  /** UDP port at the far end. */
  readonly sinkPort: number;
  /** Whether the far end uses segmentation offload. */
  readonly offload: boolean;
}
