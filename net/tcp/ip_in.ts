/**
 * Whether bytes are an IPv4 packet that this stack takes (RFC 791, RFC 1122 section 3.2.1).
 *
 * @module
 */

import { nativeSum } from "../wire/checksum.ts";
import {
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_HEADER_LEN,
  IPV4_IS_FRAGMENT,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
} from "../wire/ipv4.ts";
import { type IpAddress, isUnicast } from "./address.ts";
import type { StackCounters } from "./counters.ts";

/** The packet looked at last; made once and read into again and again. */
export class IpPacket {
  /** What the packet lies in. */
  buffer: Uint8Array = new Uint8Array(0);
  /** The same, for fields. */
  view: DataView = new DataView(this.buffer.buffer);
  /** Offset of its header. */
  at = 0;
  /** Offset of its payload. */
  payloadAt = 0;
  /** Offset behind its last byte. */
  end = 0;
  /** Whether it is only a piece of a packet. */
  fragment = false;
  /** Whether nothing can have damaged it, whatever its checksum says. */
  sound = false;
  /** Protocol number. */
  protocol = 0;
  /** Where it comes from. */
  source: IpAddress = 0;
  /** Where it goes to. */
  destination: IpAddress = 0;

  /**
   * Reads the packet of at most `length` bytes at `at`; false when it is refused, which is counted.
   * Never throws. IPv4 options are stepped over.
   *
   * @param own The address that packets must be for; undefined: any.
   */
  read(
    view: DataView,
    buffer: Uint8Array,
    at: number,
    length: number,
    own: IpAddress | undefined,
    counters: StackCounters,
  ): boolean {
    if (length < IPV4_HEADER_LEN || at < 0 || at + length > view.byteLength) {
      counters.truncated++;
      return false;
    }
    const first = view.getUint8(at);
    if (first >>> 4 !== 4) {
      counters.badVersion++;
      return false;
    }
    const headerLength = (first & 15) * 4;
    const total = view.getUint16(at + IPV4_TOTAL_LENGTH);
    if (headerLength < IPV4_HEADER_LEN || total < headerLength) {
      counters.badLength++;
      return false;
    }
    if (total > length) {
      counters.truncated++;
      return false;
    }
    if (nativeSum(view, at, headerLength) !== 0xffff) {
      counters.badChecksum++;
      return false;
    }
    const destination = view.getInt32(at + IPV4_DESTINATION);
    if (own === undefined ? !isUnicast(destination) : destination !== own) {
      counters.notForUs++;
      return false;
    }
    const source = view.getInt32(at + IPV4_SOURCE);
    if (!isUnicast(source) || source === destination) {
      counters.badSource++;
      return false;
    }
    this.fragment = (view.getUint16(at + IPV4_FRAGMENT) & IPV4_IS_FRAGMENT) !== 0;
    this.sound = false;
    this.buffer = buffer;
    this.view = view;
    this.at = at;
    this.payloadAt = at + headerLength;
    this.end = at + total;
    this.protocol = view.getUint8(at + IPV4_PROTOCOL);
    this.source = source;
    this.destination = destination;
    return true;
  }
}
