/**
 * The words for what a VM is ended for that was sent on its network card.
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

/**
 * Why a VM was ended that was called rogue.
 *
 * @param words What it was called so for.
 * @param frame The frame that was one too many.
 */
export function rogueReason(words: string, frame: string): string {
  return `${words}, the last one ${frame.slice(0, MAX_FRAME - words.length)}; ` +
    "this lender ends a VM for that";
}
