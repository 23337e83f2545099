/**
 * `struct virtio_net_hdr`, which goes before each packet of a TUN device that does offloads
 * (virtio 1.1 section 5.1.6; linux/virtio_net.h):
 *
 * ```
 * 0      1          2         4         6            8            10
 * +------+----------+---------+---------+------------+------------+
 * |flags | gso type | hdr len | gso size| csum start | csum offset|
 * +------+----------+---------+---------+------------+------------+
 * ```
 *
 * Little-endian, lengths in bytes, `csum start` counted from the start of the packet.
 *
 * @module
 */

/** Bytes of the header. */
export const VNET_LEN = 10;

/** Offsets of its fields. */
export const VNET = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  gsoSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
} as const;

/** Flag: the checksum field holds the pseudo header's sum only. */
export const VNET_NEEDS_CHECKSUM = 1;
/** Type: one whole packet. */
export const VNET_GSO_NONE = 0;
/** Type: TCP over IPv4, to be cut into segments of `gso size` bytes. */
export const VNET_GSO_TCPV4 = 1;
