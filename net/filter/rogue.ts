/**
 * Tells a guest that looks for a way around its tunnel from one that goes about its business: a
 * machine without I/O that is shown each frame with its verdict, one machine for each guest. It
 * stops nothing, since what it counts was refused already; it raises an alarm.
 *
 * ## What counts
 *
 * A refused frame counts unless it is what a kernel sends by itself. violation.ts draws that line:
 * router solicitations, MLD, mDNS and DHCP are *chatter*, which has a limit of its own, far above
 * what any system sends; frames that this host had no place for do not count at all.
 *
 * | kind         | alarm when                                                             | default |
 * | ------------ | ---------------------------------------------------------------------- | ------- |
 * | `spoofing`   | frames in an hour whose source address (MAC, IPv4, or in ARP) is not   | 3       |
 * |              | the guest's                                                            |         |
 * | `scan`       | different destinations in an hour: address with port; what ARP asks    | 16      |
 * |              | for; else the MAC address                                              |         |
 * | `per-minute` | frames that count, in a minute                                         | 60      |
 * | `per-hour`   | frames that count, in an hour                                          | 300     |
 * | `flood`      | frames of chatter in a minute: {@link CHATTER_PER_MINUTE}              | 600     |
 *
 * A minute moves on in steps of 10 s and an hour in steps of 5 min: an alarm never counts what is
 * older, and may miss what is older than the window less one step. After an alarm the same kind is
 * silent for {@link REPEAT_MS}, and comes again when the limit is exceeded then.
 *
 * ## Where the limits come from
 *
 * Measured: a Debian 12 guest as `omerta image build` makes it, from its boot on, its own firewall
 * flushed after half a minute and its network card taken down and up then. In four and a half
 * minutes it sent 19 frames of chatter, all IPv6 (MLD, neighbor and router solicitations; the last
 * in growing intervals), 16 of them in the busiest minute, and none that counts. So the limit for
 * chatter is 40 times what was seen, and every frame that counts is more than a guest sends by
 * itself: the other limits only leave room for an error of its user's that is tried now and then.
 *
 * ## Limits
 *
 * - {@link MAX_DESTINATIONS} destinations are remembered, which is also the highest limit that can be
 *   set; at the cap the one seen longest ago makes room. IPv6 addresses are remembered by a hash of
 *   32 bits, so two may count as one; they still count as frames.
 * - Memory for each guest: 1.3 KiB, taken at once. Nothing is allocated for a frame that raises no
 *   alarm; a refused frame takes 0.2 us, one that passes nothing.
 *
 * Time is a parameter: ms of any clock; while it goes back, it counts as standing still.
 *
 * @module
 */

import { ARP_LEN, ARP_SENDER_IP, ARP_SENDER_MAC, ARP_TARGET_IP } from "../wire/arp.ts";
import { readU16, readU32 } from "../wire/bytes.ts";
import { ETH_DESTINATION, ETH_HEADER_LEN, ETH_TYPE, ETHERTYPE, readMac } from "../wire/ethernet.ts";
import { formatFrame } from "../wire/format.ts";
import { IPV4_DESTINATION, IPV4_HEADER_LEN, IPV4_PROTOCOL, PROTOCOL } from "../wire/ipv4.ts";
import { SlidingCount } from "./_sliding_count.ts";
import type { GuestLink } from "./guest_link.ts";
import { REASONS, VERDICT, type Verdict } from "./verdict.ts";
import { isViolation } from "./violation.ts";

/** What an alarm can be about, the gravest first. */
export const ROGUE_KINDS = ["spoofing", "scan", "per-minute", "per-hour", "flood"] as const;
/** One of {@link ROGUE_KINDS}. */
export type RogueKind = (typeof ROGUE_KINDS)[number];

/** From when on a guest is called rogue; each at least 1. */
export interface RogueLimits {
  /** Frames under a false source address, in an hour. */
  readonly spoofed: number;
  /** Different destinations, in an hour; up to {@link MAX_DESTINATIONS}. */
  readonly destinations: number;
  /** Refused frames that count, in a minute. */
  readonly perMinute: number;
  /** Refused frames that count, in an hour. */
  readonly perHour: number;
}

/** The limits when none are given. */
export const DEFAULT_ROGUE_LIMITS: RogueLimits = {
  spoofed: 3,
  destinations: 16,
  perMinute: 60,
  perHour: 300,
};

