/**
 * What a stack has seen and what it refused, one counter for each reason. All only ever grow.
 *
 * @module
 */

/** Counts of a whole stack. */
export class StackCounters {
  /** Packets given to `input`. */
  packetsIn = 0;
  /** Packets written to the sink. */
  packetsOut = 0;
  /** In: shorter than its header or its total length says. */
  truncated = 0;
  /** In: not IPv4. */
  badVersion = 0;
  /** In: a header or total length that cannot be. */
  badLength = 0;
  /** In: a wrong checksum, of IPv4, ICMP or TCP. */
  badChecksum = 0;
  /** In: for an address that is not ours. */
  notForUs = 0;
  /** In: from an address that nobody can have: broadcast, multicast, unspecified, our own. */
  badSource = 0;
  /** In: fragments; what becomes of them is counted in `Stack.fragments`. */
  fragment = 0;
  /** In: a protocol that nothing here takes. */
  unknownProtocol = 0;
  /** In: an ICMP message that is malformed, or about nothing of ours. */
  icmpIgnored = 0;
  /** Out: echo replies. */
  echoes = 0;
  /** Out: an answer that its rate limit held back. */
  rateLimited = 0;
  /** Out: the sink had no room. */
  sinkFull = 0;

  /** In: TCP segments with a sound header. */
  segmentsIn = 0;
  /** Out: TCP segments. */
  segmentsOut = 0;
  /** In: a TCP header that is malformed. */
  badSegment = 0;
  /** In: a segment for which there is no connection and no listener. */
  noConnection = 0;
  /** Out: resets. */
  resetsOut = 0;
  /** In: resets that ended a connection. */
  resetsIn = 0;
  /** Out: ICMP errors. */
  icmpErrorsOut = 0;
  /** In: a segment outside of the window (RFC 9293 section 3.10.7.4). */
  outsideWindow = 0;
  /** In: an old segment by its timestamp (RFC 7323 section 5.3). */
  paws = 0;
  /** In: a segment without the timestamp that was agreed on (RFC 7323 section 3.2). */
  noTimestamp = 0;
  /** Out: challenge ACKs (RFC 5961). */
  challenges = 0;
  /** In: a SYN that found {@link Limits.connections}, or {@link Limits.pending} in one batch, used up. */
  synDropped = 0;
  /** A SYN that waited for its owner and made room for another. */
  pendingEvicted = 0;
  /** A half-open connection that made room for another. */
  halfOpenEvicted = 0;
  /** A TIME-WAIT that made room for another. */
  timeWaitEvicted = 0;
  /** A TIME-WAIT whose port a new connection of ours took, as none was free (RFC 6191). */
  timeWaitReused = 0;
  /** In: data dropped for want of memory. */
  noMemory = 0;
  /** In: data dropped because it would have opened one gap too many. */
  tooManyGaps = 0;
  /** Out: segments sent again. */
  retransmits = 0;
  /** Retransmission timeouts. */
  timeouts = 0;
  /** Tail loss probes (RFC 8985 section 7). */
  tailProbes = 0;
  /** Times that congestion control was told of a loss. */
  recoveries = 0;
  /** Losses that turned out to be none, and were taken back. */
  undone = 0;
  /** Connections opened by `connect`. */
  opened = 0;
  /** Connections accepted from a listener. */
  accepted = 0;
}
