/**
 * How a guest tries to get past the filter: by frames that are not what they should be.
 *
 * @module
 */

import { ARP_REPLY } from "../../net/wire/arp.ts";
import { writeU16 } from "../../net/wire/bytes.ts";
import { ETHERTYPE, MAC_BROADCAST } from "../../net/wire/ethernet.ts";
import { IPV4_CHECKSUM, IPV4_HEADER_LEN, IPV4_MF, IPV4_TOTAL_LENGTH } from "../../net/wire/ipv4.ts";
import { UDP_LENGTH } from "../../net/wire/udp.ts";
import { type Attempt, SEEN } from "./attempt.ts";
import {
  arpFrame,
  dnsQuestion,
  fixChecksum,
  GUEST6,
  INNER,
  IP,
  ip6Frame,
  ipFrame,
  NEXT_HEADER,
  payload,
  rawFrame,
  tagged,
  udp6,
  udpFrame,
} from "./frames.ts";
import { ipv4, ipv6 } from "./scene.ts";

const ALL_NODES = { address: ipv6("ff02::1"), mac: 0x333300000001 };
const ALL_ROUTERS = { address: ipv6("ff02::2"), mac: 0x333300000002 };
/** A locally administered address that nobody has. */
const STRANGER_MAC = 0x0200deadbeef;

/** A message of ICMPv6 with the mark in an option for experiments (RFC 4727 section 8.1). */
function icmp6(type: number, body: Uint8Array, mark: Uint8Array): Uint8Array {
  const option = [253, 2, ...mark, 0, 0];
  return Uint8Array.from([type, 0, 0, 0, 0, 0, 0, 0, ...body, ...option]);
}

/** An IPv4 header that is changed after it was made; the checksum is made right again. */
function changed(frame: Uint8Array, change: (frame: Uint8Array) => void): Uint8Array {
  change(frame);
  fixChecksum(frame);
  return frame;
}

