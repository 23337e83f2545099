/**
 * A filter between two memories, spoken to in frames and words.
 *
 * @module
 */

import { FilteredNat, type RefusalListener } from "../../net/filter/filtered_nat.ts";
import { guestLink } from "../../net/filter/guest_link.ts";
import { type FilterStrategy, FullStrategy } from "../../net/filter/strategy.ts";
import { REASONS } from "../../net/filter/verdict.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { formatFrame } from "../../net/wire/format.ts";
import { MemoryDatagramSink, MemoryPacketSink } from "./memory_sink.ts";

/** An endpoint, for a test that knows that it parses. */
export function endpoint(address: string, port: number): Endpoint {
  const made = Endpoint.of(address, port);
  if (made === undefined) throw new Error(`Cannot use ${address} port ${port} as an endpoint`);
  return made;
}

/** Where the tunnel of a {@link FilterBench} goes. */
export const BORROWER: Endpoint = endpoint("203.0.113.7", 51999);
/** Somebody else, at the same port. */
export const STRANGER: Endpoint = endpoint("203.0.113.8", 51999);

/** A filter between two memories. */
export class FilterBench {
  /** What was sent to the uplink. */
  readonly toUplink: MemoryDatagramSink;
  /** What was sent to the guest. */
  readonly toGuest: MemoryPacketSink;
  /** The filter. */
  readonly nat: FilteredNat;
  /** Each refused frame of the guest: `port: UDP 192.168.100.2:40000 > ...`. */
  readonly refused: string[] = [];
  /** Each violation that the guest was cut off for, in the same words. */
  readonly violations: string[] = [];

  /**
   * A filter for the usual link; each sink is full after `capacity` packets. Without a strategy
   * every frame is judged.
   */
  constructor(
    uplink: Endpoint | undefined = BORROWER,
    capacity = 1024,
    strategy: FilterStrategy = new FullStrategy(),
  ) {
    this.toUplink = new MemoryDatagramSink({ capacity });
    this.toGuest = new MemoryPacketSink({ capacity });
    const noteIn = (list: string[]): RefusalListener => (verdict, buffer, at, length) => {
      list.push(`${REASONS[verdict]}: ${formatFrame(buffer, at, length)}`);
    };
    const { toUplink, toGuest } = this;
    this.nat = new FilteredNat({
      ...{ guest: guestLink(), uplink, toUplink, toGuest },
      onRefused: noteIn(this.refused),
      onViolation: noteIn(this.violations),
      strategy,
    });
  }

  /** Sends a frame from the middle of a dirty buffer; the word for the verdict. */
  fromGuest(frame: Uint8Array): string {
    const buffer = new Uint8Array(frame.length + 9).fill(0xa5);
    buffer.set(frame, 5);
    return REASONS[this.nat.fromGuest(buffer, 5, frame.length)] ?? "";
  }

  /** Sends a datagram of `from` in the same way; the word for the verdict. */
  fromUplink(payload: Uint8Array, from: Endpoint = BORROWER): string {
    const buffer = new Uint8Array(payload.length + 9).fill(0xa5);
    buffer.set(payload, 5);
    const names = new Uint8Array(64).fill(0xa5);
    names.set(from.sockaddr, 28);
    return REASONS[this.nat.fromUplink(buffer, 5, payload.length, names, 28)] ?? "";
  }
}
