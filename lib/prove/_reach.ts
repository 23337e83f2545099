/**
 * Whom a guest tries to reach: everybody but its borrower.
 *
 * @module
 */

import { MAC_BROADCAST } from "../../net/wire/ethernet.ts";
import { ANSWERED, type Attempt, type Call, callsTo, SEEN } from "./attempt.ts";
import {
  dnsQuestion,
  GUEST6,
  ip6Frame,
  ipFrame,
  NEXT_HEADER,
  payload,
  pingFrame,
  synFrame,
  udp6,
  udpFrame,
} from "./frames.ts";
import { GATEWAY, ipv4, ipv6, type Scene } from "./scene.ts";

/** UDP, TCP and ICMP to one host; ports on which the world's hosts answer. */
function towards(host: string): Pick<Attempt, "frames" | "calls"> {
  const of = (scene: Scene): string => scene.host[host] ?? hostOf(scene, host);
  return {
    frames: (scene, mark) => {
      const to = ipv4(of(scene));
      return [
        udpFrame(scene.link, mark(0), { to, port: 53 }),
        udpFrame(scene.link, mark(1), { to }),
        synFrame(scene.link, mark(2), 80, { to }),
        pingFrame(scene.link, mark(3), { to }),
      ];
    },
    // A kernel sends nothing for its own loopback address by any card.
    ...(host === "loopback" ? {} : { calls: (scene: Scene): Call[] => callsTo(of(scene)) }),
  };
}

function hostOf(scene: Scene, place: string): string {
  if (place === "internet") return scene.internet;
  if (place === "neighbour") return scene.neighbour;
  return scene.router;
}

/** DHCPDISCOVER (RFC 2131); the mark is the client's name. */
function dhcpDiscover(mark: Uint8Array): Uint8Array {
  const out = new Uint8Array(300);
  out.set([1, 1, 6, 0]);
  out.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 12, mark.length, ...mark, 255], 236);
  return out;
}

/** 224.0.0.251 and 239.255.255.250 (RFC 1112 section 6.4). */
const MDNS = { address: "224.0.0.251", mac: 0x01005e0000fb };
const SSDP = { address: "239.255.255.250", mac: 0x01005e7ffffa };

