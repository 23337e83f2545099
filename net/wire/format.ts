/**
 * One line for any frame or packet, for logs and failed tests: `UDP 10.0.0.2:53 > 10.0.0.1:9 len
 * 12`. What does not parse is said as far as it goes: `IPv4 bad-length (34 bytes)`. Never throws
 * and prints nothing of a payload.
 *
 * Not for the packet path: it makes strings.
 *
 * @module
 */

import { formatArp, parseArp } from "./arp.ts";
import { ETHERTYPE, formatEthernet, parseEthernet } from "./ethernet.ts";
import { formatIcmp, ICMP_HEADER_LEN } from "./icmp.ts";
import { formatIpv4, parseIpv4Packet, PROTOCOL } from "./ipv4.ts";
import { formatTcp, parseTcp } from "./tcp.ts";
import { formatUdp, parseUdp } from "./udp.ts";

/** One line for the Ethernet frame of `length` bytes at `at`. */
export function formatFrame(buffer: Uint8Array, at: number, length: number): string {
  const frame = parseEthernet(buffer.subarray(at, at + length));
  if (typeof frame === "string") return `Ethernet ${frame} (${length} bytes)`;
  if (frame.type === ETHERTYPE.ipv4) return formatPacket(frame.payload, 0, frame.payload.length);
  if (frame.type !== ETHERTYPE.arp) return `Ethernet ${formatEthernet(frame)}`;
  const arp = parseArp(frame.payload);
  return typeof arp === "string" ? `ARP ${arp} (${frame.payload.length} bytes)` : formatArp(arp);
}

/** One line for the IPv4 packet of `length` bytes at `at`. */
export function formatPacket(buffer: Uint8Array, at: number, length: number): string {
  const packet = parseIpv4Packet(buffer.subarray(at, at + length));
  if (typeof packet === "string") return `IPv4 ${packet} (${length} bytes)`;
  const { source, destination, payload } = packet;
  // Of a fragment only the first one has ports, and that one without a valid length.
  if (packet.fragment) return `IPv4 ${formatIpv4(packet)}`;
  switch (packet.protocol) {
    case PROTOCOL.udp: {
      const udp = parseUdp(payload);
      return typeof udp === "string"
        ? `UDP ${udp}, ${formatIpv4(packet)}`
        : formatUdp(udp, source, destination);
    }
    case PROTOCOL.tcp: {
      const tcp = parseTcp(payload);
      return typeof tcp === "string"
        ? `TCP ${tcp}, ${formatIpv4(packet)}`
        : formatTcp(tcp, source, destination);
    }
    case PROTOCOL.icmp:
      return payload.length < ICMP_HEADER_LEN
        ? `ICMP truncated, ${formatIpv4(packet)}`
        : formatIcmp(payload, source, destination);
    default:
      return `IPv4 ${formatIpv4(packet)}`;
  }
}
