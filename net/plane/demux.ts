/**
 * What a datagram on the node's one port is, told by its first bytes:
 *
 * | first bytes | kind |
 * |---|---|
 * | `01..04 00 00 00` | WireGuard message |
 * | `00 01` or `01 01`, with `2112a442` at offset 4 | STUN (RFC 8489) |
 * | `64` ("d") | DHT (bencoded) |
 * | `00` or `10` | control envelope: length of the network id |
 *
 * A control envelope goes on with a random nonce, so one in 2^48 looks like STUN and is sent again.
 *
 * @module
 */

/** Kinds of datagrams. `unknown` holds STUN and DHT too, for which nothing is there to answer. */
export const KIND = { unknown: 0, wireguard: 1, control: 2 } as const;

/** One of {@link KIND}. */
export type Kind = (typeof KIND)[keyof typeof KIND];

/** Shortest WireGuard message (bytes). */
const WIREGUARD_MIN = 32;
/** A control envelope's length byte, nonce and tag (bytes). */
const CONTROL_MIN = 1 + 12 + 16;
/** RFC 8489 section 5. */
const STUN_COOKIE = 0x2112a442;
const STUN_COOKIE_AT = 4;

/** The kind of the datagram of `length` bytes at `at`. */
export function kindOf(buffer: Uint8Array, at: number, length: number): Kind {
  switch (buffer[at]) {
    case 1:
    case 2:
    case 3:
    case 4: {
      if (length < WIREGUARD_MIN) return KIND.unknown;
      const rest = (buffer[at + 1] ?? 0) | (buffer[at + 2] ?? 0) | (buffer[at + 3] ?? 0);
      return rest === 0 ? KIND.wireguard : KIND.unknown;
    }
    case 0x00:
    case 0x10:
      if (length < CONTROL_MIN || isStun(buffer, at)) return KIND.unknown;
      return KIND.control;
    default:
      return KIND.unknown;
  }
}

function isStun(buffer: Uint8Array, at: number): boolean {
  const c = at + STUN_COOKIE_AT;
  const cookie = ((buffer[c] ?? 0) << 24) | ((buffer[c + 1] ?? 0) << 16) |
    ((buffer[c + 2] ?? 0) << 8) | (buffer[c + 3] ?? 0);
  return buffer[at] === 0 && buffer[at + 1] === 1 && cookie === STUN_COOKIE;
}
