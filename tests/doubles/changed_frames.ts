/**
 * Frames that are a few random changes away from good ones: more of them come near the edge of a rule
 * than of random bytes ever would.
 *
 * @module
 */

import { writeU16 } from "../../net/wire/bytes.ts";
import { CAPTURED, captured, type CapturedName } from "./captured_frames.ts";
import { fixHeaderChecksum, guestArp, guestFrame, wireguardMessage } from "./guest_frames.ts";
import type { Random } from "./random.ts";

/** Values that a rule looks for, or that lie next to one; two bytes each. */
const INTERESTING = [
  0x0000,
  0x0001,
  0x0002,
  0x4000,
  0x2000,
  0x1fff,
  0x8000,
  0xffff,
  0x0800,
  0x0806,
  0x86dd,
  0x8100,
  0x88a8,
  0x4500,
  0x4600,
  0x4400,
  0x6500,
  0x4011,
  0x4006,
  0x4001,
  0xc0a8,
  0x6401,
  0x6402,
  0x0808,
  0xca6c,
  0xca6d,
  0x0035,
  0x0400,
  0x0100,
  0x0200,
  0x0300,
  0x0500,
] as const;

/** A frame that is good, or was captured, before anything is changed. */
function template(random: Random): Uint8Array {
  switch (random.below(9)) {
    case 0:
      return captured(random.pick(Object.keys(CAPTURED) as [CapturedName, ...CapturedName[]]));
    case 1:
      return guestArp({
        senderIp: random.pick([0xc0a86402, 0xc0a86402, 0, 0xc0a86401]),
        targetIp: random.pick([0xc0a86401, 0xc0a86402, 0x08080808]),
        opcode: random.pick([1, 1, 2, 3]),
      });
    case 2: {
      const [type, length] = random.pick([[1, 148], [2, 92], [3, 64], [4, 1452], [4, 32], [
        4,
        1480,
      ]]);
      return guestFrame({ payload: wireguardMessage(length, type) });
    }
    case 3:
      return guestFrame({ payload: wireguardMessage(4 + random.below(1480)) });
    case 4:
      return guestFrame({ protocol: random.pick([17, 6, 1, 47]) });
    case 5:
      return guestFrame({ destination: random.pick([0xc0a86401, 0xc0a86403, 0x7f000001]) });
    case 6:
      return guestFrame({ type: random.pick([0x0800, 0x8100, 0x88a8, 0x86dd, 0x88cc, 0x002e]) });
    default:
      return guestFrame({ sourcePort: 1 + random.below(65535) });
  }
}

/** Changes a frame a little. */
function change(frame: Uint8Array, random: Random): Uint8Array {
  // Most headers end at 46: changes there find more than changes in the payload.
  const at = random.below(random.below(4) === 0 ? frame.length : Math.min(46, frame.length));
  switch (random.below(6)) {
    case 0:
      frame[at] = random.below(256);
      return frame;
    case 1:
      frame[at] = (frame[at] ?? 0) ^ (1 << random.below(8));
      return frame;
    case 2:
      writeU16(frame, at & ~1, random.pick(INTERESTING));
      return frame;
    case 3:
      return frame.slice(0, at);
    case 4: {
      const longer = new Uint8Array(
        frame.length + 1 + random.below(random.below(8) === 0 ? 1500 : 20),
      );
      longer.set(frame);
      return longer;
    }
    default:
      frame.copyWithin(random.below(frame.length), at, at + random.below(12));
      return frame;
  }
}

/** Makes lengths and checksum agree with the frame again, so that the rules behind them are reached. */
function repair(frame: Uint8Array, random: Random): void {
  if (frame.length < 42) return;
  if (random.below(2) === 0) writeU16(frame, 16, frame.length - 14);
  if (random.below(2) === 0) writeU16(frame, 38, frame.length - 34);
  fixHeaderChecksum(frame);
}

/** One frame. */
export function changedFrame(random: Random): Uint8Array {
  let frame = template(random);
  for (let n = random.below(4); n > 0 && frame.length > 0; n--) frame = change(frame, random);
  if (random.below(2) === 0) repair(frame, random);
  return frame;
}
