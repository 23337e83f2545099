/**
 * One guest at the packet thread: its cable, the filter at the cable's end, its place in the switch.
 *
 * @module
 */

import { BYTES_TO_GUEST, BYTES_TO_UPLINK, FilteredNat } from "../filter/filtered_nat.ts";
import { guestLink } from "../filter/guest_link.ts";
import { RefusalLog, RefusalRing, type RefusedFrame } from "../filter/refusals.ts";
import { type RogueAlarm, RogueDetector, type RogueLimits } from "../filter/rogue.ts";
import type { FilterStrategy } from "../filter/strategy.ts";
import { countsByReason, REASONS, VERDICT, type Verdict } from "../filter/verdict.ts";
import type { Endpoint } from "../os/endpoint.ts";
import type { PacketHandler, PacketSocket } from "../os/packet_socket.ts";
import type { DatagramSink } from "../os/sink.ts";
import { ETH_HEADER_LEN } from "../wire/ethernet.ts";
import { formatFrame } from "../wire/format.ts";
import { IPV4_HEADER_LEN } from "../wire/ipv4.ts";
import { UDP_HEADER_LEN } from "../wire/udp.ts";
import { RESPONSE, TRANSPORT } from "../wireguard/messages.ts";
import type { SwitchOwner } from "./relay.ts";
import type { PlaneGuestStats } from "./stats.ts";
import { SwitchPort, type WireguardSwitch } from "./wireguard_switch.ts";

/** Where the payload of a frame that the filter forwarded begins. */
const PAYLOAD = ETH_HEADER_LEN + IPV4_HEADER_LEN + UDP_HEADER_LEN;
/** Frames taken from one cable in a row, so that no guest starves the others. */
const FRAMES_PER_TURN = 128;

/** What a {@link Guest} is made of. */
export interface GuestOptions {
  /** Names it in events and statistics. */
  readonly id: string;
  /** Its cable, bound; becomes the guest's own. */
  readonly cable: PacketSocket;
  /** MAC address, 48 bits. */
  readonly mac: number;
  /** WireGuard key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Where its tunnel goes. */
  readonly uplink: Endpoint;
  /** Takes what it sends. */
  readonly toUplink: DatagramSink;
  /** How closely it is looked at. */
  readonly strategy: FilterStrategy;
  /** From when on it is called rogue. */
  readonly rogue: RogueLimits;
  /** Learns the indices of its sessions. */
  readonly table: WireguardSwitch<SwitchOwner>;
  /** The time, in ms. */
  readonly now: () => number;
  /** Hears, not too often, of refused frames: `count` of them for the same reason. */
  readonly onRefused: (id: string, reason: string, count: number) => void;
  /** Hears, once, of the frame that it was cut off for: one line, and the reason word. */
  readonly onViolation: (id: string, reason: string) => void;
  /** Hears, a few times in ten minutes at the most, that it is called rogue. */
  readonly onRogue: (id: string, alarm: RogueAlarm) => void;
}

/** One guest. */
export class Guest implements PacketHandler, SwitchOwner, Disposable {
  /** Names it. */
  readonly id: string;
  /** Its cable. */
  readonly cable: PacketSocket;
  /** Whether frames for it wait to be flushed. */
  pending = false;
  readonly #nat: FilteredNat;
  readonly #port: SwitchPort<SwitchOwner>;
  readonly #table: WireguardSwitch<SwitchOwner>;
  readonly #toUplink: DatagramSink;
  readonly #log = new RefusalLog();
  readonly #ring = new RefusalRing();
  readonly #now: () => number;
  /** When a message of a session went each way last, in ms; 0 before the first. */
  #sessionFromGuest = 0;
  #sessionToGuest = 0;

  /** Puts the guest into the switch. */
  constructor(options: GuestOptions) {
    const { id, cable, toUplink, table, now, onRefused, onViolation, onRogue } = options;
    const link = guestLink({ guestMac: options.mac });
    const detector = new RogueDetector(link, options.rogue);
    this.#now = now;
    this.id = id;
    this.cable = cable;
    this.#table = table;
    this.#toUplink = toUplink;
    this.#port = new SwitchPort<SwitchOwner>(this, options.publicKey, options.uplink);
    table.add(this.#port);
    this.#nat = new FilteredNat({
      guest: link,
      uplink: options.uplink,
      toUplink,
      toGuest: cable.out,
      onRefused: (verdict: Verdict, buffer, at, length): void => {
        const time = now();
        this.#ring.add(time, verdict, buffer, at, length);
        const alarm = detector.see(verdict, buffer, at, length, time);
        if (alarm !== undefined) onRogue(id, alarm);
        const leftOut = this.#log.admit(time, verdict);
        if (leftOut >= 0) onRefused(id, REASONS[verdict] ?? "", leftOut + 1);
      },
      strategy: options.strategy,
      onViolation: (verdict, buffer, at, length): void => {
        onViolation(id, `${formatFrame(buffer, at, length)} (${REASONS[verdict] ?? ""})`);
      },
    });
  }

  /** Changes where its tunnel goes. */
  setUplink(uplink: Endpoint): void {
    this.#port.uplink = uplink;
    this.#nat.setUplink(uplink);
  }

  /** Takes what waits on the cable, up to a bound, and sends on what may pass. */
  drain(): void {
    if (this.cable.drain(this, FRAMES_PER_TURN) === 0) return;
    this.#toUplink.flush();
    // Answers to ARP.
    this.cable.out.flush();
  }

  /** Takes one frame of the guest; see {@link PacketHandler.receive}. */
  receive(buffer: Uint8Array, at: number, length: number): void {
    if (this.#nat.fromGuest(buffer, at, length) !== VERDICT.forwarded) return;
    if (isOfSession(buffer[at + PAYLOAD])) this.#sessionFromGuest = this.#now();
    this.#table.learn(this.#port, buffer, at + PAYLOAD, length - PAYLOAD);
  }

  /** Takes one datagram for the guest; the caller flushes the cable. */
  fromUplink(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    const verdict = this.#nat.fromUplink(buffer, at, length, names, nameAt);
    if (verdict !== VERDICT.forwarded || !isOfSession(buffer[at])) return;
    this.#sessionToGuest = this.#now();
  }

  /** Its last refused frames, oldest first. */
  refused(): RefusedFrame[] {
    return this.#ring.list();
  }

  /** Sends the frames for it. */
  flush(): void {
    this.cable.out.flush();
  }

  /** What was counted. */
  stats(): PlaneGuestStats {
    const { fromGuest, fromUplink, bytes, unjudged } = this.#nat.counters;
    return {
      id: this.id,
      uplink: String(this.#nat.uplink),
      mode: this.#nat.strategy.mode,
      unjudged: unjudged[0] ?? 0,
      cable: { ...this.cable.counters },
      bytesToUplink: bytes[BYTES_TO_UPLINK] ?? 0,
      bytesToGuest: bytes[BYTES_TO_GUEST] ?? 0,
      fromGuest: countsByReason(fromGuest),
      fromUplink: countsByReason(fromUplink),
      sessionFromGuestMs: this.#sessionFromGuest || undefined,
      sessionToGuestMs: this.#sessionToGuest || undefined,
    };
  }

  /** Takes the guest out of the switch and closes its cable. */
  [Symbol.dispose](): void {
    this.#table.remove(this.#port);
    this.cable[Symbol.dispose]();
  }
}

/**
 * Whether a message of this type comes from somebody who has a session: an initiation is sent again
 * and again also when nobody answers, a response and data are not.
 */
function isOfSession(type: number | undefined): boolean {
  return type === TRANSPORT || type === RESPONSE;
}
