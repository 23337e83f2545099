/**
 * The filter of one guest, in the kernel: the same rules as filtered_nat.ts, on the way of a packet
 * that never comes to this program.
 *
 * ```
 *   guest -- virtio -- QEMU -- TAP --[from guest]--> uplink interface --> borrower
 *                               ^                           |
 *                               +-------[from uplink]-------+--> everything else: the host's stack
 * ```
 *
 * ## Who holds what
 *
 * - The program at the TAP is a clsact filter: it stays when this process is killed, and goes with the
 *   TAP, that is with QEMU. So there is no moment at which the guest's frames reach the stack.
 * - The program at the uplink's interface hangs on a link (TCX, Linux 6.6 and later), which this
 *   process holds: it is gone when the process is. On older kernels it is a clsact filter too, which
 *   carries the name it was given, so that the next start finds and removes it.
 * - The maps live as long as the programs.
 *
 * {@link KernelFilter} takes the guest off its uplink when it is disposed of, and leaves the TAP
 * guarded: whoever ends the guest need not be quick.
 *
 * ## Limits
 *
 * - 64 programs at one interface by links: one more guest is refused by the kernel.
 * - The last {@link RING} refused frames, of which one may be half written while it is read.
 *
 * @module
 */

import { attachTcx, BpfProgram, BpfValue } from "../../os/bpf_linux.ts";
import { linkInfo } from "../../os/route_linux.ts";
import { raiseInterface, shutInterface } from "../../os/tap_guard_linux.ts";
import { addTcFilter, removeTcFilter } from "../../os/tc_linux.ts";
import type { KernelUplink } from "../../os/uplink_linux.ts";
import type { GuestLink } from "../guest_link.ts";
import { type RefusedFrame, refusedFrame } from "../refusals.ts";
import { type Verdict, VERDICT_COUNT } from "../verdict.ts";
import { fromGuestProgram } from "./from_guest.ts";
import { fromUplinkProgram } from "./from_uplink.ts";
import { COUNTERS, type MapFds, RING, SESSION, SLOT, UPLINK } from "./layout.ts";
import { uplinkSlot } from "./uplink_slot.ts";

/** Number of the filter at the TAP; there is no other of ours. */
const TAP_HANDLE = 1;
/** Its name: nobody's in particular, so that nobody takes it away before the TAP goes. */
const TAP_NAME = "omerta guest";

/** What a {@link KernelFilter} is made of. */
export interface KernelFilterOptions {
  /** The ends of the guest's cable. */
  readonly link: GuestLink;
  /** `HASH("mac1----" || public key of the guest)`, 32 bytes (WireGuard paper 5.4.4). */
  readonly mac1Key: Uint8Array;
  /** The node's UDP port. */
  readonly nodePort: number;
  /** Number of the guest's TAP. */
  readonly tapIndex: number;
}

/** What was counted. */
export interface KernelCounters {
  /** Frames from the guest, one entry for each verdict. */
  readonly fromGuest: Float64Array;
  /** Datagrams for the guest, one entry for each verdict. */
  readonly fromUplink: Float64Array;
  /** Payload bytes forwarded to the borrower. */
  readonly bytesToUplink: number;
  /** Payload bytes forwarded to the guest. */
  readonly bytesToGuest: number;
}

/** Both programs and their maps, attached nowhere. */
export class KernelPrograms implements Disposable {
  /** At the TAP. */
  readonly fromGuest: BpfProgram;
  /** At the uplink's interface. */
  readonly fromUplink: BpfProgram;
  readonly #owned = new DisposableStack();
  readonly #link: GuestLink;
  readonly #nodePort: number;
  readonly #uplink: BpfValue;
  readonly #counters: BpfValue;
  readonly #ring: BpfValue;
  readonly #value = new Uint8Array(UPLINK.size);

