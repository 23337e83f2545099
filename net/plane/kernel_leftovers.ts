/**
 * Datagrams for guests of the kernel's filter that came to the node's socket all the same: those that
 * a network card's driver had joined with others, and those that came in fragments
 * (net/filter/ebpf/from_uplink.ts).
 *
 * The decision is made in one place: the program itself is run on the datagram, put back into a frame
 * as if it had come alone. What the program would have sent to the guest's TAP is sent there.
 *
 * ## Limits
 *
 * One run takes some microseconds, which is what a datagram costs that is not joined with its like.
 * A guest that is not known here, or whose program is gone, gets nothing.
 *
 * @module
 */

import { BpfTrial, TC_ACT } from "../os/bpf_linux.ts";
import type { Endpoint } from "../os/endpoint.ts";
import { PacketOut } from "../os/packet_out_linux.ts";
import { copyBytes } from "../wire/bytes.ts";
import { ETHERTYPE, writeEthernet } from "../wire/ethernet.ts";
import { parseIpv4 } from "../wire/ip_address.ts";
import { PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { writeUdp } from "../wire/udp.ts";

const IP = 14;
const UDP = 34;
const PAYLOAD = 42;
/** Longest payload that fits a frame, in bytes. */
const MAX_PAYLOAD = 1514 - PAYLOAD;

/** A guest of the kernel's filter. */
export interface KernelGuest {
  /** Descriptor of the program at the uplink's interface; valid until the guest is removed. */
  readonly programFd: number;
  /** Number of the guest's TAP. */
  readonly tapIndex: number;
  /** Where its tunnel goes. */
  readonly uplink: Endpoint;
  /** This host's address on the way there, unsigned 32 bits. */
  readonly hostAddress: number;
}

interface Entry {
  readonly guest: KernelGuest;
  readonly borrowerAddress: number;
  readonly trial: BpfTrial;
  readonly out: PacketOut;
}

/** The guests of the kernel's filter, as far as the packet thread has to do with them. */
export class KernelLeftovers implements Disposable {
  readonly #nodePort: number;
  readonly #entries = new Map<string, Entry>();
  /** The same, for the packet path. */
  #list: readonly Entry[] = [];

  /**
   * No guests.
   *
   * @param nodePort The node's UDP port.
   */
  constructor(nodePort: number) {
    this.#nodePort = nodePort;
  }

  /**
   * Adds, changes or removes a guest.
   *
   * @throws {OmertaError} `interface-failed`.
   */
  set(id: string, guest: KernelGuest | undefined): void {
    this.#entries.get(id)?.out[Symbol.dispose]();
    this.#entries.delete(id);
    const borrowerAddress = guest && parseIpv4(guest.uplink.address);
    if (guest !== undefined && borrowerAddress !== undefined) {
      const trial = new BpfTrial(guest.programFd);
      const out = new PacketOut(guest.tapIndex, trial.after);
      this.#entries.set(id, { guest, borrowerAddress, trial, out });
    }
    this.#list = [...this.#entries.values()];
  }

  /**
   * Takes a WireGuard message, `length` bytes at `at`, sent by the `sockaddr_in6` at
   * `names[nameAt]`. @returns Whether it was a guest's.
   */
  take(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): boolean {
    if (length > MAX_PAYLOAD) return false;
    const list = this.#list;
    for (let i = 0; i < list.length; i++) {
      const entry = list[i];
      if (entry === undefined || !entry.guest.uplink.equalsSockaddr(names, nameAt)) continue;
      if (this.#try(entry, buffer, at, length)) return true;
    }
    return false;
  }

  #try(entry: Entry, b: Uint8Array, at: number, length: number): boolean {
    const { guest, borrowerAddress, trial, out } = entry;
    const frame = trial.packet;
    // A trial run is one at the loopback interface, whose MAC address is zero.
    writeEthernet(frame, 0, 0, 0, ETHERTYPE.ipv4);
    const { hostAddress, uplink } = guest;
    writeIpv4(frame, IP, borrowerAddress, hostAddress, PROTOCOL.udp, PAYLOAD - IP + length, 0);
    copyBytes(b, at, frame, PAYLOAD, length);
    writeUdp(frame, UDP, borrowerAddress, uplink.port, hostAddress, this.#nodePort, length);
    if (!trial.run(PAYLOAD + length) || trial.result === TC_ACT.UNSPEC) return false;
    if (trial.result === TC_ACT.REDIRECT) out.send(trial.length);
    return true;
  }

  /** Forgets all guests. */
  [Symbol.dispose](): void {
    for (const { out } of this.#entries.values()) out[Symbol.dispose]();
    this.#entries.clear();
    this.#list = [];
  }
}
