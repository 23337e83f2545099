/**
 * ICMP errors: RFC 792, next-hop MTU by RFC 1191 section 4.
 *
 * ```
 * 0       1       2               4               6               8
 * +-------+-------+---------------+---------------+---------------+----------------------
 * | type  | code  |   checksum    |    unused     |  MTU (code 4) | IP header, 8 bytes...
 * +-------+-------+---------------+---------------+---------------+----------------------
 * ```
 *
 * @module
 */

/** Codes of "destination unreachable" that are told apart here. */
export const UNREACHABLE = {
  /** The network is not reached. */
  net: 0,
  /** The host is not reached. */
  host: 1,
  /** Nobody takes this protocol. */
  protocol: 2,
  /** Nobody listens on this port. */
  port: 3,
  /** The packet is too big and must not be cut (RFC 1191). */
  tooBig: 4,
} as const;

/** Offset of the next-hop MTU in "too big". */
export const ICMP_NEXT_HOP_MTU = 6;
/** Bytes of the payload that an error carries at least, behind the IP header. */
export const ICMP_QUOTED_BYTES = 8;
