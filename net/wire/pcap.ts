/**
 * Capture files that tcpdump reads: the classic format of libpcap,
 * {@link https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/ | draft-ietf-opsawg-pcap}.
 *
 * ```
 * file    | magic a1b2c3d4 | major 2 | minor 4 | 0 | 0 | snaplen | link type |   24 bytes
 * record  | seconds | microseconds | kept length | true length | kept bytes     16 bytes and more
 * ```
 *
 * Numbers are little-endian 32 bits (the two versions 16), lengths are in bytes. The magic number
 * says that times have microseconds. Seconds count from 1970 and wrap in 2106.
 *
 * @module
 */

/** Length of the head of a file, in bytes. */
export const PCAP_HEAD_LEN = 24;
/** Length of the head of a record, in bytes. */
export const PCAP_RECORD_LEN = 16;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
/** Link type of Ethernet frames without preamble and check sequence (IANA, "PCAP LINKTYPE"). */
const LINKTYPE_ETHERNET = 1;

/** One frame of a capture. */
export interface PcapFrame {
  /** When it was seen, in ms since 1970. */
  readonly time: number;
  /** Its length on the wire, in bytes. */
  readonly length: number;
  /** Its beginning, as far as it was kept. */
  readonly bytes: Uint8Array;
}

/**
 * A capture file of these Ethernet frames, in this order.
 *
 * @param snaplen Most bytes that were kept of a frame; what is longer is cut here.
 */
export function writePcap(frames: readonly PcapFrame[], snaplen: number): Uint8Array<ArrayBuffer> {
  const kept = frames.map(({ bytes }) => bytes.subarray(0, snaplen));
  const size = kept.reduce((sum, bytes) => sum + PCAP_RECORD_LEN + bytes.length, PCAP_HEAD_LEN);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC_MICROSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, snaplen, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  let at = PCAP_HEAD_LEN;
  frames.forEach(({ time, length }, i) => {
    const bytes = kept[i] ?? new Uint8Array(0);
    const seconds = Math.floor(time / 1000);
    view.setUint32(at, seconds, true);
    view.setUint32(at + 4, Math.floor((time - seconds * 1000) * 1000), true);
    view.setUint32(at + 8, bytes.length, true);
    // A frame is never shorter than what was kept of it; a reader would call the file damaged.
    view.setUint32(at + 12, Math.max(bytes.length, Math.min(length, 0xffffffff)), true);
    out.set(bytes, at + PCAP_RECORD_LEN);
    at += PCAP_RECORD_LEN + bytes.length;
  });
  return out;
}
