/**
 * ICMP: echo is answered, errors about our packets go to their protocol, and errors about theirs are
 * sent (RFC 792, RFC 1122 section 3.2.2).
 *
 * @module
 */

import { viewOf } from "../wire/bytes.ts";
import { nativeSum } from "../wire/checksum.ts";
import {
  ICMP,
  ICMP_CHECKSUM,
  ICMP_CODE,
  ICMP_HEADER_LEN,
  ICMP_REST,
  ICMP_TYPE,
} from "../wire/icmp.ts";
import { ICMP_NEXT_HOP_MTU, ICMP_QUOTED_BYTES, UNREACHABLE } from "../wire/icmp_error.ts";
import {
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_HEADER_LEN,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  PROTOCOL,
} from "../wire/ipv4.ts";
import { TCP_HEADER_LEN } from "../wire/tcp.ts";
import { UDP_HEADER_LEN } from "../wire/udp.ts";
import type { IpAddress } from "./address.ts";
import type { StackCounters } from "./counters.ts";
import type { IpPacket } from "./ip_in.ts";
import type { IpOutput } from "./ip_out.ts";
import type { IcmpError, Protocol } from "./protocol.ts";
import type { RateLimit } from "./rate_limit.ts";

/** Takes the answers to our pings. */
export interface EchoReplies {
  /** An echo reply has arrived; its data lies at `packet.payloadAt + 8`. Never throws. */
  reply(packet: IpPacket, identifier: number, sequence: number, now: number): void;
}

/** Takes echo requests that a promiscuous stack has for addresses other than its own. */
export interface EchoRequests {
  /**
   * An echo request has arrived, of at least 8 bytes at `packet.payloadAt`, within the limit of the
   * stack for echoes. It is answered with {@link Icmp.echoReply}, now or later. Never throws.
   */
  request(packet: IpPacket, now: number): void;
}

/** An error, read into again and again. */
class ReadError implements IcmpError {
  kind: IcmpError["kind"] = "unreachable";
  code = 0;
  mtu = 0;
  local: IpAddress = 0;
  remote: IpAddress = 0;
  view: DataView = new DataView(new ArrayBuffer(0));
  at = 0;
}

/** Longest message: an IPv4 packet without its header (bytes). */
const MAX_MESSAGE = 65535 - IPV4_HEADER_LEN;

/** ICMP of a stack. */
export class Icmp implements Protocol {
  /** Who takes echo replies. */
  echoReplies: EchoReplies | undefined;
  /** Who takes echo requests for other addresses; undefined: they are answered as those for ours. */
  echoRequests: EchoRequests | undefined;
  readonly #address: IpAddress;
  readonly #mtu: number;
  readonly #ip: IpOutput;
  readonly #counters: StackCounters;
  readonly #echoes: RateLimit;
  readonly #answers: RateLimit;
  readonly #protocols: readonly (Protocol | undefined)[];
  readonly #error = new ReadError();
  /** A message that is longer than the MTU. */
  #long: { readonly buffer: Uint8Array; readonly view: DataView } | undefined;

  /**
   * Answers through `ip`.
   *
   * @param address The stack's own.
   * @param mtu Largest packet, in bytes.
   * @param protocols By number; where errors go.
   */
  constructor(
    address: IpAddress,
    mtu: number,
    ip: IpOutput,
    counters: StackCounters,
    echoes: RateLimit,
    answers: RateLimit,
    protocols: readonly (Protocol | undefined)[],
  ) {
    this.#address = address;
    this.#mtu = mtu;
    this.#ip = ip;
    this.#counters = counters;
    this.#echoes = echoes;
    this.#answers = answers;
    this.#protocols = protocols;
  }

  /** See {@link Protocol.input}. */
  input(packet: IpPacket, now: number): void {
    const { view, payloadAt: at, end } = packet;
    if (end - at < ICMP_HEADER_LEN) {
      this.#counters.icmpIgnored++;
      return;
    }
    if (nativeSum(view, at, end - at) !== 0xffff) {
      this.#counters.badChecksum++;
      return;
    }
    const type = view.getUint8(at + ICMP_TYPE);
    if (type === ICMP.echoRequest) this.#echo(packet, now);
    else if (type === ICMP.echoReply && this.echoReplies !== undefined) {
      const identifier = view.getUint16(at + ICMP_REST);
      this.echoReplies.reply(packet, identifier, view.getUint16(at + ICMP_REST + 2), now);
    } else if (type === ICMP.unreachable || type === ICMP.timeExceeded) {
      this.#errorIn(packet, type, now);
    } else this.#counters.icmpIgnored++;
  }

