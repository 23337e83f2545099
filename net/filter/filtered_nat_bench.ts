/**
 * What the filter costs for each packet, without the kernel: `deno bench net/filter`.
 *
 * The sinks write into a ring of slots, as those of a socket do, and send nothing. Each iteration
 * takes 64 frames that lie apart in memory and are not aligned, so divide by {@link BURST}.
 *
 * @module
 */

import { Endpoint } from "../os/endpoint.ts";
import type { DatagramSink, PacketSink } from "../os/sink.ts";
import { onesSum } from "../wire/checksum.ts";
import { ETHERTYPE, writeEthernet } from "../wire/ethernet.ts";
import { PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { writeUdp } from "../wire/udp.ts";
import { FilteredNat } from "./filtered_nat.ts";
import { guestLink } from "./guest_link.ts";
import { RefusalRing } from "./refusals.ts";
import { strategyOf } from "./strategy.ts";

/** Frames in an iteration. */
const BURST = 64;
const SLOT = 2048;
const HEADERS = 42;

class RingSink implements PacketSink, DatagramSink {
  readonly buffer = new Uint8Array(BURST * SLOT);
  #slot = 0;

  reserve(size: number): number {
    this.#slot = (this.#slot + 1) % BURST;
    return size <= SLOT ? this.#slot * SLOT : -1;
  }

  commit(): void {
    // Nothing is sent.
  }

  flush(): void {
    // Nothing is sent.
  }
}

const link = guestLink();
const uplink = Endpoint.of("203.0.113.7", 51999);
const ring = new RefusalRing();
const nat = new FilteredNat({
  guest: link,
  uplink,
  toUplink: new RingSink(),
  toGuest: new RingSink(),
  onRefused: (verdict, buffer, at, length) => ring.add(0, verdict, buffer, at, length),
});

/** Where frame `i` of a round begins: in a slot of its own, at any alignment. */
function offset(i: number): number {
  return i * SLOT + (i & 7);
}

/** A round of frames of the guest with `size` bytes of transport data each. */
function round(size: number, destination: number): Uint8Array {
  const frames = new Uint8Array(BURST * SLOT);
  for (let i = 0; i < BURST; i++) {
    const at = offset(i);
    frames.fill(0x5a, at + HEADERS, at + HEADERS + size);
    frames.set([4, 0, 0, 0], at + HEADERS);
    writeEthernet(frames, at, link.gatewayMac, link.guestMac, ETHERTYPE.ipv4);
    const { guestAddress, gatewayPort } = link;
    writeIpv4(frames, at + 14, guestAddress, destination, PROTOCOL.udp, 28 + size, i);
    writeUdp(frames, at + 34, guestAddress, 40000, destination, gatewayPort, size);
  }
  return frames;
}

for (const size of [64, 1408]) {
  const frames = round(size, link.gatewayAddress);
  const elsewhere = round(size, 0x08080808);
  const sockaddr = uplink?.sockaddr ?? new Uint8Array(28);
  const group = `${BURST} packets of ${size} B`;

  Deno.bench(`fromGuest(), forwarded, ${size} B`, { group, baseline: true }, () => {
    for (let i = 0; i < BURST; i++) nat.fromGuest(frames, offset(i), HEADERS + size);
  });

  for (const mode of ["conntrack", "sampled"] as const) {
    const other = new FilteredNat({
      ...{ guest: link, uplink, toUplink: new RingSink(), toGuest: new RingSink() },
      strategy: strategyOf(mode),
    });
    Deno.bench(`fromGuest(), forwarded in mode ${mode}, ${size} B`, { group }, () => {
      for (let i = 0; i < BURST; i++) other.fromGuest(frames, offset(i), HEADERS + size);
    });
  }

  Deno.bench(`fromUplink(), forwarded, ${size} B`, { group }, () => {
    for (let i = 0; i < BURST; i++) {
      nat.fromUplink(frames, offset(i) + HEADERS, size, sockaddr, 0);
    }
  });

  Deno.bench(`onesSum() alone, ${size} B`, { group }, () => {
    for (let i = 0; i < BURST; i++) onesSum(frames, offset(i) + HEADERS, size);
  });

  Deno.bench(`fromGuest(), refused and kept in the ring, ${size} B`, { group }, () => {
    for (let i = 0; i < BURST; i++) nat.fromGuest(elsewhere, offset(i), HEADERS + size);
  });
}
