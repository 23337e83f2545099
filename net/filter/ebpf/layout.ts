/**
 * The memory that the kernel's half of the filter and this program share: maps of one value each,
 * numbers in this host's order unless they are said to be as on the wire.
 *
 * @module
 */

import { RING_FRAMES, SNAP_LEN } from "../refusals.ts";
import { VERDICT_COUNT } from "../verdict.ts";

/**
 * Where the tunnel goes: two slots, of which one counts, so that a change is seen as a whole. This
 * program writes, the kernel reads.
 */
export const UPLINK = {
  /** u32: the slot that counts, 0 or 1. */
  active: 0,
  /** The first slot. */
  slots: 8,
  /** log2 of the bytes of a slot. */
  slotBits: 5,
  /** Bytes of the value. */
  size: 8 + 2 * 32,
} as const;

/** One slot of {@link UPLINK}. */
export const SLOT = {
  /** u32: interface that leads to the borrower; 0 when there is no uplink. */
  ifindex: 0,
  /** u16 as on the wire: the node's UDP port. */
  nodePort: 4,
  /** u16 as on the wire: the borrower's UDP port. */
  borrowerPort: 6,
  /** u32 as on the wire: this host's address. */
  hostAddress: 8,
  /** u32 as on the wire: the borrower's address. */
  borrowerAddress: 12,
  /** u32: sum of the IPv4 header to the borrower, without length and identification. */
  headerSum: 16,
  /** u32: what the UDP checksum to the borrower gains by the new addresses and ports, but for the guest's port. */
  toBorrower: 20,
  /** u32: what the UDP checksum to the guest gains by the new addresses. */
  toGuest: 24,
  /** Bytes. */
  size: 32,
} as const;

/** Indices remembered for a guest, as in net/plane/wireguard_switch.ts. */
export const RECENT = 16;

/** What the kernel has learned of the guest's tunnel; it alone writes. */
export const SESSION = {
  /** u16 as on the wire: source port of the guest's last good message; 0 before there is one. */
  guestPort: 0,
  /** u32: place of the next index. */
  next: 4,
  /** u32: one more than the place of the index that data was received for last; 0 for none. */
  active: 8,
  /** {@link RECENT} u32 as on the wire: indices of the guest's sessions; 0 for none. */
  indices: 16,
  /** Bytes. */
  size: 16 + RECENT * 4,
} as const;

/** Counters, u64 each; the kernel writes. */
export const COUNTERS = {
  /** Frames from the guest, by verdict. */
  fromGuest: 0,
  /** Datagrams from the borrower, by verdict. */
  fromUplink: VERDICT_COUNT * 8,
  /** Payload bytes to the borrower. */
  bytesToUplink: 2 * VERDICT_COUNT * 8,
  /** Payload bytes to the guest. */
  bytesToGuest: 2 * VERDICT_COUNT * 8 + 8,
  /** Frames of the guest that were put into the ring. */
  refused: 2 * VERDICT_COUNT * 8 + 16,
  /** Bytes. */
  size: 2 * VERDICT_COUNT * 8 + 24,
} as const;

/** The last refused frames of the guest; the kernel writes, and may be in the middle of it. */
export const RING = {
  /** Frames. */
  frames: RING_FRAMES,
  /** u64 of an entry: ns since the boot. */
  time: 0,
  /** u32 of an entry: verdict. */
  verdict: 8,
  /** u32 of an entry: length of the frame. */
  length: 12,
  /** Bytes of an entry: the beginning of the frame. */
  bytes: 16,
  /** Bytes of an entry. */
  entry: 16 + SNAP_LEN,
  /** Bytes. */
  size: RING_FRAMES * (16 + SNAP_LEN),
} as const;

/** Descriptors of the maps, for programs. */
export interface MapFds {
  /** See {@link UPLINK}. */
  readonly uplink: number;
  /** See {@link SESSION}. */
  readonly session: number;
  /** See {@link COUNTERS}. */
  readonly counters: number;
  /** See {@link RING}. */
  readonly ring: number;
}
