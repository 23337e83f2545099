/**
 * The words for what a mode of its network ends a VM for.
 *
 * @module
 */

import type { VmMode } from "./messages.ts";

/** Longest description of a frame that is told, in characters: a notice has room for 300. */
const MAX_FRAME = 200;

/** Why a VM was ended; `frame` is the line about the frame that the data plane gives. */
export function violationReason(mode: VmMode, frame: string): string {
  return `it sent ${frame.slice(0, MAX_FRAME)}, which mode ${mode} ends a VM for`;
}
