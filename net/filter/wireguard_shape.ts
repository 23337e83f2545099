/**
 * What a WireGuard message looks like from outside: type, three reserved bytes that are zero, and
 * the length that goes with the type (WireGuard whitepaper, section 5.4).
 *
 * ```
 * 0      1           4
 * +------+-----------+------------------
 * | type | 0   0   0 | ...
 * +------+-----------+------------------
 * 1 handshake initiation   148 bytes
 * 2 handshake response      92 bytes
 * 3 cookie reply            64 bytes
 * 4 transport data          32 bytes and more: 16 header, padded packet, 16 tag
 * ```
 *
 * The padding of transport data is to a multiple of 16, but never beyond the MTU of the tunnel
 * (section 5.4.6; the Linux kernel's `calculate_skb_padding`), so a full packet of a tunnel with MTU
 * 1420 has 1452 bytes, which is no multiple of 16. Lengths that go with a tunnel MTU of
 * {@link TUNNEL_MTU_MIN} or more are therefore not held to the multiple.
 *
 * This keeps a guest from speaking another protocol to the borrower. It is a shape, not a proof:
 * only the two ends of the tunnel can tell a real message from random bytes behind a right header.
 *
 * @module
 */

const INITIATION = 1;
const INITIATION_LEN = 148;
const RESPONSE = 2;
const RESPONSE_LEN = 92;
const COOKIE = 3;
const COOKIE_LEN = 64;
const TRANSPORT = 4;
/** Transport data around nothing, a keepalive: 16 bytes of header and 16 of tag. */
const TRANSPORT_OVERHEAD = 32;
const PADDING = 16;
/** Smallest tunnel MTU whose full packets need not be padded to 16 bytes: that of IPv6, RFC 8200. */
const TUNNEL_MTU_MIN = 1280;

/** Shortest WireGuard message, in bytes. */
export const WIREGUARD_MIN_LEN: number = TRANSPORT_OVERHEAD;

/** Whether the `length` bytes at `at` have the shape of a WireGuard message. */
export function isWireguardShaped(b: Uint8Array, at: number, length: number): boolean {
  if (length < WIREGUARD_MIN_LEN) return false;
  if (((b[at + 1] ?? 1) | (b[at + 2] ?? 1) | (b[at + 3] ?? 1)) !== 0) return false;
  switch (b[at]) {
    case TRANSPORT:
      return length % PADDING === 0 || length >= TUNNEL_MTU_MIN + TRANSPORT_OVERHEAD;
    case INITIATION:
      return length === INITIATION_LEN;
    case RESPONSE:
      return length === RESPONSE_LEN;
    case COOKIE:
      return length === COOKIE_LEN;
    default:
      return false;
  }
}
