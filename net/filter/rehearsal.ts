/**
 * Asks a live filter what it would do with frames, without its being done: nothing is sent, counted,
 * learned, logged or ended.
 *
 * The rules run in a twin of the filter, with the live one's guest, uplink and allowlist, and sinks
 * that keep nothing. Whether the guest's mode would let a frame pass without the rules, and what it
 * would do about a refusal, is asked of the live strategy: neither question changes it.
 *
 * @module
 */

import type { Endpoint } from "../os/endpoint.ts";
import { FilteredNat } from "./filtered_nat.ts";
import type { GuestLink } from "./guest_link.ts";
import { ACTION, type Action } from "./strategy.ts";
import { REASONS } from "./verdict.ts";

/** What would become of one frame. */
export interface RehearsedFrame {
  /** What the rules say: the word for a verdict, or `cut-off`. */
  readonly verdict: string;
  /** What would come out, and on which side. */
  readonly out: "nothing" | "uplink" | "guest";
  /** What would be done about it: nothing, the frame dropped, the guest ended. */
  readonly action: "none" | "drop" | "end";
  /** Whether the guest's mode would let it pass without the rules. */
  readonly unjudged: boolean;
}

const WORDS: Readonly<Record<Action, RehearsedFrame["action"]>> = {
  [ACTION.forward]: "none",
  [ACTION.drop]: "drop",
  [ACTION.terminate]: "end",
};
/** Longer than any frame that passes. */
const ROOM = 2048;

/** Counts what it takes, and keeps nothing. */
class CountingSink {
  readonly buffer = new Uint8Array(ROOM);
  count = 0;

  reserve(size: number): number {
    return size > ROOM ? -1 : 0;
  }

  commit(): void {
    this.count++;
  }

  flush(): void {}
}

/** What would become of these frames if they came from the guest's cable now, one after another. */
export function rehearse(live: FilteredNat, frames: readonly Uint8Array[]): RehearsedFrame[] {
  const uplink = new CountingSink();
  const guest = new CountingSink();
  const twin = live.twin(uplink, guest);
  return frames.map((frame) => {
    if (live.isCutOff) {
      return { verdict: "cut-off", out: "nothing", action: "none", unjudged: false };
    }
    uplink.count = 0;
    guest.count = 0;
    const verdict = twin.fromGuest(frame, 0, frame.length);
    const unjudged = live.strategy.passesUnjudged(frame, 0, frame.length);
    const sent = unjudged || uplink.count > 0 ? "uplink" : guest.count > 0 ? "guest" : "nothing";
    return {
      verdict: REASONS[verdict] ?? "",
      out: sent,
      action: unjudged ? "none" : WORDS[live.strategy.act(verdict, frame, 0, frame.length)],
      unjudged,
    };
  });
}

/** The same of a filter in mode `filtered` that is not there: what its rules say of a guest's frames. */
export function rehearseRules(
  guest: GuestLink,
  uplink: Endpoint | undefined,
  frames: readonly Uint8Array[],
): RehearsedFrame[] {
  const [toUplink, toGuest] = [new CountingSink(), new CountingSink()];
  return rehearse(new FilteredNat({ guest, uplink, toUplink, toGuest }), frames);
}
