/**
 * How packets move between layers: a producer writes each one straight into the memory it will be
 * sent from, so that a packet is copied once and nothing is allocated for it.
 *
 * ```
 * const at = sink.reserve(size);      // room in sink.buffer, or -1: full, the packet is dropped
 * if (at < 0) return "no-room";
 * ...write at most `size` bytes to sink.buffer[at..]...
 * sink.commit(length);                // these bytes are one packet
 * ...
 * sink.flush();                       // once per burst: everything committed goes to the kernel
 * ```
 *
 * Between `reserve` and `commit` nothing else may touch the sink. `buffer` may be another array
 * after a `reserve`. A sink never throws on the packet path; what the kernel refuses is counted.
 * Nothing that it does leads back to its producer before `commit` and `flush` have returned: between
 * two stacks there is a queue, not the `inbound` of the other one.
 *
 * @module
 */

import type { Endpoint } from "./endpoint.ts";

/** Takes packets that need no address: a TUN device, a guest's cable, memory. */
export interface PacketSink {
  /** Where the reserved packet is written. */
  readonly buffer: Uint8Array;
  /** Makes room for one packet of at most `size` bytes; its offset in `buffer`, or -1 when full. */
  reserve(size: number): number;
  /** Takes `length` bytes from the reserved offset as one packet. */
  commit(length: number): void;
  /**
   * The same for a TCP packet without IP options, in whose checksum field stands no more than the sum
   * of its pseudo header, in the order of the machine: of a sink behind which somebody else makes the
   * rest of it, or nobody needs it, as in a kernel.
   */
  commitUnsummed?(length: number): void;
  /**
   * Takes a TCP packet of up to 64 KiB where it lies, whatever the MTU, and whatever its checksum: of a
   * sink that sends nothing on, such as a stack, for producers who know that nothing can have damaged
   * it. The bytes are the sink's during the call only; nothing must be reserved.
   */
  takeWhole?(buffer: Uint8Array, at: number, length: number): void;
  /** Hands everything committed so far to the kernel. */
  flush(): void;
}

/** Takes datagrams, each with the address it goes to. */
export interface DatagramSink {
  /** Where the reserved datagram is written. */
  readonly buffer: Uint8Array;
  /** Makes room for one datagram of at most `size` bytes; its offset in `buffer`, or -1 when full. */
  reserve(size: number): number;
  /** Takes `length` bytes from the reserved offset as one datagram for `to`. */
  commit(length: number, to: Endpoint): void;
  /** Hands everything committed so far to the kernel. */
  flush(): void;
}
