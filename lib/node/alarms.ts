/**
 * The alarms that a lender has not looked at yet.
 *
 * An alarm stays after its VM has ended, until it is cleared or the daemon ends; the event log has
 * it for longer. One kind of one VM is one alarm, however often it is raised.
 *
 * ## Limits
 *
 * {@link MAX_ALARMS} alarms; the one that was raised longest ago makes room.
 *
 * @module
 */

import type { RogueAlarm, RogueKind } from "../../net/filter/rogue.ts";
import type { PeerId, VmId } from "../core/ids.ts";

/** Alarms that are kept. */
export const MAX_ALARMS = 256;

/** A VM that an alarm can be about. */
export interface AlarmedVm {
  /** Id of the VM. */
  readonly vm: VmId;
  /** Name that the borrower gave it. */
  readonly name: string;
  /** Who borrowed it. */
  readonly borrower: PeerId;
}

/** One kind of alarm about one VM. */
export interface VmAlarm extends AlarmedVm {
  /** What it is about. */
  readonly kind: RogueKind;
  /** What it is about, in words, as of the last time. */
  readonly words: string;
  /** When it was raised first, in ms since 1970. */
  readonly first: number;
  /** When it was raised last, in ms since 1970. */
  readonly last: number;
  /** How often it was raised. */
  readonly times: number;
  /** Frames that were counted for it the last time, in its minute or hour. */
  readonly frames: number;
  /** Different destinations in the hour before the last time. */
  readonly destinations: number;
  /** The frame that was one too many the last time, and why it was refused. */
  readonly frame: string;
}

/** The alarms. */
export class Alarms {
  // The one that was raised longest ago comes first.
  readonly #alarms = new Map<string, VmAlarm>();

  /** Keeps an alarm; `words` say what it is about. */
  raise({ vm, name, borrower }: AlarmedVm, alarm: RogueAlarm, words: string): void {
    const { kind, time, frames, destinations, frame } = alarm;
    const key = `${vm} ${kind}`;
    const before = this.#alarms.get(key);
    this.#alarms.delete(key);
    this.#alarms.set(key, {
      ...{ vm, name, borrower, kind, words, frames, destinations, frame },
      first: before?.first ?? time,
      last: time,
      times: (before?.times ?? 0) + 1,
    });
    for (const oldest of this.#alarms.keys()) {
      if (this.#alarms.size <= MAX_ALARMS) break;
      this.#alarms.delete(oldest);
    }
  }

  /** Those of the VMs with this name, else this beginning of an id; all without. The last raised is last. */
  list(nameOrId?: string): VmAlarm[] {
    const all = [...this.#alarms.values()];
    if (nameOrId === undefined) return all;
    const named = all.filter(({ name }) => name === nameOrId);
    return named.length > 0 ? named : all.filter(({ vm }) => vm.startsWith(nameOrId));
  }

  /** Forgets what {@link list} would give. @returns What was forgotten. */
  clear(nameOrId?: string): VmAlarm[] {
    const cleared = this.list(nameOrId);
    for (const { vm, kind } of cleared) this.#alarms.delete(`${vm} ${kind}`);
    return cleared;
  }
}
