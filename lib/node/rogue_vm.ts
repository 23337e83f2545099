/**
 * What a lender does about a VM that is called rogue, by its rule `rogue-action`: writes it down,
 * raises an alarm, ends the VM. Each includes the one before.
 *
 * @module
 */

import { type RogueAlarm, rogueWords } from "../../net/filter/rogue.ts";
import type { LendRules } from "../core/config.ts";
import type { EventLog } from "../core/log.ts";
import type { Alarms } from "./alarms.ts";
import type { Lease } from "./lease.ts";
import { rogueReason } from "./modes.ts";

/** What is needed for it. */
export interface RogueParts {
  /** What is lent, as configured now. */
  readonly rules: () => Promise<LendRules>;
  /** Where it is written down. */
  readonly events: EventLog;
  /** Where alarms are raised. */
  readonly alarms: Alarms;
}

/**
 * Writes an alarm down and raises it. The action is that of now, not of the time of the request;
 * when the rules cannot be read, it is the alarm.
 *
 * @returns Why the VM has to end; undefined when it may go on.
 */
export async function judgeRogue(
  { rules, events, alarms }: RogueParts,
  { id, request: { name }, peer }: Pick<Lease, "id" | "request" | "peer">,
  alarm: RogueAlarm,
): Promise<string | undefined> {
  const action = await rules().then(({ rogue }) => rogue.action, () => "alarm" as const);
  const { kind, frames, destinations, frame } = alarm;
  const words = rogueWords(alarm);
  events.add({
    ...{ event: "vm-rogue", vm: id, name, action, kind, words, frames, destinations, frame },
  });
  if (action === "log") return undefined;
  alarms.raise({ vm: id, name, borrower: peer }, alarm, words);
  return action === "end" ? rogueReason(words, frame) : undefined;
}
