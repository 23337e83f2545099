/**
 * Asks the kernel what its filter would do with frames of a guest, without its being done: a twin of
 * the guest's programs, with maps of its own, is attached nowhere and run on one frame after another
 * (BPF_PROG_TEST_RUN).
 *
 * The kernel runs no program on a frame without whole headers, or on one that is longer than a page
 * holds. These are asked of filtered_nat.ts, whose rules are the same; a test holds the two together
 * (net/plane/kernel_filter_fuzz_test.ts).
 *
 * @module
 */

import type { Endpoint } from "../../os/endpoint.ts";
import type { KernelUplink } from "../../os/uplink_linux.ts";
import { readU16 } from "../../wire/bytes.ts";
import { ETH_HEADER_LEN, ETH_TYPE, ETHERTYPE } from "../../wire/ethernet.ts";
import { IPV4_HEADER_LEN } from "../../wire/ipv4.ts";
import { type RehearsedFrame, rehearseRules } from "../rehearsal.ts";
import { REASONS, VERDICT } from "../verdict.ts";
import { type KernelFilterOptions, KernelPrograms } from "./kernel_filter.ts";

/** Longest frame that the kernel tries a program on, in bytes: what is left of a page of memory. */
const TRIAL_MAX = 3000;
const IPV6_HEADER_LEN = 40;

/** What the programs are asked about. */
export interface KernelRehearsal extends KernelFilterOptions {
  /** How the kernel gets to the borrower; undefined while it does not. */
  readonly way: KernelUplink | undefined;
  /** Where the guest's tunnel goes. */
  readonly uplink: Endpoint;
}

/**
 * What would become of these frames if they came from the guest's TAP now, one after another.
 *
 * @throws {OmertaError} `bpf-forbidden`, `bpf-failed`.
 */
export function rehearseInKernel(
  options: KernelRehearsal,
  frames: readonly Uint8Array[],
): RehearsedFrame[] {
  const { way, uplink, link } = options;
  using programs = new KernelPrograms(options);
  programs.setUplink(way);
  const counts = (): Float64Array => programs.counters().fromGuest;
  return frames.map((frame) => {
    if (!isTriable(frame)) {
      const [found] = rehearseRules(link, way && uplink, [frame]);
      if (found !== undefined) return found;
    }
    const before = counts();
    programs.fromGuest.trial(frame);
    const verdict = counts().findIndex((count, i) => count > (before[i] ?? 0));
    const out = verdict === VERDICT.forwarded
      ? "uplink"
      : verdict === VERDICT.answered
      ? "guest"
      : "nothing";
    const isRefused = out === "nothing" && verdict !== VERDICT.announced;
    const action = isRefused ? "drop" : "none";
    return { verdict: REASONS[verdict] ?? "", out, action, unjudged: false };
  });
}

/** Whether the kernel tries a program on this frame. */
export function isTriable(frame: Uint8Array): boolean {
  return frame.length >= trialMin(frame) && frame.length <= TRIAL_MAX;
}

/** Shortest frame that the kernel tries a program on: with whole headers, by its EtherType. */
function trialMin(frame: Uint8Array): number {
  if (frame.length < ETH_HEADER_LEN) return ETH_HEADER_LEN;
  switch (readU16(frame, ETH_TYPE)) {
    case ETHERTYPE.ipv4:
      return ETH_HEADER_LEN + IPV4_HEADER_LEN;
    case ETHERTYPE.ipv6:
      return ETH_HEADER_LEN + IPV6_HEADER_LEN;
    default:
      return ETH_HEADER_LEN;
  }
}
