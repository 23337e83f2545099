/**
 * What has to happen in a mode to a frame that may not leave.
 *
 * @module
 */

import { guestLink } from "../../net/filter/guest_link.ts";
import { ACTION, strategyOf } from "../../net/filter/strategy.ts";
import { VERDICT } from "../../net/filter/verdict.ts";
import type { VmMode } from "../node/messages.ts";
import { filterModeOf } from "../node/modes.ts";
import { udpFrame } from "./frames.ts";
import { MARK_LEN } from "./mark.ts";

/** Whether a VM of this mode is ended for a frame to a stranger, rather than the frame dropped. */
export function endsVm(mode: VmMode): boolean {
  const frame = udpFrame(guestLink(), new Uint8Array(MARK_LEN), { to: 0xcb00710a });
  const action = strategyOf(filterModeOf(mode)).act(VERDICT.destination, frame, 0, frame.length);
  return action === ACTION.terminate;
}

/** Whether a VM of this mode has a card that leads past the filter: then nothing it does is sealed. */
export function isUnsealed(mode: VmMode): boolean {
  return mode === "direct";
}
