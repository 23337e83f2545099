/**
 * What a stack asks of the protocols above IP. TCP is one; UDP and ping are added in the same way,
 * with `Stack.register`.
 *
 * @module
 */

import type { IpAddress } from "./address.ts";
import type { IpPacket } from "./ip_in.ts";

/** What an ICMP error says of a packet of ours; valid during the call. */
export interface IcmpError {
  /** What happened. */
  readonly kind: "unreachable" | "too-big" | "time-exceeded";
  /** The ICMP code: 2 and 3 of "unreachable" are protocol and port. */
  readonly code: number;
  /** Largest packet that the path takes, in bytes, as claimed; 0: not said. */
  readonly mtu: number;
  /** Source of the packet: us. */
  readonly local: IpAddress;
  /** Its destination. */
  readonly remote: IpAddress;
  /** What the message lies in. */
  readonly view: DataView;
  /** Offset of the first 8 bytes of the packet's payload: ports, and TCP's sequence number. */
  readonly at: number;
}

/** A protocol above IP. */
export interface Protocol {
  /** Takes a packet; it is valid during the call. Never throws. */
  input(packet: IpPacket, now: number): void;
  /** Hears that a packet of ours did not arrive. Never throws. */
  error?(error: IcmpError, now: number): void;
  /**
   * Whether something here takes what these exchange; of ICMP the port of ours is the identifier of an
   * echo, and that of theirs 0.
   */
  owns?(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): boolean;
  /** A batch has ended: tells its owners and sends. */
  flush?(now: number): void;
  /** Looks at its timers; when to be called again, in ms; Infinity: never. */
  tick?(now: number): number;
}
