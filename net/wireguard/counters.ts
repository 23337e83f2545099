/**
 * What a device did not do, and why: one counter for each reason. All only ever grow.
 *
 * @module
 */

/** Counts of messages and packets that were dropped. */
export class DeviceCounters {
  /** In: no WireGuard message, or of a wrong length. */
  malformed = 0;
  /** In: a handshake message that was not made for our public key. */
  badMac1 = 0;
  /** In: a handshake message that was answered by a cookie. */
  cookieSent = 0;
  /** In: a handshake message from an address that sends too many of them. */
  rateLimited = 0;
  /** In: a handshake message or cookie reply that is forged, or answers nothing of ours. */
  badHandshake = 0;
  /** In: an initiation of somebody who is not a peer. */
  unknownPeer = 0;
  /** In: an initiation no later than one before. */
  replayedInitiation = 0;
  /** In: an initiation of a peer that sends too many of them. */
  flood = 0;
  /** In: a packet or response for a session that is not there. */
  unknownIndex = 0;
  /** In: a packet of a session that is too old. */
  expired = 0;
  /** In: a packet that was seen before, or is far behind. */
  replayed = 0;
  /** In: a packet whose tag is wrong. */
  badTag = 0;
  /** In: no room in the inner sink. */
  innerFull = 0;
  /** In: what was inside is not an IPv4 packet. */
  badInner = 0;
  /** In: the source address inside is not one of the peer's. */
  wrongSource = 0;
  /** Out: not an IPv4 packet. */
  badOutbound = 0;
  /** Out: no peer has the destination address. */
  noRoute = 0;
  /** Out: where the peer is, is not known. */
  noEndpoint = 0;
  /** Out: waited for a session and had to make room, or there was no session in time. */
  stagedDropped = 0;
  /** Out: no room in the datagram sink. */
  outFull = 0;
}