/** The attempts to get past. */
export const BYPASS: readonly Attempt[] = [
  {
    id: "spoofed-ip",
    tries: "sends to its tunnel as the neighbour, the lender, the gateway and another guest",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["source-address"],
    frames: ({ link, neighbour, host }, mark) =>
      [ipv4(neighbour), ...Object.values(host).map(ipv4), link.guestAddress + 1, 0]
        .map((from, i) => udpFrame(link, mark(i), { from })),
  },
  {
    id: "spoofed-mac",
    tries: "sends to its tunnel from other MAC addresses",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["source-mac"],
    frames: ({ link, other }, mark) =>
      [STRANGER_MAC, link.gatewayMac, other.mac, MAC_BROADCAST, 0]
        .map((sourceMac, i) => udpFrame(link, mark(i), { sourceMac })),
  },
  {
    id: "fragments",
    tries: "first, later, last and overlapping fragments to its tunnel",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["fragment"],
    frames: ({ link }, mark) =>
      [IPV4_MF, IPV4_MF | 12, 12, IPV4_MF | 4, 0x8000]
        .map((fragment, i) => udpFrame(link, mark(i), { fragment })),
  },
  {
    id: "jumbo",
    tries: "frames that are longer than a link of 1500 bytes carries, to its tunnel",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["too-long"],
    frames: ({ link }, mark) =>
      [1488, 1600, 4000, 8900]
        .map((length, i) => udpFrame(link, mark(i), { payload: payload(mark(i), length) })),
  },
  {
    id: "ip-malformed",
    tries: "IPv4 headers with a wrong version, length, checksum, or options, to its tunnel",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["options", "bad-header", "bad-length", "bad-checksum", "truncated"],
    frames: ({ link }, mark) => {
      const first = (n: number, value: number): Uint8Array => {
        return changed(udpFrame(link, mark(n)), (frame) => frame[IP] = value);
      };
      const total = (n: number, add: number): Uint8Array => {
        const length = udpFrame(link, mark(n)).length - IP;
        return changed(udpFrame(link, mark(n)), (frame) => {
          writeU16(frame, IP + IPV4_TOTAL_LENGTH, add === -length ? 0 : length + add);
        });
      };
      const checksum = udpFrame(link, mark(9));
      writeU16(checksum, IP + IPV4_CHECKSUM, 0xdead);
      const udpLength = udpFrame(link, mark(10));
      writeU16(udpLength, INNER + UDP_LENGTH, 0xffff);
      return [
        withOption(udpFrame(link, mark(0))),
        first(1, 0x46),
        first(2, 0x44),
        first(3, 0x55),
        first(4, 0x65),
        first(5, 0x05),
        total(6, 1),
        total(7, -1),
        total(8, -(udpFrame(link, mark(8)).length - IP)),
        checksum,
        udpLength,
        cutAfter(udpFrame(link, mark(11)), mark(11)),
      ];
    },
  },
  {
    id: "ip-protocols",
    tries: "other protocols on IPv4 to the gateway: IPIP, 6in4, GRE, ESP, SCTP, UDP-Lite",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["protocol"],
    frames: ({ link }, mark) =>
      [4, 41, 47, 50, 132, 136, 255, 0]
        .map((protocol, i) => ipFrame(link, protocol, payload(mark(i)))),
  },
  {
    id: "ethernet-malformed",
    tries: "frames of 802.3 length, frames cut short, VLAN tags, two tags",
    leak: SEEN,
    from: [],
    reasons: ["ether-type", "truncated", "vlan"],
    frames: ({ link }, mark) => [
      rawFrame(link, mark(0), 96),
      rawFrame(link, mark(1), 0),
      rawFrame(link, mark(2), 0x05dc),
      cutAfter(udpFrame(link, mark(3)), mark(3)),
      tagged(udpFrame(link, mark(4)), ETHERTYPE.vlan),
      tagged(udpFrame(link, mark(5)), ETHERTYPE.serviceVlan),
      tagged(tagged(udpFrame(link, mark(6)), ETHERTYPE.vlan), ETHERTYPE.serviceVlan),
    ],
  },
  {
    id: "ether-types",
    tries: "other protocols on Ethernet: LLDP, EAPOL, PPPoE, MPLS, RARP, Wake-on-LAN, experiments",
    leak: SEEN,
    from: [],
    reasons: ["ether-type"],
    frames: ({ link }, mark) =>
      [0x88b5, 0x88cc, 0x888e, 0x8863, 0x8864, 0x8847, 0x8035, 0x0842, 0x9000, 0xffff]
        .flatMap((type, i) => [
          rawFrame(link, mark(2 * i), type),
          rawFrame(link, mark(2 * i + 1), type, MAC_BROADCAST),
        ]),
  },
  {
    id: "ipv6",
    tries: "router solicitation, neighbor discovery, a false router, UDP to everybody",
    leak: SEEN,
    from: [],
    reasons: ["ipv6"],
    frames: ({ link, host6 }, mark) => {
      const target = ipv6(host6[0] ?? "::1");
      const icmp = (
        n: number,
        to: { address: Uint8Array; mac: number },
        type: number,
        body: Uint8Array,
      ): Uint8Array =>
        ip6Frame(link, {
          destinationMac: to.mac,
          from: GUEST6,
          to: to.address,
          next: NEXT_HEADER.icmpv6,
          inner: icmp6(type, body, mark(n)),
          checksumAt: 2,
          hops: 255,
        });
      return [
        icmp(0, ALL_ROUTERS, 133, new Uint8Array(0)),
        icmp(1, ALL_NODES, 135, target),
        icmp(2, ALL_NODES, 136, target),
        icmp(3, ALL_NODES, 134, new Uint8Array(8)),
        icmp(4, { address: target, mac: link.gatewayMac }, 128, new Uint8Array(0)),
        ip6Frame(link, {
          destinationMac: ALL_NODES.mac,
          from: GUEST6,
          to: ALL_NODES.address,
          next: NEXT_HEADER.udp,
          inner: udp6(5353, payload(mark(5))),
          checksumAt: 6,
        }),
      ];
    },
  },
  {
    id: "arp-strangers",
    tries: "ARP for the neighbour, the router, the lender and other guests",
    leak: "somebody answers, or the frame is seen outside",
    from: [],
    reasons: ["arp"],
    frames: ({ link, neighbour, router, host, internet }, mark) =>
      [neighbour, router, host["uplink"] ?? internet, internet].map(ipv4)
        .concat(link.guestAddress + 1)
        .map((target, i) => arpFrame(link, mark(i), { target })),
  },
  {
    id: "arp-gratuitous",
    tries: "says that it has the address of the gateway, the neighbour, the router, the lender",
    leak: SEEN,
    from: [],
    reasons: ["arp"],
    frames: ({ link, neighbour, router, host, internet }, mark) =>
      [neighbour, router, host["uplink"] ?? internet].map(ipv4).concat(link.gatewayAddress)
        .flatMap((address, i) => [
          arpFrame(link, mark(2 * i), { sender: address, target: address }),
          arpFrame(link, mark(2 * i + 1), { opcode: ARP_REPLY, sender: address, target: address }),
        ]),
  },
  {
    id: "wrong-port",
    tries: "UDP to the gateway at ports beside the tunnel's, and from port 0",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["port"],
    frames: ({ link }, mark) => [
      ...[link.gatewayPort + 1, link.gatewayPort - 1, 22, 53, 123, 0]
        .map((port, i) => udpFrame(link, mark(i), { port })),
      udpFrame(link, mark(6), { sourcePort: 0 }),
    ],
  },
  {
    id: "not-wireguard",
    tries: "other bytes than WireGuard's to the tunnel's port",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["not-wireguard"],
    frames: ({ link }, mark) => {
      const shaped = (n: number, length: number, head: readonly number[]): Uint8Array => {
        const bytes = payload(mark(n), length);
        bytes.set(head);
        return udpFrame(link, mark(n), { payload: bytes });
      };
      return [
        udpFrame(link, mark(0), { payload: dnsQuestion(mark(0)) }),
        shaped(1, 96, [0, 0, 0, 0]),
        shaped(2, 96, [5, 0, 0, 0]),
        shaped(3, 96, [4, 0, 0, 1]),
        shaped(4, 97, [4, 0, 0, 0]),
        shaped(5, 147, [1, 0, 0, 0]),
        shaped(6, 93, [2, 0, 0, 0]),
        shaped(7, 65, [3, 0, 0, 0]),
        shaped(8, 31, [4, 0, 0, 0]),
      ];
    },
  },
];

/** `frame` with four bytes of options, everything else right (RFC 791 section 3.1: no operation). */
function withOption(frame: Uint8Array): Uint8Array {
  const out = new Uint8Array(frame.length + 4);
  out.set(frame.subarray(0, INNER));
  out.set([1, 1, 1, 1], INNER);
  out.set(frame.subarray(INNER), INNER + 4);
  out[IP] = 0x46;
  writeU16(out, IP + IPV4_TOTAL_LENGTH, out.length - IP);
  writeU16(out, IP + IPV4_CHECKSUM, 0);
  let sum = 0;
  for (let at = IP; at < IP + IPV4_HEADER_LEN + 4; at += 2) {
    sum += ((out[at] ?? 0) << 8) | (out[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  writeU16(out, IP + IPV4_CHECKSUM, ~sum & 0xffff);
  return out;
}

/** The Ethernet header and a mark where the IPv4 header should be, cut before that ends. */
function cutAfter(frame: Uint8Array, mark: Uint8Array): Uint8Array {
  const out = frame.slice(0, IP + 4 + mark.length);
  out.set(mark, IP + 4);
  return out;
}
