/**
 * Which refused frames are a violation: something that a guest sends only when somebody in it wants
 * to get around the tunnel. In the modes that end a VM for a violation, every refusal is one except
 * what a kernel sends by itself, which is dropped as in mode `filtered`:
 *
 * | verdict              | no violation when                                                    |
 * | -------------------- | -------------------------------------------------------------------- |
 * | `ipv6`               | to a multicast MAC address (33:33:...): router and neighbor           |
 * |                      | solicitation (RFC 4861), MLD (RFC 3810), DHCPv6, mDNS                |
 * | `destination-mac`    | to a group MAC address, and either to 224.0.0.0/24, which no router  |
 * |                      | forwards (RFC 5771 section 4: IGMP, mDNS, LLMNR), or DHCP from a      |
 * |                      | client to 255.255.255.255 (RFC 2131 section 4.1)                     |
 * | `protocol`           | ICMP "unreachable" to the gateway, whose address the frame has: a     |
 * |                      | message of the tunnel came while nobody listened                     |
 * | `no-uplink`, `no-room` | always: the frame was good, this host had no place for it          |
 * | `cut-off`            | always: the violation was an earlier frame                           |
 *
 * Frames that cannot be parsed are violations too: no kernel sends them.
 *
 * @module
 */

import { readU16, readU32 } from "../wire/bytes.ts";
import { ETH_HEADER_LEN, ETH_TYPE, ETHERTYPE } from "../wire/ethernet.ts";
import { ICMP, ICMP_TYPE } from "../wire/icmp.ts";
import { IPV4_DESTINATION, IPV4_HEADER_LEN, IPV4_PROTOCOL, PROTOCOL } from "../wire/ipv4.ts";
import { UDP_DESTINATION_PORT, UDP_SOURCE_PORT } from "../wire/udp.ts";
import { VERDICT, type Verdict } from "./verdict.ts";

const IP = ETH_HEADER_LEN;
/** Group bit of a MAC address (IEEE 802, section 8.2): the lowest of its first byte. */
const GROUP = 1;
/** 224.0.0.0/24 without its last byte. */
const LOCAL_MULTICAST = 0xe00000;
const BROADCAST = 0xffffffff;
/** Ports of DHCP (RFC 2131 section 4.1). */
const DHCP_SERVER = 67;
const DHCP_CLIENT = 68;

/**
 * Whether the frame of `length` bytes at `at`, which the rules gave this verdict, is a violation.
 * Never throws and allocates nothing.
 */
export function isViolation(verdict: Verdict, b: Uint8Array, at: number, length: number): boolean {
  switch (verdict) {
    case VERDICT.forwarded:
    case VERDICT.answered:
    case VERDICT.announced:
    case VERDICT.noUplink:
    case VERDICT.noRoom:
    case VERDICT.cutOff:
      return false;
    case VERDICT.ipv6:
      return b[at] !== 0x33 || b[at + 1] !== 0x33;
    case VERDICT.destinationMac:
      return !isLinkChatter(b, at, length);
    case VERDICT.protocol:
      return b[at + IP + IPV4_PROTOCOL] !== PROTOCOL.icmp || length <= IP + IPV4_HEADER_LEN ||
        b[at + IP + IPV4_HEADER_LEN + ICMP_TYPE] !== ICMP.unreachable;
    default:
      return true;
  }
}

/** Multicast and DHCP that stay on a link. */
function isLinkChatter(b: Uint8Array, at: number, length: number): boolean {
  if (((b[at] ?? 0) & GROUP) === 0 || readU16(b, at + ETH_TYPE) !== ETHERTYPE.ipv4) return false;
  const ip = at + IP;
  if (length < IP + IPV4_HEADER_LEN || (b[ip] ?? 0) >> 4 !== 4) return false;
  const destination = readU32(b, ip + IPV4_DESTINATION);
  if (destination >>> 8 === LOCAL_MULTICAST) return true;
  if (destination !== BROADCAST || b[ip + IPV4_PROTOCOL] !== PROTOCOL.udp) return false;
  const udp = IP + 4 * ((b[ip] ?? 0) & 0xf);
  return length >= udp + 4 && readU16(b, at + udp + UDP_SOURCE_PORT) === DHCP_CLIENT &&
    readU16(b, at + udp + UDP_DESTINATION_PORT) === DHCP_SERVER;
}
