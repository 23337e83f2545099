/**
 * What is sent: lengths of WireGuard messages (bytes), as they leave a guest. In the tunnel's cable
 * each has 42 bytes of headers in front of it.
 *
 * @module
 */

import { wireguardMessage } from "../../doubles/guest_frames.ts";

/** A small message: a tunnel packet of 32 bytes. */
export const SMALL = 64;
/** A large one: a full packet of a tunnel whose MTU is 1368. */
export const LARGE = 1400;
/** Between the two. */
export const MEDIUM = 576;

/**
 * The simple IMIX, seven small ones to four of 576 bytes to one large, spread evenly rather than in
 * three blocks: neighbours of one length could be put together for the kernel, which a mix prevents.
 */
export const IMIX: readonly number[] = [
  ...[SMALL, MEDIUM, SMALL, SMALL, MEDIUM, SMALL],
  ...[LARGE, SMALL, MEDIUM, SMALL, MEDIUM, SMALL],
];

/** Offset of a probe's number; in real transport data that is the counter. */
export const PROBE_NUMBER = 8;
/** Offset of what tells a probe from other messages. */
const PROBE_MARK = 12;
const MARK = 0x70726f62;

/**
 * Transport data.
 *
 * @param length Bytes, 32 at least.
 * @param session Index of the session at the guest.
 * @param probe Number of a message whose way is timed.
 */
export function transportData(
  length: number,
  session: number,
  probe?: number,
): Uint8Array<ArrayBuffer> {
  const message = wireguardMessage(length);
  const view = new DataView(message.buffer);
  view.setUint32(4, session, true);
  if (probe !== undefined) {
    view.setUint32(PROBE_NUMBER, probe, true);
    view.setUint32(PROBE_MARK, MARK, true);
  }
  return message;
}

/** The number of the probe at `at`, or -1 when the message there is none. */
export function probeAt(view: DataView, at: number): number {
  return view.getUint32(at + PROBE_MARK, true) === MARK
    ? view.getUint32(at + PROBE_NUMBER, true)
    : -1;
}

/** An initiation, which tells a plane that the session is the guest's. */
export function initiation(session: number): Uint8Array<ArrayBuffer> {
  const message = wireguardMessage(148, 1);
  new DataView(message.buffer).setUint32(4, session, true);
  return message;
}
