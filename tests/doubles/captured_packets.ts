/**
 * Layers of the captured frames, for tests: a frame that does not parse is a failed test.
 *
 * @module
 */

import { captured, type CapturedName } from "./captured_frames.ts";
import { type IcmpMessage, parseIcmp } from "../../net/wire/icmp.ts";
import { type Ipv4Packet, parseIpv4Packet } from "../../net/wire/ipv4.ts";
import { parseTcp, type TcpSegment } from "../../net/wire/tcp.ts";
import { parseUdp, type UdpDatagram } from "../../net/wire/udp.ts";

/** The IPv4 packet in a captured frame. */
export function ipv4Packet(name: CapturedName): Ipv4Packet {
  return parsed(name, parseIpv4Packet(captured(name).subarray(14)));
}

/** The UDP datagram in a captured frame. */
export function udpPacket(name: CapturedName): UdpDatagram {
  return parsed(name, parseUdp(ipv4Packet(name).payload));
}

/** The TCP segment in a captured frame. */
export function tcpPacket(name: CapturedName): TcpSegment {
  return parsed(name, parseTcp(ipv4Packet(name).payload));
}

/** The ICMP message in a captured frame. */
export function icmpPacket(name: CapturedName): IcmpMessage {
  return parsed(name, parseIcmp(ipv4Packet(name).payload));
}

function parsed<T>(name: CapturedName, value: T | string): T {
  if (typeof value === "string") throw new Error(`Cannot parse ${name}: ${value}`);
  return value;
}
