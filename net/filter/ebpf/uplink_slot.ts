/**
 * What the kernel's half is told about the way to the borrower, with the sums that do not change
 * from packet to packet.
 *
 * @module
 */

import type { KernelUplink } from "../../os/uplink_linux.ts";
import { PROTOCOL } from "../../wire/ipv4.ts";
import type { GuestLink } from "../guest_link.ts";
import { SLOT } from "./layout.ts";

/** Version, header length and type of service; time to live and protocol. */
const FIXED_WORDS = [0x4500, 0x4000 | PROTOCOL.udp] as const;

/** The bytes of {@link SLOT}; all zero without an uplink. */
export function uplinkSlot(
  link: GuestLink,
  nodePort: number,
  uplink: KernelUplink | undefined,
): Uint8Array {
  const out = new Uint8Array(SLOT.size);
  if (uplink === undefined) return out;
  const { ifindex, hostAddress, borrowerAddress, borrowerPort } = uplink;
  const view = new DataView(out.buffer);
  view.setUint32(SLOT.ifindex, ifindex, true);
  view.setUint16(SLOT.nodePort, nodePort);
  view.setUint16(SLOT.borrowerPort, borrowerPort);
  view.setUint32(SLOT.hostAddress, hostAddress);
  view.setUint32(SLOT.borrowerAddress, borrowerAddress);
  const outer = [...words(hostAddress), ...words(borrowerAddress)];
  const inner = [...words(link.guestAddress), ...words(link.gatewayAddress)];
  view.setUint32(SLOT.headerSum, sum([...FIXED_WORDS, ...outer], []), true);
  view.setUint32(
    SLOT.toBorrower,
    sum([...outer, nodePort, borrowerPort], [...inner, link.gatewayPort]),
    true,
  );
  view.setUint32(SLOT.toGuest, sum(inner, outer), true);
  return out;
}

/** The halves of an address. */
function words(address: number): number[] {
  return [address >>> 16, address & 0xffff];
}

/** RFC 1624: words that come in, and the complements of those that go, as this host reads them. */
function sum(added: readonly number[], removed: readonly number[]): number {
  const all = [...added, ...removed.map((word) => word ^ 0xffff)];
  return all.reduce((total, word) => total + swapped(word), 0);
}

function swapped(word: number): number {
  return (word & 0xff) << 8 | word >>> 8;
}