/** The attempts to reach somebody. */
export const REACH: readonly Attempt[] = [
  {
    id: "internet",
    tries: "UDP, TCP and ICMP to a host beyond the lender's router",
    leak: ANSWERED,
    from: ["internet"],
    reasons: ["destination"],
    ...towards("internet"),
  },
  {
    id: "lan-neighbour",
    tries: "UDP, TCP and ICMP to a host on the lender's network",
    leak: ANSWERED,
    from: ["neighbour"],
    reasons: ["destination"],
    ...towards("neighbour"),
  },
  {
    id: "lan-router",
    tries: "UDP, TCP and ICMP to the router of the lender's network",
    leak: ANSWERED,
    from: ["router"],
    reasons: ["destination"],
    ...towards("router"),
  },
  {
    id: "lan-cards",
    tries: "UDP to cards on the lender's network, by their MAC addresses",
    leak: SEEN,
    from: ["neighbour", "router"],
    reasons: ["destination-mac"],
    frames: ({ link, cards, neighbour }, mark) =>
      cards.flatMap((destinationMac, i) => [
        udpFrame(link, mark(2 * i), { destinationMac, to: ipv4(neighbour), port: 53 }),
        udpFrame(link, mark(2 * i + 1), { destinationMac }),
      ]),
  },
  {
    id: "host-uplink",
    tries: "UDP, TCP and ICMP to the lender's address on its network",
    leak: ANSWERED,
    from: ["host"],
    reasons: ["destination"],
    ...towards("uplink"),
  },
  {
    id: "host-gateway",
    tries: "UDP, TCP and ICMP to the gateway's address, beside the tunnel's port",
    leak: ANSWERED,
    from: ["host"],
    reasons: ["protocol", "port"],
    frames: ({ link }, mark) => [
      udpFrame(link, mark(0), { port: 53 }),
      synFrame(link, mark(1), 80),
      synFrame(link, mark(2), link.gatewayPort),
      pingFrame(link, mark(3)),
    ],
    calls: ({ host }) => callsTo(host["gateway"] ?? GATEWAY),
  },
  {
    id: "host-loopback",
    tries: "UDP, TCP and ICMP to 127.0.0.1 of the lender",
    leak: SEEN,
    from: ["host"],
    reasons: ["destination"],
    ...towards("loopback"),
  },
  {
    id: "host-ipv6",
    tries: "UDP to every IPv6 address of the lender",
    leak: SEEN,
    from: ["host"],
    reasons: ["ipv6"],
    frames: ({ link, host6 }, mark) =>
      host6.map((address, i) =>
        ip6Frame(link, {
          destinationMac: link.gatewayMac,
          from: GUEST6,
          to: ipv6(address),
          next: NEXT_HEADER.udp,
          inner: udp6(53, payload(mark(i))),
          checksumAt: 6,
        })
      ),
  },
  {
    id: "host-daemon",
    tries: "UDP to the lender's own daemon, at each of its addresses",
    leak: SEEN,
    from: ["host"],
    reasons: ["destination", "port"],
    frames: ({ link, host, lenderPort }, mark) =>
      Object.values(host).map((address, i) =>
        // At the gateway's address this port may be the tunnel's own.
        udpFrame(link, mark(i), {
          to: ipv4(address),
          port: ipv4(address) === link.gatewayAddress ? lenderPort ^ 1 : lenderPort,
        })
      ),
  },
  {
    id: "scan-host",
    tries: "connects to every low port of the lender's host",
    leak: "a port says yes or no",
    from: ["host"],
    reasons: ["destination"],
    frames: ({ link, host }, mark) => scanFrames(link, mark, host["uplink"] ?? "127.0.0.1"),
    scan: ({ host }) => host["uplink"] ?? "127.0.0.1",
  },
  {
    id: "scan-gateway",
    tries: "connects to every low port of the gateway",
    leak: "a port says yes or no",
    from: ["host"],
    reasons: ["protocol"],
    frames: ({ link }, mark) => scanFrames(link, mark, GATEWAY),
    scan: () => GATEWAY,
  },
  {
    id: "borrower-direct",
    tries: "UDP to where the borrower really is, beside the tunnel",
    leak: SEEN,
    from: ["borrower"],
    reasons: ["destination"],
    frames: ({ link, borrower }, mark) => [
      udpFrame(link, mark(0), { to: ipv4(borrower.address), port: borrower.port }),
      udpFrame(link, mark(1), { to: ipv4(borrower.address), port: 53 }),
      synFrame(link, mark(2), 80, { to: ipv4(borrower.address) }),
    ],
  },
  {
    id: "other-vm",
    tries: "frames to another VM of the same lender, by MAC, by address, by its tunnel's address",
    leak: "the frame is seen in that VM, or outside",
    from: ["other"],
    reasons: ["destination", "destination-mac"],
    frames: ({ link, other }, mark) => [
      udpFrame(link, mark(0), { destinationMac: other.mac, to: link.guestAddress }),
      udpFrame(link, mark(1), { destinationMac: other.mac, to: ipv4(other.tunnel), port: 22 }),
      udpFrame(link, mark(2), { to: link.guestAddress + 1 }),
      udpFrame(link, mark(3), { to: ipv4(other.tunnel), port: 22 }),
      synFrame(link, mark(4), 22, { to: ipv4(other.tunnel) }),
      pingFrame(link, mark(5), { to: ipv4(other.tunnel) }),
    ],
    calls: (scene) => [
      { kind: "tcp", host: scene.other.tunnel, port: 22 },
      { kind: "ping", host: scene.other.tunnel, port: 0 },
    ],
  },
  {
    id: "dns",
    tries: "DNS by UDP and TCP to the internet, the router and the gateway",
    leak: ANSWERED,
    from: ["internet", "router", "host"],
    reasons: ["destination", "port", "protocol"],
    frames: ({ link, internet, router }, mark) => [
      udpFrame(link, mark(0), { to: ipv4(internet), port: 53, payload: dnsQuestion(mark(0)) }),
      udpFrame(link, mark(1), { to: ipv4(router), port: 53, payload: dnsQuestion(mark(1)) }),
      udpFrame(link, mark(2), { port: 53, payload: dnsQuestion(mark(2)) }),
      synFrame(link, mark(3), 53, { to: ipv4(internet) }),
      synFrame(link, mark(4), 53, { to: ipv4(router) }),
      synFrame(link, mark(5), 53),
    ],
    calls: ({ internet, router }) =>
      [internet, router].map((host) => ({ kind: "tcp", host, port: 53 })),
  },
  {
    id: "dhcp",
    tries: "asks the lender's network for an address",
    leak: SEEN,
    from: [],
    reasons: ["destination-mac"],
    frames: ({ link }, mark) => [
      udpFrame(link, mark(0), {
        destinationMac: MAC_BROADCAST,
        from: 0,
        to: 0xffffffff,
        sourcePort: 68,
        port: 67,
        payload: dhcpDiscover(mark(0)),
      }),
    ],
  },
  {
    id: "broadcast",
    tries: "UDP to everybody: 255.255.255.255, its own network's and the lender's broadcast",
    leak: SEEN,
    from: [],
    reasons: ["destination-mac", "destination"],
    frames: ({ link, broadcast }, mark) =>
      [0xffffffff, link.gatewayAddress | 0xff, ipv4(broadcast)].flatMap((address, i) => {
        const to = address >>> 0;
        return [
          udpFrame(link, mark(2 * i), { destinationMac: MAC_BROADCAST, to }),
          udpFrame(link, mark(2 * i + 1), { to }),
        ];
      }),
    calls: ({ broadcast }) =>
      ["255.255.255.255", broadcast].map((host) => ({ kind: "udp", host, port: 53 })),
  },
  {
    id: "multicast",
    tries: "mDNS, SSDP and IGMP to the lender's network",
    leak: SEEN,
    from: [],
    reasons: ["destination-mac", "destination"],
    frames: ({ link }, mark) => [
      udpFrame(link, mark(0), { destinationMac: MDNS.mac, to: ipv4(MDNS.address), port: 5353 }),
      udpFrame(link, mark(1), { to: ipv4(MDNS.address), port: 5353 }),
      udpFrame(link, mark(2), { destinationMac: SSDP.mac, to: ipv4(SSDP.address), port: 1900 }),
      udpFrame(link, mark(3), { to: ipv4(SSDP.address), port: 1900 }),
      ipFrame(link, 2, payload(mark(4)), {
        destinationMac: MDNS.mac,
        to: ipv4(MDNS.address),
      }),
    ],
  },
];

/** A few of the ports, as frames: for a guest that is not ours to enter. */
function scanFrames(
  link: Scene["link"],
  mark: (n: number) => Uint8Array,
  host: string,
): Uint8Array[] {
  return [22, 80, 443, 3389, 8080].map((port, i) =>
    synFrame(link, mark(i), port, { to: ipv4(host) })
  );
}
