/**
 * The far end of a guest's cable: a gateway that carries the guest's tunnel and nothing else.
 *
 * ## Theory of operation
 *
 * ```
 *   guest                       FilteredNat                            uplink
 *   192.168.100.2:any  ------>  192.168.100.1:51820   ---- payload --> the borrower's endpoint
 *                      <------  (virtual)             <--- payload ---
 * ```
 *
 * The guest believes that its WireGuard peer is the gateway. A frame that passes every rule below
 * loses its headers, and its payload is written straight into the sink of the uplink; what comes
 * from the uplink gets new headers, written straight into the sink of the guest. So no header that
 * the guest wrote ever leaves this host, the guest never learns where the borrower is, and a
 * borrower that moves is one {@link FilteredNat.setUplink}. There is no table of flows: a guest has
 * one tunnel, and the source port of its last good message is where replies go.
 *
 * This is a machine without I/O: no sockets, no clock, no log. Bytes from either side never throw;
 * every packet gets a {@link Verdict}, which is counted.
 *
 * How closely a guest is looked at is the matter of a {@link FilterStrategy}: in mode `filtered`
 * every frame meets the rules below; in the others some pass without, and a violation cuts the guest
 * off: from then on every packet of either side is refused as `cut-off`.
 *
 * ## From the guest, in this order; the first that fails names the refusal
 *
 *  1. `truncated`, `too-long`: 14 to 1514 bytes, all of them in the buffer.
 *  2. `source-mac`: the MAC address the lender gave to the guest.
 *  3. `ipv6`, `vlan`, `ether-type`: IPv4 or ARP.
 *  4. ARP: at most 60 bytes (`truncated`, `bad-length`), to the gateway or broadcast
 *     (`destination-mac`); a request of the guest for the gateway is `answered`, a probe or
 *     announcement of its own address is `announced` and gets nothing; all else is `arp`. The
 *     rules below are for IPv4.
 *  5. `destination-mac`: the gateway's.
 *  6. `truncated`: 20 bytes of header; `bad-header`: version 4, at least five words; `options`:
 *     exactly five. Options are refused because no tunnel needs them and each is a parser more.
 *  7. `bad-length`: the total length is that of the frame, without padding: the shortest frame
 *     that may pass has 74 bytes, above the 60 up to which Ethernet pads.
 *  8. `bad-checksum`: of the IPv4 header. The UDP checksum is not looked at: the payload is
 *     authenticated by the tunnel and gets a new checksum from this host.
 *  9. `fragment`: no flag but DF, offset 0. Nothing is reassembled here.
 * 10. `source-address`: the guest's. `destination`: an address of the allowlist.
 * 11. `protocol`: UDP. `bad-length`: UDP's length is what IPv4 leaves.
 * 12. `port`: the allowlist has this address with this port; the source port is not 0.
 * 13. `not-wireguard`: the payload has the shape of a WireGuard message.
 * 14. `no-uplink`: there is somewhere to send it. `no-room`: the sink takes it.
 *
 * ## From the uplink
 *
 *  1. `cut-off`; `truncated`, `too-long`: up to 1472 bytes, all of them in the buffer.
 *  2. `no-uplink`, `sender`: the sender is the uplink, address and port.
 *  3. `not-wireguard`: as above; the borrower's side cannot reach the guest's kernel with more.
 *  4. `no-flow`: the guest has spoken, to an endpoint that is still allowed.
 *  5. `no-room`: the sink takes it.
 *
 * The rules stand in one file, in this order, so that they can be read against this list.
 *
 * ## Limits
 *
 * - Frames of 1514 bytes, payloads of 1472; longer ones are refused, never split.
 * - {@link ALLOWLIST_MAX} endpoints; a longer list is refused and the old one stays.
 * - One flow. A second source port takes over from the first with its first good message.
 * - No queue: a full sink drops the packet, as a full wire would, and `no-room` counts it.
 * - DSCP and ECN end here, both ways: the headers of this host's packets are this host's.
 * - No ICMP is ever sent to the guest. A payload that is too long for the path beyond is dropped
 *   or fragmented by this host's kernel; the MTU of the tunnel is what has to fit.
 * - Counters are doubles: exact up to 2^53.
 *
 * @module
 */

