/**
 * What a mode of its network means for a VM beyond the rules of the filter: the words for what it
 * ends a VM for, and mode `direct`.
 *
 * A VM in mode `direct` has the cable of mode `filtered`, which carries its tunnel, and a second
 * network card behind which the hypervisor is a router: over it the VM reaches whatever its lender's
 * host reaches. No filter sees that card.
 *
 * @module
 */

import type { FilterMode } from "../../net/filter/strategy.ts";
import type { VmMode } from "./messages.ts";

/** Longest description of a frame that is told, in characters: a notice has room for 300. */
const MAX_FRAME = 200;

/** What a lender has to know before `direct` is allowed. */
export const DIRECT_WARNING =
  "A VM in mode direct uses this host's internet connection and address, and reaches this host's " +
  "network and this host itself, also what listens on 127.0.0.1 only; no filter looks at it";

/** What a borrower has to know who asks for `direct`. */
export const DIRECT_BORROWER_WARNING =
  "In mode direct the VM uses the lender's internet connection, beside the tunnel: the lender, and " +
  "whoever is on the way, sees where it connects to";

/** How the filter looks at the cable of a VM in `mode`; in mode `ebpf` it is the kernel's. */
export function filterModeOf(mode: VmMode): FilterMode {
  return mode === "direct" || mode === "ebpf" ? "filtered" : mode;
}

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
