/**
 * What is made of the counters and the last refused frames of a guest that the kernel filters, each
 * time they are looked at: the packet thread sees every frame, here there is a look every few seconds.
 *
 * - Refusals: how many there were for each reason, told at a bounded rate.
 * - Alarms about a rogue guest: of what was refused since the look before, the frames that are still
 *   held are judged, at most 64. So no more than about 750 a minute count, which is far above the
 *   limits unless the lender sets others; and a flood that pushes all else out is a rogue guest's too.
 * - Signs of life of the tunnel: messages that are not all initiations (148 bytes, paper 5.4.2) are
 *   of a session, or answer a handshake. Data messages are of multiples of 16 bytes or longer than
 *   1312, so only four or more of them can look like initiations together, for one look.
 *
 * @module
 */

import type { KernelCounters } from "../../net/filter/ebpf/kernel_filter.ts";
import type { GuestLink } from "../../net/filter/guest_link.ts";
import { LOG_INTERVAL_MS, type RefusedFrame } from "../../net/filter/refusals.ts";
import { type RogueAlarm, RogueDetector, type RogueLimits } from "../../net/filter/rogue.ts";
import { isRefusal, REASONS, VERDICT, type Verdict } from "../../net/filter/verdict.ts";
import { INITIATION_LEN } from "../../net/wireguard/messages.ts";

/** What a guest is watched with. */
export interface KernelWatchOptions {
  /** The ends of its cable. */
  readonly link: GuestLink;
  /** From when on it is called rogue; as by default without. */
  readonly limits: RogueLimits | undefined;
  /** Hears of refused frames: `count` of them for the same reason, and the last in words. */
  readonly onRefused: (reason: string, count: number, last: string) => void;
  /** Hears that it is called rogue. */
  readonly onRogue: (alarm: RogueAlarm) => void;
}

/** One guest. Times are in ms since 1970. */
export class KernelWatch {
  /** When a message of a session was seen to have come from the guest last; 0 before the first. */
  fromGuestMs = 0;
  /** The same for one that went to the guest. */
  toGuestMs = 0;
  readonly #options: KernelWatchOptions;
  readonly #detector: RogueDetector;
  readonly #told = new Map<Verdict, { readonly count: number; readonly at: number }>();
  #refused = 0;
  #fromGuest: Traffic = { messages: 0, bytes: 0 };
  #toGuest: Traffic = { messages: 0, bytes: 0 };

  /** Nothing was seen of it yet. */
  constructor(options: KernelWatchOptions) {
    this.#options = options;
    this.#detector = new RogueDetector(options.link, options.limits);
  }

  /**
   * Takes note of what was counted, and of the frames that are held, oldest first.
   *
   * @param now In ms since 1970.
   */
  look(counters: KernelCounters, frames: () => readonly RefusedFrame[], now: number): void {
    const { fromGuest, fromUplink, bytesToUplink, bytesToGuest } = counters;
    const from = { messages: fromGuest[VERDICT.forwarded] ?? 0, bytes: bytesToUplink };
    const to = { messages: fromUplink[VERDICT.forwarded] ?? 0, bytes: bytesToGuest };
    if (isOfSession(this.#fromGuest, from)) this.fromGuestMs = now;
    if (isOfSession(this.#toGuest, to)) this.toGuestMs = now;
    this.#fromGuest = from;
    this.#toGuest = to;
    this.#lookAtRefusals(fromGuest, frames, now);
  }

  #lookAtRefusals(
    counts: Float64Array,
    frames: () => readonly RefusedFrame[],
    now: number,
  ): void {
    const refused = counts.reduce((sum, n, i) => isRefusal(i as Verdict) ? sum + n : sum, 0);
    const fresh = refused - this.#refused;
    if (fresh <= 0) return;
    this.#refused = refused;
    const held = frames();
    for (const { verdict, bytes, time, length } of held.slice(-Math.min(fresh, held.length))) {
      const alarm = this.#detector.see(verdict, bytes, 0, length, time);
      if (alarm !== undefined) this.#options.onRogue(alarm);
    }
    counts.forEach((count, number) => {
      const verdict = number as Verdict;
      const before = this.#told.get(verdict) ?? { count: 0, at: -Infinity };
      if (!isRefusal(verdict) || count <= before.count || now - before.at < LOG_INTERVAL_MS) return;
      this.#told.set(verdict, { count, at: now });
      const last = held.findLast((frame) => frame.verdict === verdict);
      this.#options.onRefused(REASONS[verdict] ?? "", count - before.count, last?.text ?? "");
    });
  }
}

/** What was forwarded in one direction so far. */
interface Traffic {
  readonly messages: number;
  readonly bytes: number;
}

/** Whether something else than initiations came since. */
function isOfSession(before: Traffic, after: Traffic): boolean {
  return after.bytes - before.bytes !== INITIATION_LEN * (after.messages - before.messages);
}
