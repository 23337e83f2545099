/**
 * The two ends of a guest's cable: who the guest is, and who the gateway is that it sees.
 *
 * Every guest sees the same addresses, because no two guests share a cable.
 *
 * @module
 */

/** IPv4 address of every guest: 192.168.100.2. */
export const GUEST_ADDRESS = 0xc0a86402;
/** IPv4 address of the gateway that every guest sees: 192.168.100.1. */
export const GATEWAY_ADDRESS = 0xc0a86401;
/** UDP port of the WireGuard endpoint that every guest sees at the gateway. */
export const GATEWAY_PORT = 51820;
/** Bits of the prefix between the two. */
export const GUEST_PREFIX_BITS = 24;
/** MAC address of the gateway: locally administered (IEEE 802, section 8.2), 02:00:00:00:64:01. */
export const GATEWAY_MAC = 0x020000006401;
/** MAC address of a guest whose lender chose no other: QEMU's prefix, 52:54:00:00:64:02. */
export const GUEST_MAC = 0x525400006402;

/** The ends of one guest's cable. */
export interface GuestLink {
  /** MAC address of the guest, 48 bits; fixed by the lender, another one is refused. */
  readonly guestMac: number;
  /** IPv4 address of the guest, unsigned 32 bits. */
  readonly guestAddress: number;
  /** MAC address of the gateway, 48 bits. */
  readonly gatewayMac: number;
  /** IPv4 address of the gateway, unsigned 32 bits; the only one that ARP finds. */
  readonly gatewayAddress: number;
  /** UDP port of the virtual WireGuard endpoint at the gateway. */
  readonly gatewayPort: number;
}

/** The usual link; `changes` replaces single fields, e.g. the guest's MAC address. */
export function guestLink(changes: Partial<GuestLink> = {}): GuestLink {
  return {
    guestMac: GUEST_MAC,
    guestAddress: GUEST_ADDRESS,
    gatewayMac: GATEWAY_MAC,
    gatewayAddress: GATEWAY_ADDRESS,
    gatewayPort: GATEWAY_PORT,
    ...changes,
  };
}