import type { Endpoint } from "../os/endpoint.ts";
import type { DatagramSink, PacketSink } from "../os/sink.ts";
import { copyBytes, readU16, readU32, writeU16 } from "../wire/bytes.ts";
import { checksum, pseudoHeaderSum, updateChecksum } from "../wire/checksum.ts";
import {
  ETH_DESTINATION,
  ETH_HEADER_LEN,
  ETH_MAX_LEN,
  ETH_SOURCE,
  ETH_TYPE,
  ETHERTYPE,
  readMac,
  writeEthernet,
} from "../wire/ethernet.ts";
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DF,
  IPV4_FRAGMENT,
  IPV4_HEADER_LEN,
  IPV4_PLAIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  ipv4HeaderSum,
  PROTOCOL,
  writeIpv4,
} from "../wire/ipv4.ts";
import {
  UDP_CHECKSUM,
  UDP_DESTINATION_PORT,
  UDP_HEADER_LEN,
  UDP_LENGTH,
  UDP_SOURCE_PORT,
} from "../wire/udp.ts";
import { ARP_FRAME_LEN, judgeArp, writeArpAnswer } from "./guest_arp.ts";
import { EndpointAllowlist } from "./allowlist.ts";
import type { GuestLink } from "./guest_link.ts";
import { ACTION, type FilterStrategy, FullStrategy } from "./strategy.ts";
import { isRefusal, VERDICT, type Verdict, VERDICT_COUNT } from "./verdict.ts";
import { isWireguardShaped } from "./wireguard_shape.ts";

/** Where the IPv4 header begins in a frame. */
const IP = ETH_HEADER_LEN;
/** Where the UDP header begins in a frame without IPv4 options. */
const UDP = IP + IPV4_HEADER_LEN;
/** Where the payload begins. */
const PAYLOAD = UDP + UDP_HEADER_LEN;
/** Largest payload that fits a frame, in bytes. */
export const MAX_PAYLOAD: number = ETH_MAX_LEN - PAYLOAD;

/** Hears of each refused frame of the guest; called from the packet path, so it must not throw. */
export type RefusalListener = (
  verdict: Verdict,
  buffer: Uint8Array,
  at: number,
  length: number,
) => void;

/** What a {@link FilteredNat} is made of. */
export interface FilteredNatOptions {
  /** The two ends of the guest's cable. */
  readonly guest: GuestLink;
  /** Where the guest's tunnel really goes; undefined until it is known. */
  readonly uplink: Endpoint | undefined;
  /** Takes the payloads for the uplink. */
  readonly toUplink: DatagramSink;
  /** Takes the frames for the guest. */
  readonly toGuest: PacketSink;
  /** Hears of each refused frame of the guest, but not of those after it was cut off. */
  readonly onRefused?: RefusalListener;
  /** How closely the guest is looked at. @default {every frame is judged} */
  readonly strategy?: FilterStrategy;
  /** Hears, once, of the violation that the guest was cut off for. */
  readonly onViolation?: RefusalListener;
  /** What the guest may send to. @default {the virtual WireGuard endpoint of the link} */
  readonly allowlist?: EndpointAllowlist;
}

/** What was done so far; read by others while it grows. */
export interface FilterCounters {
  /** Frames from the guest, one entry for each {@link VERDICT}. */
  readonly fromGuest: Float64Array;
  /** Datagrams from the uplink, one entry for each {@link VERDICT}. */
  readonly fromUplink: Float64Array;
  /** Payload bytes forwarded: to the uplink, to the guest. */
  readonly bytes: Float64Array;
  /** One entry: frames of the guest that were forwarded unjudged. */
  readonly unjudged: Float64Array;
}

/** Index of the bytes forwarded to the uplink in {@link FilterCounters.bytes}. */
export const BYTES_TO_UPLINK = 0;
/** Index of the bytes forwarded to the guest in {@link FilterCounters.bytes}. */
export const BYTES_TO_GUEST = 1;