  /** RFC 1122 section 3.2.2.6: the same data goes back. */
  #echo(packet: IpPacket, now: number): void {
    if (!this.#echoes.allow(now)) {
      this.#counters.rateLimited++;
      return;
    }
    if (this.echoRequests !== undefined && packet.destination !== this.#address) {
      this.echoRequests.request(packet, now);
      return;
    }
    const { view, payloadAt, end } = packet;
    const rest = view.getInt32(payloadAt + ICMP_REST);
    const data = payloadAt + ICMP_HEADER_LEN;
    this.echoReply(packet.destination, packet.source, rest, packet.buffer, data, end - data);
  }

  /**
   * Sends an echo reply with `length` bytes of `data` at `at`, in fragments above the MTU. False when
   * the sink has no room.
   *
   * @param rest Identifier in the upper and number in the lower half.
   */
  echoReply(
    from: IpAddress,
    to: IpAddress,
    rest: number,
    data: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    const size = ICMP_HEADER_LEN + length;
    if (size > MAX_MESSAGE) return false;
    const total = IPV4_HEADER_LEN + size;
    const ip = this.#ip;
    if (total > this.#mtu) {
      if (this.#long === undefined) {
        const buffer = new Uint8Array(MAX_MESSAGE);
        this.#long = { buffer, view: viewOf(buffer) };
      }
      const { buffer, view } = this.#long;
      buffer.set(data.subarray(at, at + length), ICMP_HEADER_LEN);
      writeEchoReply(view, 0, size, rest);
      if (!ip.sendPieces(buffer, size, from, to, PROTOCOL.icmp, this.#mtu)) return false;
    } else {
      const out = ip.reserve(total);
      if (out < 0) return false;
      ip.buffer.set(data.subarray(at, at + length), out + IPV4_HEADER_LEN + ICMP_HEADER_LEN);
      writeEchoReply(ip.view, out + IPV4_HEADER_LEN, size, rest);
      ip.send(out, from, to, PROTOCOL.icmp, total);
    }
    this.#counters.echoes++;
    return true;
  }

  /** Reads the packet that the error quotes: it must be one of ours. */
  #errorIn(packet: IpPacket, type: number, now: number): void {
    const { view, payloadAt, end } = packet;
    const quoted = payloadAt + ICMP_HEADER_LEN;
    const headerLength = quoted < end ? (view.getUint8(quoted) & 15) * 4 : 0;
    const at = quoted + headerLength;
    const sound = headerLength >= IPV4_HEADER_LEN && at + ICMP_QUOTED_BYTES <= end &&
      view.getUint8(quoted) >>> 4 === 4 &&
      (view.getUint16(quoted + IPV4_FRAGMENT) & IPV4_OFFSET_MASK) === 0 &&
      // Sent to whom the packet came from (RFC 5927 section 3).
      view.getInt32(quoted + IPV4_SOURCE) === packet.destination;
    const protocol = sound ? this.#protocols[view.getUint8(quoted + IPV4_PROTOCOL)] : undefined;
    if (protocol?.error === undefined) {
      this.#counters.icmpIgnored++;
      return;
    }
    const error = this.#error;
    error.code = view.getUint8(payloadAt + ICMP_CODE);
    error.kind = "unreachable";
    if (type === ICMP.timeExceeded) error.kind = "time-exceeded";
    else if (error.code === UNREACHABLE.tooBig) error.kind = "too-big";
    error.mtu = error.kind === "too-big" ? view.getUint16(payloadAt + ICMP_NEXT_HOP_MTU) : 0;
    error.local = packet.destination;
    error.remote = view.getInt32(quoted + IPV4_DESTINATION);
    error.view = view;
    error.at = at;
    protocol.error(error, now);
  }

  /**
   * Tells the sender of `packet` that it went nowhere, quoting its header and 8 bytes. Of ICMP only
   * for echo requests (RFC 1122 section 3.2.2); fragments and multicast never come this far.
   *
   * @param code One of {@link UNREACHABLE}.
   */
  unreachable(packet: IpPacket, code: number, now: number): void {
    const isIcmp = packet.protocol === PROTOCOL.icmp;
    if (isIcmp && packet.buffer[packet.payloadAt] !== ICMP.echoRequest) return;
    const header = packet.payloadAt - packet.at;
    const payload = Math.min(ICMP_QUOTED_BYTES, packet.end - packet.payloadAt);
    const at = this.#begin(packet.destination, packet.source, code, header + payload, now);
    if (at < 0) return;
    const quoted = at + IPV4_HEADER_LEN + ICMP_HEADER_LEN;
    const { buffer } = this.#ip;
    buffer.set(packet.buffer.subarray(packet.at, packet.at + header + payload), quoted);
    const total = IPV4_HEADER_LEN + ICMP_HEADER_LEN + header + payload;
    this.#finish(at, total, packet.destination, packet.source);
    this.#counters.icmpErrorsOut++;
  }

  /**
   * The same for a TCP segment of which only this is left.
   *
   * @param code One of {@link UNREACHABLE}.
   */
  unreachableSegment(
    source: IpAddress,
    sourcePort: number,
    destination: IpAddress,
    destinationPort: number,
    sequence: number,
    code: number,
    now: number,
  ): void {
    this.#unreachableFlow(
      PROTOCOL.tcp,
      TCP_HEADER_LEN,
      source,
      sourcePort,
      destination,
      destinationPort,
      sequence,
      code,
      now,
    );
  }

  /**
   * The same for a UDP datagram with so many bytes of payload.
   *
   * @param code One of {@link UNREACHABLE}.
   */
  unreachableDatagram(
    source: IpAddress,
    sourcePort: number,
    destination: IpAddress,
    destinationPort: number,
    length: number,
    code: number,
    now: number,
  ): void {
    const size = UDP_HEADER_LEN + length;
    this.#unreachableFlow(
      PROTOCOL.udp,
      size,
      source,
      sourcePort,
      destination,
      destinationPort,
      size << 16,
      code,
      now,
    );
  }

  /** @param word What stands behind the ports. */
  #unreachableFlow(
    protocol: number,
    length: number,
    source: IpAddress,
    sourcePort: number,
    destination: IpAddress,
    destinationPort: number,
    word: number,
    code: number,
    now: number,
  ): void {
    const quotedLength = IPV4_HEADER_LEN + ICMP_QUOTED_BYTES;
    const at = this.#begin(destination, source, code, quotedLength, now);
    if (at < 0) return;
    const quoted = at + IPV4_HEADER_LEN + ICMP_HEADER_LEN;
    const { view } = this.#ip;
    for (let i = 0; i < quotedLength; i += 4) view.setInt32(quoted + i, 0);
    view.setUint16(quoted, 0x4500);
    view.setUint16(quoted + 2, IPV4_HEADER_LEN + length);
    view.setUint8(quoted + 8, 64);
    view.setUint8(quoted + IPV4_PROTOCOL, protocol);
    view.setInt32(quoted + IPV4_SOURCE, source);
    view.setInt32(quoted + IPV4_DESTINATION, destination);
    view.setUint16(quoted + 10, ~nativeSum(view, quoted, IPV4_HEADER_LEN), true);
    view.setUint16(quoted + IPV4_HEADER_LEN, sourcePort);
    view.setUint16(quoted + IPV4_HEADER_LEN + 2, destinationPort);
    view.setInt32(quoted + IPV4_HEADER_LEN + 4, word);
    const total = IPV4_HEADER_LEN + ICMP_HEADER_LEN + quotedLength;
    this.#finish(at, total, destination, source);
    this.#counters.icmpErrorsOut++;
  }

  #begin(from: IpAddress, to: IpAddress, code: number, quoted: number, now: number): number {
    if (from === to) return -1;
    if (!this.#answers.allow(now)) {
      this.#counters.rateLimited++;
      return -1;
    }
    const at = this.#ip.reserve(IPV4_HEADER_LEN + ICMP_HEADER_LEN + quoted);
    if (at < 0) return -1;
    const { view } = this.#ip;
    const icmp = at + IPV4_HEADER_LEN;
    view.setUint8(icmp + ICMP_TYPE, ICMP.unreachable);
    view.setUint8(icmp + ICMP_CODE, code);
    view.setInt32(icmp + ICMP_REST, 0);
    return at;
  }

  #finish(at: number, total: number, from: IpAddress, to: IpAddress): void {
    const { view } = this.#ip;
    const icmp = at + IPV4_HEADER_LEN;
    view.setUint16(icmp + ICMP_CHECKSUM, 0);
    const sum = nativeSum(view, icmp, total - IPV4_HEADER_LEN);
    view.setUint16(icmp + ICMP_CHECKSUM, ~sum, true);
    this.#ip.send(at, from, to, PROTOCOL.icmp, total);
  }
}

/** Header of an echo reply of `size` bytes whose data is in place. */
function writeEchoReply(view: DataView, at: number, size: number, rest: number): void {
  view.setUint8(at + ICMP_TYPE, ICMP.echoReply);
  view.setUint8(at + ICMP_CODE, 0);
  view.setUint16(at + ICMP_CHECKSUM, 0);
  view.setInt32(at + ICMP_REST, rest);
  view.setUint16(at + ICMP_CHECKSUM, ~nativeSum(view, at, size), true);
}
