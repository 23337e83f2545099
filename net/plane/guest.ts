/**
 * One guest at the packet thread: its cable, the filter at the cable's end, its place in the switch.
 *
 * @module
 */

import { BYTES_TO_GUEST, BYTES_TO_UPLINK, FilteredNat } from "../filter/filtered_nat.ts";
import { guestLink } from "../filter/guest_link.ts";
import { RefusalLog, RefusalRing, type RefusedFrame } from "../filter/refusals.ts";
import { rehearse, type RehearsedFrame } from "../filter/rehearsal.ts";
import { type RogueAlarm, RogueDetector, type RogueLimits } from "../filter/rogue.ts";
import type { FilterStrategy } from "../filter/strategy.ts";
import { countsByReason, REASONS, VERDICT, type Verdict } from "../filter/verdict.ts";
import type { Endpoint } from "../os/endpoint.ts";
import type { PacketHandler, PacketSocket, UdpSocket } from "../os/packet_socket.ts";
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
/**
 * What one turn of a guest may cost, in bytes: 64 frames of the longest. What a turn has cost above
 * that is taken off the next one, so that over time all guests that send get the same.
 */
export const TURN_COST = 64 * 1536;
/**
 * What a frame costs at the least. A short one takes this thread as long as a long one, about 2 us,
 * in which a line of 1 Gbit/s carries so many bytes.
 */
export const FRAME_COST = 256;
/** Frames taken before the uplink is given them, and asked whether it has room for more. */
const BATCH = 64;

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
  readonly toUplink: Pick<UdpSocket, "out" | "blocked">;
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
  /** Whether it waits for its turn to send. */
  waiting = false;
  readonly #nat: FilteredNat;
  readonly #port: SwitchPort<SwitchOwner>;
  readonly #table: WireguardSwitch<SwitchOwner>;
  readonly #toUplink: Pick<UdpSocket, "out" | "blocked">;
  readonly #log = new RefusalLog();
  readonly #ring = new RefusalRing();
  readonly #now: () => number;
  /** What this turn may still cost; 0 or less when it is over, and then taken off the next one. */
  #credit = 0;
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
      toUplink: toUplink.out,
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

  /**
   * One turn: takes what waits on the cable, up to {@link TURN_COST}, and sends on what may pass.
   * Stops when the uplink is full: what waits stays with the guest, which notices.
   *
   * @returns Whether the turn is over; otherwise it goes on when there is room again.
   */
  drain(): boolean {
    if (this.#credit <= 0) this.#credit += TURN_COST;
    while (this.#credit > 0) {
      const frames = this.cable.drain(this, BATCH);
      this.#credit -= frames * FRAME_COST;
      this.#toUplink.out.flush();
      // A guest that has nothing more saves nothing up.
      if (frames < BATCH) this.#credit = Math.min(0, this.#credit);
      else if (this.#toUplink.blocked) break;
    }
    // Answers to ARP.
    this.cable.out.flush();
    return this.#credit <= 0;
  }

  /** Takes one frame of the guest; see {@link PacketHandler.receive}. */
  receive(buffer: Uint8Array, at: number, length: number): void {
    if (length > FRAME_COST) this.#credit -= length - FRAME_COST;
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

  /** What would become of these frames if they came now; nothing is sent or counted. */
  rehearse(frames: readonly Uint8Array[]): RehearsedFrame[] {
    return rehearse(this.#nat, frames);
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