/** The gateway at the other end of one guest's cable. */
export class FilteredNat {
  /** What the guest may send to; at first the virtual WireGuard endpoint alone. */
  readonly allowlist: EndpointAllowlist;
  /** Verdicts and bytes. */
  readonly counters: FilterCounters = {
    fromGuest: new Float64Array(VERDICT_COUNT),
    fromUplink: new Float64Array(VERDICT_COUNT),
    bytes: new Float64Array(2),
    unjudged: new Float64Array(1),
  };
  readonly #guest: GuestLink;
  readonly #toUplink: DatagramSink;
  readonly #toGuest: PacketSink;
  readonly #onRefused: RefusalListener | undefined;
  readonly #onViolation: RefusalListener | undefined;
  readonly #strategy: FilterStrategy;
  #uplink: Endpoint | undefined;
  #isCutOff = false;
  /** The allowlist's version under which the flow was judged. */
  #judgedUnder = -1;
  /** Source port of the guest's last good message; 0 before there is one. */
  #guestPort = 0;
  /** Where that message went, as the guest sees it: replies come from there. */
  #peerAddress = 0;
  #peerPort = 0;
  /** Headers of replies, without their lengths; made by `#learn`. */
  readonly #headers = new Uint8Array(PAYLOAD);
  /** IPv4 checksum of those headers, with a total length of 0. */
  #headerChecksum = 0;
  /** Sum of the pseudo header of replies, with a length of 0. */
  #pseudoSum = 0;

  /** A gateway that allows the virtual WireGuard endpoint of the link. */
  constructor(options: FilteredNatOptions) {
    this.#guest = options.guest;
    this.#uplink = options.uplink;
    this.#toUplink = options.toUplink;
    this.#toGuest = options.toGuest;
    this.#onRefused = options.onRefused;
    this.#onViolation = options.onViolation;
    this.#strategy = options.strategy ?? new FullStrategy();
    this.allowlist = options.allowlist ?? new EndpointAllowlist();
    if (options.allowlist !== undefined) return;
    const { gatewayAddress, gatewayPort } = options.guest;
    this.allowlist.replace([{ address: gatewayAddress, port: gatewayPort }]);
  }

  /**
   * A filter for the same guest, with this one's uplink and allowlist, between other sinks. It judges
   * every frame and cuts nobody off: what it says of a frame has no consequence here.
   */
  twin(toUplink: DatagramSink, toGuest: PacketSink): FilteredNat {
    return new FilteredNat({
      guest: this.#guest,
      uplink: this.#uplink,
      allowlist: this.allowlist,
      toUplink,
      toGuest,
    });
  }

  /** Where the guest's tunnel goes now; undefined while nobody is there. */
  get uplink(): Endpoint | undefined {
    return this.#uplink;
  }

  /** Changes where the tunnel goes, from the next packet on; the guest notices nothing. */
  setUplink(endpoint: Endpoint | undefined): void {
    this.#uplink = endpoint;
  }

  /** How closely the guest is looked at. */
  get strategy(): FilterStrategy {
    return this.#strategy;
  }

  /** Whether the guest was cut off for a violation. */
  get isCutOff(): boolean {
    return this.#isCutOff;
  }

  /** Hands what was forwarded since the last call to the kernel; once per burst. */
  flush(): void {
    this.#toUplink.flush();
    this.#toGuest.flush();
  }

  /** Takes one frame of the guest: `length` bytes at `buffer[at..]`. */
  fromGuest(buffer: Uint8Array, at: number, length: number): Verdict {
    const verdict = this.#isCutOff ? VERDICT.cutOff : this.#takeFrame(buffer, at, length);
    this.counters.fromGuest[verdict] = (this.counters.fromGuest[verdict] ?? 0) + 1;
    if (isRefusal(verdict) && !this.#isCutOff) this.#refused(verdict, buffer, at, length);
    return verdict;
  }

  #takeFrame(b: Uint8Array, at: number, length: number): Verdict {
    if (
      this.#judgedUnder !== this.allowlist.version ||
      !this.#strategy.passesUnjudged(b, at, length)
    ) return this.#judgeFrame(b, at, length);
    this.counters.unjudged[0] = (this.counters.unjudged[0] ?? 0) + 1;
    return this.#forward(b, at + PAYLOAD, length - PAYLOAD);
  }

