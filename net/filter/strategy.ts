/**
 * How closely a guest's frames are looked at, and what a refused one leads to: one strategy for each
 * mode of a VM. A strategy is a machine without I/O that stands in front of the rules of
 * filtered_nat.ts: it is asked whether a frame may pass unjudged, and afterwards what to do about
 * the verdict.
 *
 * ```
 *   frame --> passesUnjudged() -- yes ------------------------> forwarded
 *                    |
 *                    no --> the rules --> verdict --> act() --> forward, drop or terminate
 * ```
 *
 * | mode        | judged in full                                | a violation  |
 * | ----------- | --------------------------------------------- | ------------ |
 * | `filtered`  | every frame                                   | is dropped   |
 * | `conntrack` | the first frame of a flow, and what is no flow | ends the VM |
 * | `sampled`   | a share of the frames                         | ends the VM  |
 *
 * What a violation is stands in violation.ts. The allowlist is consulted by the rules only, so a
 * frame that passes unjudged does not touch it; when the list changes, the flow is forgotten by
 * {@link FilteredNat} and the next frame is judged in full.
 *
 * ## What passes unjudged, and what that may leak
 *
 * In every mode a payload goes to one place, the uplink: the borrower's endpoint, in a datagram with
 * headers of this host's making. So no mode lets a guest reach the internet, the lender's network,
 * the host or another guest; what a mode lets through is *content*, to the borrower alone. Of an
 * unjudged frame it is always checked that it lies in the buffer and has 74 to 1514 bytes (the
 * shortest WireGuard message up to the longest frame), that it is IPv4 with a plain header, and UDP.
 * All else is judged in full in every mode: ARP, IPv6, ICMP, TCP, other EtherTypes.
 *
 * - `filtered`: nothing passes unjudged.
 * - `conntrack`: a frame with the source address, destination address, source port and destination
 *   port of the last frame that passed the rules. Not checked: both MAC addresses, the two length
 *   fields, the header checksum, fragment flags, and the shape of a WireGuard message. So a guest
 *   that once spoke WireGuard can send bytes of its choice to the borrower's port from the lender's.
 * - `sampled`: a frame that has the source port of the last frame that passed the rules and is not
 *   in the sample. Not checked besides: both addresses. So a datagram for a stranger from that port,
 *   when it is not in the sample, is not noticed; its payload goes to the borrower's port instead. Of n such datagrams
 *   at least one is noticed with a probability of 1 - (1 - rate)^n: at the default rate, 63 %
 *   for a hundred. Before the first good frame everything is judged.
 *
 * @module
 */

import { readU16, readU32 } from "../wire/bytes.ts";
import { ETH_HEADER_LEN, ETH_MAX_LEN, ETH_TYPE, ETHERTYPE } from "../wire/ethernet.ts";
import {
  IPV4_DESTINATION,
  IPV4_HEADER_LEN,
  IPV4_PLAIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  PROTOCOL,
} from "../wire/ipv4.ts";
import { UDP_HEADER_LEN, UDP_SOURCE_PORT } from "../wire/udp.ts";
import { isRefusal, type Verdict } from "./verdict.ts";
import { isViolation } from "./violation.ts";

/** The modes of a guest's cable. */
export const FILTER_MODES = ["filtered", "conntrack", "sampled"] as const;
/** One of {@link FILTER_MODES}. */
export type FilterMode = (typeof FILTER_MODES)[number];
/** Share of the frames that mode `sampled` judges when none is given. */
export const DEFAULT_SAMPLE_RATE = 0.01;

/** What to do about a frame. */
export const ACTION = {
  /** It was forwarded, or answered. */
  forward: 0,
  /** It is gone, and that is all. */
  drop: 1,
  /** It is gone, and the guest must be too. */
  terminate: 2,
} as const;
/** One of {@link ACTION}. */
export type Action = (typeof ACTION)[keyof typeof ACTION];

const IP = ETH_HEADER_LEN;
const UDP = IP + IPV4_HEADER_LEN;
/** A frame with the shortest WireGuard message: transport data without data. */
const MIN_LEN = UDP + UDP_HEADER_LEN + 32;

/** How closely one guest's frames are looked at. Nothing here throws or allocates. */
export interface FilterStrategy {
  /** The mode. */
  readonly mode: FilterMode;
  /** Whether the frame of `length` bytes at `at` is forwarded without the rules. */
  passesUnjudged(b: Uint8Array, at: number, length: number): boolean;
  /** The frame at `at` has passed the rules and begins, or goes on with, the guest's flow. */
  learn(b: Uint8Array, at: number): void;
  /** What to do about a frame that the rules gave this verdict. */
  act(verdict: Verdict, b: Uint8Array, at: number, length: number): Action;
}

