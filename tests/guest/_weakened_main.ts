/**
 * The program with a filter that was weakened in three ways, to be started in place of the real one:
 * its daemons and their packet threads are started from this file too.
 *
 * - It takes any address and port for the tunnel's.
 * - It forgets to look at the source address.
 * - It takes frames of EtherType 0x88b5 for the tunnel's.
 *
 * @module
 */

import { EndpointAllowlist } from "../../net/filter/allowlist.ts";
import { FilteredNat } from "../../net/filter/filtered_nat.ts";
import { guestLink } from "../../net/filter/guest_link.ts";
import type { Verdict } from "../../net/filter/verdict.ts";
import { readU16, writeU16, writeU32 } from "../../net/wire/bytes.ts";
import { ETHERTYPE, readMac } from "../../net/wire/ethernet.ts";
import { IPV4_CHECKSUM, IPV4_SOURCE, ipv4HeaderSum } from "../../net/wire/ipv4.ts";
import { udpFrame } from "../../lib/prove/frames.ts";

const IP = 14;
const FOREIGN = 0x88b5;

/** What the weakened filter sees in place of a frame. */
function weakened(frame: Uint8Array): Uint8Array {
  const type = frame.length < IP + 20 ? 0 : readU16(frame, 12);
  const link = guestLink({ guestMac: readMac(frame, 6) });
  if (type === FOREIGN) {
    return udpFrame(link, new Uint8Array(0), { payload: frame.subarray(IP) });
  }
  if (type === ETHERTYPE.ipv4) {
    const good = ipv4HeaderSum(frame, IP) === 0xffff;
    writeU32(frame, IP + IPV4_SOURCE, link.guestAddress);
    if (good) {
      writeU16(frame, IP + IPV4_CHECKSUM, 0);
      writeU16(frame, IP + IPV4_CHECKSUM, ~ipv4HeaderSum(frame, IP));
    }
  }
  return frame;
}

const { fromGuest } = FilteredNat.prototype;
FilteredNat.prototype.fromGuest = function (
  this: FilteredNat,
  buffer: Uint8Array,
  at: number,
  length: number,
): Verdict {
  const frame = weakened(buffer.slice(at, at + length));
  return fromGuest.call(this, frame, 0, frame.length);
};
EndpointAllowlist.prototype.has = (): boolean => true;
EndpointAllowlist.prototype.hasAddress = (): boolean => true;

if ("WorkerGlobalScope" in globalThis) {
  const { servePlane } = await import("../../net/plane/worker.ts");
  servePlane();
} else {
  const { main } = await import("../../cli/program.ts");
  Deno.exit(await main(Deno.args, new URL(import.meta.url)));
}