  #refused(verdict: Verdict, b: Uint8Array, at: number, length: number): void {
    if (this.#onRefused !== undefined) this.#onRefused(verdict, b, at, length);
    if (this.#strategy.act(verdict, b, at, length) !== ACTION.terminate) return;
    this.#isCutOff = true;
    if (this.#onViolation !== undefined) this.#onViolation(verdict, b, at, length);
  }

  /**
   * Takes one datagram from the uplink's side: `length` bytes at `buffer[at..]`, received from the
   * `sockaddr_in6` at `names[nameAt..]`.
   */
  fromUplink(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): Verdict {
    const verdict = this.#judgeDatagram(buffer, at, length, names, nameAt);
    this.counters.fromUplink[verdict] = (this.counters.fromUplink[verdict] ?? 0) + 1;
    return verdict;
  }

  #judgeFrame(b: Uint8Array, at: number, length: number): Verdict {
    if (length < ETH_HEADER_LEN || at + length > b.length) return VERDICT.truncated;
    if (length > ETH_MAX_LEN) return VERDICT.tooLong;
    const guest = this.#guest;
    if (readMac(b, at + ETH_SOURCE) !== guest.guestMac) return VERDICT.sourceMac;
    const type = readU16(b, at + ETH_TYPE);
    if (type !== ETHERTYPE.ipv4) return this.#judgeOther(type, b, at, length);
    if (readMac(b, at + ETH_DESTINATION) !== guest.gatewayMac) return VERDICT.destinationMac;

    const ip = at + IP;
    if (length < IP + IPV4_HEADER_LEN) return VERDICT.truncated;
    const first = b[ip] ?? 0;
    if (first !== IPV4_PLAIN) {
      return first > IPV4_PLAIN && first <= 0x4f ? VERDICT.options : VERDICT.badHeader;
    }
    const total = readU16(b, ip + IPV4_TOTAL_LENGTH);
    if (total !== length - IP) return VERDICT.badLength;
    if (ipv4HeaderSum(b, ip) !== 0xffff) return VERDICT.badChecksum;
    if ((readU16(b, ip + IPV4_FRAGMENT) & ~IPV4_DF) !== 0) return VERDICT.fragment;
    if (readU32(b, ip + IPV4_SOURCE) !== guest.guestAddress) return VERDICT.sourceAddress;
    const address = readU32(b, ip + IPV4_DESTINATION);
    if (!this.allowlist.hasAddress(address)) return VERDICT.destination;
    if (b[ip + IPV4_PROTOCOL] !== PROTOCOL.udp) return VERDICT.protocol;

    const udp = at + UDP;
    if (length < PAYLOAD || readU16(b, udp + UDP_LENGTH) !== length - UDP) return VERDICT.badLength;
    const port = readU16(b, udp + UDP_DESTINATION_PORT);
    const sourcePort = readU16(b, udp + UDP_SOURCE_PORT);
    if (sourcePort === 0 || !this.allowlist.has(address, port)) return VERDICT.port;
    const size = length - PAYLOAD;
    if (!isWireguardShaped(b, at + PAYLOAD, size)) return VERDICT.notWireguard;
    if (
      sourcePort !== this.#guestPort || port !== this.#peerPort || address !== this.#peerAddress ||
      this.allowlist.version !== this.#judgedUnder
    ) {
      this.#learn(sourcePort, address, port);
      this.#strategy.learn(b, at);
    }
    return this.#forward(b, at + PAYLOAD, size);
  }

  /** Remembers whom replies go to, and prepares their headers: lengths 0, UDP checksum 0. */
  #learn(guestPort: number, peerAddress: number, peerPort: number): void {
    this.#judgedUnder = this.allowlist.version;
    this.#guestPort = guestPort;
    this.#peerAddress = peerAddress;
    this.#peerPort = peerPort;
    const { guestMac, gatewayMac, guestAddress } = this.#guest;
    const headers = this.#headers;
    writeEthernet(headers, 0, guestMac, gatewayMac, ETHERTYPE.ipv4);
    // Never a fragment, so RFC 6864 section 4.1 leaves the identification free: 0.
    writeIpv4(headers, IP, peerAddress, guestAddress, PROTOCOL.udp, 0, 0);
    writeU16(headers, UDP + UDP_SOURCE_PORT, peerPort);
    writeU16(headers, UDP + UDP_DESTINATION_PORT, guestPort);
    this.#headerChecksum = readU16(headers, IP + IPV4_CHECKSUM);
    this.#pseudoSum = pseudoHeaderSum(peerAddress, guestAddress, PROTOCOL.udp, 0);
  }