  /**
   * Loads the programs.
   *
   * @throws {OmertaError} `bpf-forbidden`, `bpf-failed`.
   */
  constructor(options: KernelFilterOptions) {
    using undo = new DisposableStack();
    undo.use(this.#owned);
    this.#link = options.link;
    this.#nodePort = options.nodePort;
    this.#uplink = this.#owned.use(new BpfValue("omerta_uplink", UPLINK.size));
    const session = this.#owned.use(new BpfValue("omerta_session", SESSION.size));
    this.#counters = this.#owned.use(new BpfValue("omerta_counters", COUNTERS.size));
    this.#ring = this.#owned.use(new BpfValue("omerta_refused", RING.size));
    const maps: MapFds = {
      uplink: this.#uplink.fd,
      session: session.fd,
      counters: this.#counters.fd,
      ring: this.#ring.fd,
    };
    const { link, mac1Key, tapIndex } = options;
    this.fromGuest = this.#owned.use(
      new BpfProgram("omerta_guest", fromGuestProgram(link, maps)),
    );
    this.fromUplink = this.#owned.use(
      new BpfProgram("omerta_uplink", fromUplinkProgram({ link, mac1Key, tapIndex, maps })),
    );
    undo.move();
  }

  /** Changes where the tunnel goes, from the next packet on; undefined refuses all. */
  setUplink(uplink: KernelUplink | undefined): void {
    const value = this.#value;
    const view = new DataView(value.buffer);
    const next = view.getUint32(UPLINK.active, true) ^ 1;
    value.set(uplinkSlot(this.#link, this.#nodePort, uplink), UPLINK.slots + next * SLOT.size);
    this.#uplink.write(value);
    // Only now, when all of the slot is there.
    view.setUint32(UPLINK.active, next, true);
    this.#uplink.write(value);
  }

  /** What was counted so far. */
  counters(): KernelCounters {
    const view = this.#counters.read();
    const table = (base: number): Float64Array =>
      Float64Array.from({ length: VERDICT_COUNT }, (_, i) => readU64(view, base + 8 * i));
    return {
      fromGuest: table(COUNTERS.fromGuest),
      fromUplink: table(COUNTERS.fromUplink),
      bytesToUplink: readU64(view, COUNTERS.bytesToUplink),
      bytesToGuest: readU64(view, COUNTERS.bytesToGuest),
    };
  }

  /** The last refused frames of the guest, oldest first; times are ms since 1970. */
  refused(): RefusedFrame[] {
    const total = readU64(this.#counters.read(), COUNTERS.refused);
    const view = this.#ring.read();
    const held = Math.min(total, RING.frames);
    const booted = Date.now() - uptimeMs();
    return Array.from({ length: held }, (_, i) => {
      const at = (total - held + i) % RING.frames * RING.entry;
      const length = view.getUint32(at + RING.length, true);
      const kept = Math.min(length, RING.entry - RING.bytes);
      const bytes = new Uint8Array(view.buffer, at + RING.bytes, kept).slice();
      const time = booted + readU64(view, at + RING.time) / 1e6;
      return refusedFrame(time, view.getUint32(at + RING.verdict, true) as Verdict, length, bytes);
    });
  }

  /** Closes descriptors; what is attached goes on. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** How a {@link KernelFilter} is attached. */
export interface AttachOptions extends Omit<KernelFilterOptions, "tapIndex"> {
  /** Name of the guest's TAP, which is down. */
  readonly tap: string;
  /** What the filter of an older kernel at the uplink's interface is called. */
  readonly owner: string;
  /** Attaches as on kernels before 6.6. @default {false} */
  readonly withoutLinks?: boolean;
}

/** The filter of one guest. */
export class KernelFilter implements Disposable {
  readonly #options: AttachOptions;
  readonly #tapIndex: number;
  readonly #programs: KernelPrograms;
  readonly #owned = new DisposableStack();
  #ifindex = 0;
  #attached: Disposable | undefined;

  /**
   * Loads the programs, puts one in front of the TAP, and only then brings the TAP up.
   *
   * @throws {OmertaError} `bpf-forbidden`, `bpf-failed`, `netlink-failed`, `interface-failed`;
   * the TAP is down then, or guarded.
   */
  constructor(options: AttachOptions) {
    using undo = new DisposableStack();
    undo.use(this.#owned);
    this.#options = options;
    const tap = linkInfo(options.tap);
    if (tap.offloads || !tap.ethernet) {
      throw new RangeError(`Cannot guard ${options.tap}: want a TAP without virtio headers`);
    }
    this.#tapIndex = tap.ifindex;
    this.#programs = this.#owned.use(new KernelPrograms({ ...options, tapIndex: tap.ifindex }));
    shutInterface(options.tap);
    addTcFilter(this.#programs.fromGuest, tap.ifindex, TAP_HANDLE, TAP_NAME);
    raiseInterface(options.tap);
    undo.move();
  }

  /**
   * Changes where the tunnel goes; undefined refuses all.
   *
   * @throws {OmertaError} `bpf-failed`, `netlink-failed`; there is no uplink then.
   */
  setUplink(uplink: KernelUplink | undefined): void {
    // A datagram comes in by the new interface only after one went out of it.
    if (uplink === undefined || uplink.ifindex !== this.#ifindex) {
      this.#programs.setUplink(undefined);
      this.#detach();
      if (uplink !== undefined) {
        this.#attached = this.#attach(uplink.ifindex);
        this.#ifindex = uplink.ifindex;
      }
    }
    this.#programs.setUplink(uplink);
  }

  #attach(ifindex: number): Disposable {
    const { fromUplink } = this.#programs;
    if (this.#options.withoutLinks !== true) {
      try {
        return attachTcx(fromUplink, ifindex);
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "tcx-missing")) {
          throw error;
        }
      }
    }
    const handle = this.#tapIndex;
    addTcFilter(fromUplink, ifindex, handle, this.#options.owner);
    return { [Symbol.dispose]: () => removeTcFilter({ ifindex, handle }) };
  }

  #detach(): void {
    const attached = this.#attached;
    this.#attached = undefined;
    this.#ifindex = 0;
    attached?.[Symbol.dispose]();
  }

  /** Number of the guest's TAP. */
  get tapIndex(): number {
    return this.#tapIndex;
  }

  /** Descriptor of the program that takes the guest's datagrams; valid until this is disposed of. */
  get fromUplinkFd(): number {
    return this.#programs.fromUplink.fd;
  }

  /** What was counted so far. */
  counters(): KernelCounters {
    return this.#programs.counters();
  }

  /** The last refused frames of the guest, oldest first. */
  refused(): RefusedFrame[] {
    return this.#programs.refused();
  }

  /** Takes the guest off its uplink, for good; its TAP stays guarded until it goes. */
  [Symbol.dispose](): void {
    if (this.#owned.disposed) return;
    try {
      this.setUplink(undefined);
    } finally {
      this.#owned.dispose();
    }
  }
}

/** Counters are exact up to 2^53, as those of the other filter. */
function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}

/** Time since the boot, in ms. */
function uptimeMs(): number {
  return parseFloat(Deno.readTextFileSync("/proc/uptime")) * 1000;
}
