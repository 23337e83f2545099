/**
 * What becomes of what the packet thread and the kernel's filter tell of guests: it is written down,
 * and the lender does what its rules say.
 *
 * @module
 */

import { type RogueAlarm, rogueWords } from "../../net/filter/rogue.ts";
import type { PlaneGuestEvent } from "../../net/plane/plane.ts";
import { messageOf } from "../core/errors.ts";
import type { VmId } from "../core/ids.ts";
import { type EventLog, logger } from "../core/log.ts";
import type { Lender } from "./lender.ts";

const log = logger("node");

/** Takes what is told of guests. */
export class GuestEvents {
  /** Ends VMs; undefined before it is there, and in a node that lends nothing. */
  lender: Pick<Lender, "rogue" | "violated"> | undefined;
  readonly #events: EventLog;

  /** Nobody ends VMs yet; `events` is where it is written down. */
  constructor(events: EventLog) {
    this.#events = events;
  }

  /** Takes what the packet thread tells. */
  take(event: PlaneGuestEvent): void {
    switch (event.kind) {
      case "refused":
        return this.refused(event.id, event.reason, event.count);
      case "rogue":
        return this.rogue(event.id, event.alarm);
      case "violation":
        log.warning("Ends {vm}, which sent {reason}", { vm: event.id, reason: event.reason });
        return this.#ends(event.id, this.lender?.violated(event.id as VmId, event.reason));
    }
  }

  /** Frames were refused: so many for this reason, and the last in words, where it is known. */
  refused(id: string, reason: string, count: number, last?: string): void {
    log.warning("Refused {count} frames of {vm}: {reason}", { vm: id, reason, count });
    this.#events.add({
      ...{ event: "guest-refused", vm: id, reason, count },
      ...(last === undefined ? {} : { last }),
    });
  }

  /** A guest is called rogue. */
  rogue(id: string, alarm: RogueAlarm): void {
    log.warning("{vm} is called rogue: {alarm}", { vm: id, alarm: rogueWords(alarm) });
    this.#ends(id, this.lender?.rogue(id as VmId, alarm));
  }

  #ends(id: string, ended: Promise<void> | undefined): void {
    ended?.catch((error: unknown) => {
      log.error("Cannot end VM {vm}: {error}", { vm: id, error: messageOf(error) });
    });
  }
}