/** Destinations that are remembered of a guest. */
export const MAX_DESTINATIONS = 64;
/** Frames of chatter in a minute from which on it is a flood. */
export const CHATTER_PER_MINUTE = 600;
/** How long a kind is silent after an alarm, in ms. */
export const REPEAT_MS = 600_000;

const MINUTE_MS = 60_000;
const MINUTE_SLOTS = 6;
const HOUR_MS = 3_600_000;
const HOUR_SLOTS = 12;

const IP = ETH_HEADER_LEN;
/** Offsets in an IPv6 header (RFC 8200 section 3). */
const IPV6_NEXT_HEADER = 6;
const IPV6_DESTINATION = 24;
const IPV6_HEADER_LEN = 40;
/** Keys of destinations: 48 bits and above them what they are, exact in a number. */
const KEY_IPV6 = 2 ** 48;
const KEY_MAC = 2 ** 49;

/** A guest is called rogue. */
export interface RogueAlarm {
  /** What for. */
  readonly kind: RogueKind;
  /** When, in ms of the caller's clock. */
  readonly time: number;
  /** Frames that were counted for it in its minute or hour. */
  readonly frames: number;
  /** Different destinations in the last hour, up to {@link MAX_DESTINATIONS}. */
  readonly destinations: number;
  /** The frame that was one too many, and its reason: `ICMP ... echo request (destination)`. */
  readonly frame: string;
}

/** Watches one guest. */
export class RogueDetector {
  readonly #guest: GuestLink;
  readonly #limits: RogueLimits;
  readonly #spoofed = new SlidingCount(HOUR_MS, HOUR_SLOTS);
  readonly #minute = new SlidingCount(MINUTE_MS, MINUTE_SLOTS);
  readonly #hour = new SlidingCount(HOUR_MS, HOUR_SLOTS);
  readonly #chatter = new SlidingCount(MINUTE_MS, MINUTE_SLOTS);
  readonly #destinations = new Float64Array(MAX_DESTINATIONS).fill(-1);
  readonly #seenAt = new Float64Array(MAX_DESTINATIONS).fill(-Infinity);
  /** When each kind was told last, in the order of {@link ROGUE_KINDS}. */
  readonly #told = new Float64Array(ROGUE_KINDS.length).fill(-Infinity);
  #now = 0;

  /** A detector that has seen nothing. */
  constructor(guest: GuestLink, limits: RogueLimits = DEFAULT_ROGUE_LIMITS) {
    this.#guest = guest;
    this.#limits = limits;
  }