/** Mode `filtered`: every frame is judged, a refused one is dropped. */
export class FullStrategy implements FilterStrategy {
  /** See {@link FilterStrategy.mode}. */
  readonly mode = "filtered";

  /** Never. */
  passesUnjudged(): boolean {
    return false;
  }

  /** Nothing is remembered. */
  learn(): void {}

  /** Forwards or drops. */
  act(verdict: Verdict): Action {
    return isRefusal(verdict) ? ACTION.drop : ACTION.forward;
  }
}

/** Mode `conntrack`: the first frame of a flow is judged, a violation ends the VM. */
export class ConntrackStrategy implements FilterStrategy {
  /** See {@link FilterStrategy.mode}. */
  readonly mode = "conntrack";
  #source = -1;
  #destination = -1;
  /** Both ports, as they stand in the header. */
  #ports = -1;

  /** Whether the frame belongs to the flow that is known. */
  passesUnjudged(b: Uint8Array, at: number, length: number): boolean {
    return isPlainUdp(b, at, length) &&
      readU32(b, at + UDP + UDP_SOURCE_PORT) === this.#ports &&
      readU32(b, at + IP + IPV4_DESTINATION) === this.#destination &&
      readU32(b, at + IP + IPV4_SOURCE) === this.#source;
  }

  /** Remembers the flow; there is one, as in {@link FilteredNat}. */
  learn(b: Uint8Array, at: number): void {
    this.#source = readU32(b, at + IP + IPV4_SOURCE);
    this.#destination = readU32(b, at + IP + IPV4_DESTINATION);
    this.#ports = readU32(b, at + UDP + UDP_SOURCE_PORT);
  }

  /** Forwards, drops what is no violation, ends the VM for one. */
  act(verdict: Verdict, b: Uint8Array, at: number, length: number): Action {
    return strictly(verdict, b, at, length);
  }
}

/** Mode `sampled`: a share of the frames is judged, a violation among them ends the VM. */
export class SampledStrategy implements FilterStrategy {
  /** See {@link FilterStrategy.mode}. */
  readonly mode = "sampled";
  /** Share of the frames that is judged, above 0 and up to 1. */
  readonly rate: number;
  readonly #random: () => number;
  #sourcePort = -1;

  /**
   * A strategy that judges a share of the frames.
   *
   * @param rate Share that is judged.
   * @param random Gives numbers from 0 up to but not including 1; the guest must not foresee them.
   * @throws {RangeError} When the rate is not above 0 and up to 1.
   */
  constructor(rate: number, random: () => number) {
    if (!isSampleRate(rate)) {
      throw new RangeError(`Cannot sample: rate is ${rate}, want above 0 and up to 1`);
    }
    this.rate = rate;
    this.#random = random;
  }

  /** Whether the frame can be forwarded and is not in the sample. */
  passesUnjudged(b: Uint8Array, at: number, length: number): boolean {
    // Another source port is judged first: it changes where replies go.
    return isPlainUdp(b, at, length) &&
      readU16(b, at + UDP + UDP_SOURCE_PORT) === this.#sourcePort && this.#random() >= this.rate;
  }

  /** Remembers where replies go. */
  learn(b: Uint8Array, at: number): void {
    this.#sourcePort = readU16(b, at + UDP + UDP_SOURCE_PORT);
  }

  /** Forwards, drops what is no violation, ends the VM for one. */
  act(verdict: Verdict, b: Uint8Array, at: number, length: number): Action {
    return strictly(verdict, b, at, length);
  }
}

/** Whether this is a share that can be judged. */
export function isSampleRate(rate: number): boolean {
  return rate > 0 && rate <= 1;
}

/**
 * The strategy of a mode.
 *
 * @param rate Share that mode `sampled` judges.
 * @param random See {@link SampledStrategy}.
 * @throws {RangeError} See {@link SampledStrategy}.
 */
export function strategyOf(
  mode: FilterMode,
  rate: number = DEFAULT_SAMPLE_RATE,
  random: () => number = Math.random,
): FilterStrategy {
  switch (mode) {
    case "filtered":
      return new FullStrategy();
    case "conntrack":
      return new ConntrackStrategy();
    case "sampled":
      return new SampledStrategy(rate, random);
  }
}

function strictly(verdict: Verdict, b: Uint8Array, at: number, length: number): Action {
  if (!isRefusal(verdict)) return ACTION.forward;
  return isViolation(verdict, b, at, length) ? ACTION.terminate : ACTION.drop;
}

/** What is checked of every frame that is not judged. */
function isPlainUdp(b: Uint8Array, at: number, length: number): boolean {
  return length >= MIN_LEN && length <= ETH_MAX_LEN && at + length <= b.length &&
    readU16(b, at + ETH_TYPE) === ETHERTYPE.ipv4 && b[at + IP] === IPV4_PLAIN &&
    b[at + IP + IPV4_PROTOCOL] === PROTOCOL.udp;
}
