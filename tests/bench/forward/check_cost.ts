/**
 * What judging a frame costs by itself: the filter between two memories, no system call.
 *
 * @module
 */

import { Endpoint } from "../../../net/os/endpoint.ts";
import type { DatagramSink, PacketSink } from "../../../net/os/sink.ts";
import { FilteredNat } from "../../../net/filter/filtered_nat.ts";
import { guestLink } from "../../../net/filter/guest_link.ts";
import { median } from "../statistics.ts";
import { guestFrame } from "../../doubles/guest_frames.ts";
import { transportData } from "./loads.ts";

const SLOTS = 64;
const SLOT = 2048;
const ROUNDS = 20_000;
const BATCH = 100;

/** Room for frames that are sent nowhere. */
class Ring implements PacketSink, DatagramSink {
  readonly buffer = new Uint8Array(SLOTS * SLOT);
  #slot = 0;

  reserve(size: number): number {
    this.#slot = (this.#slot + 1) % SLOTS;
    return size <= SLOT ? this.#slot * SLOT : -1;
  }

  commit(): void {
    // Nothing is sent.
  }

  flush(): void {
    // Nothing is sent.
  }
}

/** Time for one frame with a message of `length` bytes: judged, and copied to where it is sent from (ns). */
export function measureCheck(length: number): number {
  const nat = new FilteredNat({
    guest: guestLink(),
    uplink: Endpoint.of("203.0.113.7", 51999),
    toUplink: new Ring(),
    toGuest: new Ring(),
  });
  const frame = guestFrame({ payload: transportData(length, 1) });
  // Apart from each other and not aligned, as in the memory of a socket.
  const frames = new Uint8Array(SLOTS * SLOT);
  for (let i = 0; i < SLOTS; i++) frames.set(frame, i * SLOT + (i & 7));
  const times: number[] = [];
  for (let round = 0; round < ROUNDS / BATCH; round++) {
    const begun = performance.now();
    for (let i = 0; i < BATCH * SLOTS; i++) {
      const slot = i % SLOTS;
      nat.fromGuest(frames, slot * SLOT + (slot & 7), frame.length);
    }
    times.push((performance.now() - begun) * 1e6 / (BATCH * SLOTS));
  }
  return median(times);
}