  /**
   * Takes note of the frame of `length` bytes at `at`, which was given this verdict.
   *
   * @returns The alarm that it raises; undefined nearly always.
   */
  see(
    verdict: Verdict,
    b: Uint8Array,
    at: number,
    length: number,
    now: number,
  ): RogueAlarm | undefined {
    switch (verdict) {
      case VERDICT.forwarded:
      case VERDICT.answered:
      case VERDICT.announced:
      case VERDICT.noUplink:
      case VERDICT.noRoom:
      case VERDICT.cutOff:
        return undefined;
    }
    if (now > this.#now) this.#now = now;
    if (!isViolation(verdict, b, at, length)) {
      const chatter = this.#chatter.add(this.#now);
      if (chatter < CHATTER_PER_MINUTE || !this.#due("flood")) return undefined;
      return this.#alarm("flood", chatter, 0, verdict, b, at, length);
    }
    const limits = this.#limits;
    const spoofed = isSpoofed(this.#guest, verdict, b, at, length)
      ? this.#spoofed.add(this.#now)
      : 0;
    const destinations = this.#remember(destinationOf(b, at, length));
    const minute = this.#minute.add(this.#now);
    const hour = this.#hour.add(this.#now);
    let kind: RogueKind;
    let frames = hour;
    if (spoofed >= limits.spoofed && this.#due("spoofing")) {
      kind = "spoofing";
      frames = spoofed;
    } else if (destinations >= limits.destinations && this.#due("scan")) {
      kind = "scan";
    } else if (minute >= limits.perMinute && this.#due("per-minute")) {
      kind = "per-minute";
      frames = minute;
    } else if (hour >= limits.perHour && this.#due("per-hour")) {
      kind = "per-hour";
    } else return undefined;
    return this.#alarm(kind, frames, destinations, verdict, b, at, length);
  }

  #due(kind: RogueKind): boolean {
    return this.#now - (this.#told[ROGUE_KINDS.indexOf(kind)] ?? 0) >= REPEAT_MS;
  }

  #alarm(
    kind: RogueKind,
    frames: number,
    destinations: number,
    verdict: Verdict,
    b: Uint8Array,
    at: number,
    length: number,
  ): RogueAlarm {
    this.#told[ROGUE_KINDS.indexOf(kind)] = this.#now;
    const frame = `${formatFrame(b, at, length)} (${REASONS[verdict] ?? ""})`;
    return { kind, time: this.#now, frames, destinations, frame };
  }

  /** Notes a destination. @returns How many different ones the last hour has. */
  #remember(key: number): number {
    const keys = this.#destinations;
    const times = this.#seenAt;
    const after = this.#now - HOUR_MS;
    let count = 0;
    let own = -1;
    let oldest = 0;
    for (let i = 0; i < MAX_DESTINATIONS; i++) {
      const time = times[i] ?? 0;
      if (keys[i] === key) own = i;
      else if (time > after) count++;
      if (time < (times[oldest] ?? 0)) oldest = i;
    }
    if (own < 0) {
      if ((times[oldest] ?? 0) > after) count--; // it makes room
      own = oldest;
      keys[own] = key;
    }
    times[own] = this.#now;
    return count + 1;
  }
}

/** What the alarm is about, for people: `it tried 16 destinations that it may not reach`. */
export function rogueWords({ kind, frames, destinations }: RogueAlarm): string {
  switch (kind) {
    case "spoofing":
      return `it sent ${frames} frames under a false source address`;
    case "scan":
      return `it tried ${destinations} destinations that it may not reach`;
    case "per-minute":
      return `it sent ${frames} forbidden frames within a minute`;
    case "per-hour":
      return `it sent ${frames} forbidden frames within an hour`;
    case "flood":
      return `it flooded its cable with ${frames} frames of chatter within a minute`;
  }
}

/** Whether the frame names a source that is not the guest. */
function isSpoofed(
  guest: GuestLink,
  verdict: Verdict,
  b: Uint8Array,
  at: number,
  length: number,
): boolean {
  if (verdict === VERDICT.sourceMac || verdict === VERDICT.sourceAddress) return true;
  if (verdict !== VERDICT.arp || length < IP + ARP_LEN) return false;
  const sender = readU32(b, at + IP + ARP_SENDER_IP);
  // RFC 5227 section 2.1.1: a probe has no sender yet.
  return readMac(b, at + IP + ARP_SENDER_MAC) !== guest.guestMac ||
    (sender !== 0 && sender !== guest.guestAddress);
}

/** Where the frame was to go, as a number that is the same for the same place. Never throws. */
function destinationOf(b: Uint8Array, at: number, length: number): number {
  const ip = at + IP;
  const type = length < IP ? 0 : readU16(b, at + ETH_TYPE);
  if (type === ETHERTYPE.ipv4 && length >= IP + IPV4_HEADER_LEN) {
    const headerLen = 4 * ((b[ip] ?? 0) & 0xf);
    const hasPorts = isWithPorts(b[ip + IPV4_PROTOCOL]) && length >= IP + headerLen + 4;
    const port = hasPorts ? readU16(b, ip + headerLen + 2) : 0;
    return readU32(b, ip + IPV4_DESTINATION) * 65536 + port;
  }
  if (type === ETHERTYPE.arp && length >= IP + ARP_LEN) {
    return readU32(b, ip + ARP_TARGET_IP) * 65536;
  }
  if (type === ETHERTYPE.ipv6 && length >= IP + IPV6_HEADER_LEN) {
    let hash = 0x811c9dc5; // FNV-1a
    for (let i = 0; i < 16; i++) {
      hash = Math.imul(hash ^ (b[ip + IPV6_DESTINATION + i] ?? 0), 0x01000193);
    }
    const hasPorts = isWithPorts(b[ip + IPV6_NEXT_HEADER]) && length >= IP + IPV6_HEADER_LEN + 4;
    const port = hasPorts ? readU16(b, ip + IPV6_HEADER_LEN + 2) : 0;
    return KEY_IPV6 + (hash >>> 0) * 65536 + port;
  }
  return KEY_MAC + (length < IP ? 0 : readMac(b, at + ETH_DESTINATION));
}

function isWithPorts(protocol: number | undefined): boolean {
  return protocol === PROTOCOL.udp || protocol === PROTOCOL.tcp;
}
