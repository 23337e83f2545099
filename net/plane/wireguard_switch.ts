/**
 * Whose an incoming WireGuard message is: the node's own device, or the tunnel of one of its guests,
 * which all share one UDP port.
 *
 * Nothing here can be decrypted, so the decision rests on what is visible (paper 5.4):
 *
 *  1. A message can only be a guest's if it comes from the guest's uplink, address and port.
 *  2. An initiation carries `mac1`, a hash keyed by the public key it is meant for: it is compared
 *     for each guest whose uplink has sent it.
 *  3. Everything else carries the index that its receiver once sent as its own. What a guest sends
 *     passes through here, so the indices in its initiations and responses are learned.
 *
 * Whatever belongs to no guest is the device's, which authenticates it or counts it.
 *
 * ## Limits
 *
 * - {@link RECENT} indices for each guest. A new one takes the place of the oldest, but never that of
 *   the index that data was received for last: a guest whose handshakes go unanswered keeps its
 *   session.
 * - An index that another guest has already stays with that guest (one chance in 2^32 for each
 *   handshake); the handshake fails and is tried again with another index.
 * - A guest that guesses an index of the device's, or of another guest with the same uplink, takes
 *   those messages away, and cannot read them. That too is one chance in 2^32 for each handshake.
 *
 * @module
 */

import type { Endpoint } from "../os/endpoint.ts";
import { Mac1Check } from "../wireguard/mac1.ts";
import { INITIATION, messageType, readIndex, RESPONSE } from "../wireguard/messages.ts";

/** Indices remembered for each guest. */
export const RECENT = 16;

/** Offset of the sender's index in an initiation or response. */
const SENDER = 4;
/** Offset of the receiver's index in a cookie reply or data. */
const RECEIVER = 4;
/** Offset of the receiver's index in a response. */
const RESPONSE_RECEIVER = 8;

/** One guest's entry; `owner` is whatever the caller wants back. */
export class SwitchPort<Owner> {
  /** Whom the messages are for. */
  readonly owner: Owner;
  /** Where the guest's messages come from; undefined lets none through. */
  uplink: Endpoint | undefined;
  /** Recognises initiations for the guest. */
  readonly mac1: Mac1Check;
  /** The guest's indices; NO_INDEX where there is none. */
  readonly indices: Float64Array = new Float64Array(RECENT).fill(NO_INDEX);
  /** Place of the next index. */
  next: number = 0;
  /** Place of the index that data was received for last. */
  active: number = -1;

  /**
   * An entry without indices.
   *
   * @param owner What {@link WireguardSwitch.route} returns.
   * @param publicKey The guest's WireGuard key, 32 bytes.
   * @param uplink Where its messages come from.
   */
  constructor(owner: Owner, publicKey: Uint8Array, uplink: Endpoint | undefined) {
    this.owner = owner;
    this.mac1 = new Mac1Check(publicKey);
    this.uplink = uplink;
  }
}

// Indices are 32 bits wide and signed here.
const NO_INDEX = Infinity;

/** The table. */
export class WireguardSwitch<Owner> {
  readonly #ports = new Set<SwitchPort<Owner>>();
  readonly #byIndex = new Map<number, SwitchPort<Owner>>();

  /** Guests in the table. */
  get size(): number {
    return this.#ports.size;
  }

  /** Adds a guest. */
  add(port: SwitchPort<Owner>): void {
    this.#ports.add(port);
  }

  /** Forgets a guest and its indices. */
  remove(port: SwitchPort<Owner>): void {
    if (!this.#ports.delete(port)) return;
    for (const index of port.indices) {
      if (index !== NO_INDEX) this.#byIndex.delete(index);
    }
    port.indices.fill(NO_INDEX);
  }

  /** Notes the index in a message that the guest sends: `length` bytes at `at`. */
  learn(port: SwitchPort<Owner>, buffer: Uint8Array, at: number, length: number): void {
    const first = buffer[at];
    if (first !== INITIATION && first !== RESPONSE) return;
    if (messageType(buffer, at, length) === 0) return;
    const index = readIndex(buffer, at + SENDER);
    // Sent again, or another guest's.
    if (this.#byIndex.has(index) || !this.#ports.has(port)) return;
    if (port.next === port.active) port.next = (port.next + 1) % RECENT;
    const old = port.indices[port.next] ?? NO_INDEX;
    if (old !== NO_INDEX) this.#byIndex.delete(old);
    port.indices[port.next] = index;
    port.next = (port.next + 1) % RECENT;
    this.#byIndex.set(index, port);
  }

  /**
   * The guest whose the message is, sent by the `sockaddr_in6` at `names[nameAt]`; undefined when it
   * is the device's or nobody's.
   */
  route(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): Owner | undefined {
    if (this.#ports.size === 0) return undefined;
    const type = buffer[at];
    if (type === INITIATION) return this.#byMac1(buffer, at, length, names, nameAt);
    const index = readIndex(buffer, at + (type === RESPONSE ? RESPONSE_RECEIVER : RECEIVER));
    const port = this.#byIndex.get(index);
    if (port === undefined || !port.uplink?.equalsSockaddr(names, nameAt)) return undefined;
    if (port.indices[port.active] !== index) port.active = port.indices.indexOf(index);
    return port.owner;
  }

  #byMac1(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): Owner | undefined {
    for (const port of this.#ports) {
      if (!port.uplink?.equalsSockaddr(names, nameAt)) continue;
      if (port.mac1.matches(buffer, at, length)) return port.owner;
    }
    return undefined;
  }
}
