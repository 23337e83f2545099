/**
 * What became of a frame or a datagram: small numbers for the packet path, words for people.
 *
 * The words are stable: counters, logs and reports carry them.
 *
 * @module
 */

/** One number for each thing that can become of a packet. {@link REASONS} has the words. */
export const VERDICT = {
  /** Sent on to the other side. */
  forwarded: 0,
  /** An ARP request for the gateway; the reply was sent. */
  answered: 1,
  /** The guest's ARP probe or announcement of its own address; nothing needs to be sent. */
  announced: 2,
  /** Shorter than its headers say. */
  truncated: 3,
  /** Longer than a link of MTU 1500 carries. */
  tooLong: 4,
  /** Not sent from the guest's MAC address. */
  sourceMac: 5,
  /** Not sent to the gateway's MAC address. */
  destinationMac: 6,
  /** IPv6, which the guest has no use for outside its tunnel. */
  ipv6: 7,
  /** An 802.1Q or 802.1ad tag. */
  vlan: 8,
  /** Neither IPv4 nor ARP. */
  etherType: 9,
  /** ARP for anything but the gateway, or with addresses that are not the guest's. */
  arp: 10,
  /** Version or header length that no IPv4 packet has. */
  badHeader: 11,
  /** IPv4 options. */
  options: 12,
  /** A length field that does not agree with the frame. */
  badLength: 13,
  /** IPv4 header checksum. */
  badChecksum: 14,
  /** A fragment. */
  fragment: 15,
  /** Not sent from the guest's IPv4 address. */
  sourceAddress: 16,
  /** To an address that is not allowed: internet, LAN, host or another guest. */
  destination: 17,
  /** ICMP, TCP or any other protocol that is not UDP. */
  protocol: 18,
  /** To a port that is not allowed, or from port 0. */
  port: 19,
  /** A payload that is no WireGuard message. */
  notWireguard: 20,
  /** No uplink is set, so there is nowhere to send it. */
  noUplink: 21,
  /** From the uplink's side, but not from the uplink. */
  sender: 22,
  /** From the uplink, before the guest has sent anything to answer. */
  noFlow: 23,
  /** The sink was full. */
  noRoom: 24,
  /** The guest was cut off for a violation; nothing moves any more, either way. */
  cutOff: 25,
} as const;

/** One of {@link VERDICT}. */
export type Verdict = (typeof VERDICT)[keyof typeof VERDICT];

/** The word for each verdict, by number. */
export const REASONS: readonly string[] = Object.keys(VERDICT).map((name) =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
);

/** How many verdicts there are: the length of a table with one entry for each. */
export const VERDICT_COUNT: number = REASONS.length;

/** Whether the packet was turned away: everything but forwarded, answered and announced. */
export function isRefusal(verdict: Verdict): boolean {
  return verdict > VERDICT.announced;
}

/** Counts of verdicts as `{ forwarded: 3, port: 1 }`, without those that are zero. */
export function countsByReason(counts: Float64Array): Record<string, number> {
  const out: Record<string, number> = {};
  REASONS.forEach((reason, i) => {
    const count = counts[i] ?? 0;
    if (count !== 0) out[reason] = count;
  });
  return out;
}