  #forward(b: Uint8Array, at: number, size: number): Verdict {
    const uplink = this.#uplink;
    if (uplink === undefined) return VERDICT.noUplink;
    const sink = this.#toUplink;
    const to = sink.reserve(size);
    if (to < 0) return VERDICT.noRoom;
    copyBytes(b, at, sink.buffer, to, size);
    sink.commit(size, uplink);
    const { bytes } = this.counters;
    bytes[BYTES_TO_UPLINK] = (bytes[BYTES_TO_UPLINK] ?? 0) + size;
    return VERDICT.forwarded;
  }

  #judgeOther(type: number, b: Uint8Array, at: number, length: number): Verdict {
    switch (type) {
      case ETHERTYPE.arp:
        return this.#answerArp(b, at, length);
      case ETHERTYPE.ipv6:
        return VERDICT.ipv6;
      case ETHERTYPE.vlan:
      case ETHERTYPE.serviceVlan:
        return VERDICT.vlan;
      default:
        return VERDICT.etherType;
    }
  }

  #answerArp(b: Uint8Array, at: number, length: number): Verdict {
    const verdict = judgeArp(this.#guest, b, at, length);
    if (verdict !== VERDICT.answered) return verdict;
    const sink = this.#toGuest;
    const to = sink.reserve(ARP_FRAME_LEN);
    if (to < 0) return VERDICT.noRoom;
    writeArpAnswer(this.#guest, sink.buffer, to);
    sink.commit(ARP_FRAME_LEN);
    return VERDICT.answered;
  }

  #judgeDatagram(
    b: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): Verdict {
    if (this.#isCutOff) return VERDICT.cutOff;
    if (length < 0 || at + length > b.length) return VERDICT.truncated;
    if (length > MAX_PAYLOAD) return VERDICT.tooLong;
    if (this.#uplink === undefined) return VERDICT.noUplink;
    if (!this.#uplink.equalsSockaddr(names, nameAt)) return VERDICT.sender;
    if (!isWireguardShaped(b, at, length)) return VERDICT.notWireguard;
    const port = this.#guestPort;
    if (port === 0 || !this.allowlist.has(this.#peerAddress, this.#peerPort)) return VERDICT.noFlow;

    const sink = this.#toGuest;
    const to = sink.reserve(PAYLOAD + length);
    if (to < 0) return VERDICT.noRoom;
    const out = sink.buffer;
    const udpLength = UDP_HEADER_LEN + length;
    out.set(this.#headers, to);
    copyBytes(b, at, out, to + PAYLOAD, length);
    writeU16(out, to + IP + IPV4_TOTAL_LENGTH, PAYLOAD - IP + length);
    writeU16(
      out,
      to + IP + IPV4_CHECKSUM,
      updateChecksum(this.#headerChecksum, 0, PAYLOAD - IP + length),
    );
    writeU16(out, to + UDP + UDP_LENGTH, udpLength);
    const sum = checksum(out, to + UDP, udpLength, this.#pseudoSum + udpLength);
    // RFC 768: a checksum of 0 is sent as 0xffff, because 0 says that there is none.
    writeU16(out, to + UDP + UDP_CHECKSUM, sum || 0xffff);
    sink.commit(PAYLOAD + length);
    const { bytes } = this.counters;
    bytes[BYTES_TO_GUEST] = (bytes[BYTES_TO_GUEST] ?? 0) + length;
    return VERDICT.forwarded;
  }
}
