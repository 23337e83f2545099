/**
 * Layout of the four messages (paper 5.4). Lengths in bytes, numbers little-endian.
 *
 * ```
 * initiation, 148         response, 92            cookie reply, 64      transport, 32 or more
 *   0  type 1               0  type 2               0  type 3             0  type 4
 *   4  sender               4  sender               4  receiver           4  receiver
 *   8  ephemeral    32      8  receiver             8  nonce      24      8  counter      8
 *  40  static       48     12  ephemeral    32     32  cookie     32     16  packet, tag 16
 *  88  timestamp    28     44  nothing      16
 * 116  mac1         16     60  mac1         16
 * 132  mac2         16     76  mac2         16
 * ```
 *
 * The type is one byte, the three behind it are zero. Sender and receiver are session indices.
 *
 * @module
 */

import { PADDING } from "./constants.ts";
import { TAG_LEN } from "./crypto.ts";

/** Values of the type byte. */
export const INITIATION = 1;
/** See {@link INITIATION}. */
export const RESPONSE = 2;
/** See {@link INITIATION}. */
export const COOKIE_REPLY = 3;
/** See {@link INITIATION}. */
export const TRANSPORT = 4;

/** Length of an initiation. */
export const INITIATION_LEN = 148;
/** Length of a response. */
export const RESPONSE_LEN = 92;
/** Length of a cookie reply. */
export const COOKIE_REPLY_LEN = 64;
/** Bytes in front of a sealed packet. */
export const TRANSPORT_HEADER_LEN = 16;
/** Length of the shortest transport message, a keepalive. */
export const TRANSPORT_MIN_LEN = 32;

/** Bytes of mac1 and of mac2, the last two fields of both handshake messages. */
export const MAC_LEN = 16;
/** Bytes of both together. */
export const MACS_LEN = 32;

/** The type of a message of a plausible length, or 0. */
export function messageType(buffer: Uint8Array, at: number, length: number): number {
  if (length < TRANSPORT_MIN_LEN) return 0;
  if ((buffer[at + 1] ?? 0) | (buffer[at + 2] ?? 0) | (buffer[at + 3] ?? 0)) return 0;
  switch (buffer[at]) {
    case TRANSPORT:
      return TRANSPORT;
    case INITIATION:
      return length === INITIATION_LEN ? INITIATION : 0;
    case RESPONSE:
      return length === RESPONSE_LEN ? RESPONSE : 0;
    case COOKIE_REPLY:
      return length === COOKIE_REPLY_LEN ? COOKIE_REPLY : 0;
    default:
      return 0;
  }
}

/** 32 bits as a signed number: only compared, so that it stays a small integer. */
export function readIndex(b: Uint8Array, at: number): number {
  return (b[at] ?? 0) | ((b[at + 1] ?? 0) << 8) | ((b[at + 2] ?? 0) << 16) |
    ((b[at + 3] ?? 0) << 24);
}

/** Writes 32 bits, little-endian. */
export function writeIndex(b: Uint8Array, at: number, value: number): void {
  b[at] = value;
  b[at + 1] = value >>> 8;
  b[at + 2] = value >>> 16;
  b[at + 3] = value >>> 24;
}

/** The 64-bit counter at `at`, or -1 when it is 2^53 or more. */
export function readCounter(b: Uint8Array, at: number): number {
  const high = readIndex(b, at + 4) >>> 0;
  return high >= 0x20_0000 ? -1 : high * 0x1_0000_0000 + (readIndex(b, at) >>> 0);
}

/** Writes a counter below 2^53 as 64 bits. */
export function writeCounter(b: Uint8Array, at: number, counter: number): void {
  const low = counter >>> 0;
  writeIndex(b, at, low);
  writeIndex(b, at + 4, (counter - low) / 0x1_0000_0000);
}

/** Length with padding: to a multiple of 16, but not beyond the MTU (paper 5.4.6). */
export function paddedLength(length: number, mtu: number): number {
  return length >= mtu ? length : Math.min(Math.ceil(length / PADDING) * PADDING, mtu);
}

/** Room that a packet of `length` bytes may need as a transport message. */
export function sealedLength(length: number): number {
  return TRANSPORT_HEADER_LEN + length + PADDING - 1 + TAG_LEN;
}
