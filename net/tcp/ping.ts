/**
 * Echo requests of ours and their answers (RFC 792, RFC 1122 section 3.2.2.6).
 *
 * ```ts
 * const pinger = new Pinger({ stack, address, mtu, random });
 * stack.register(PROTOCOL.icmp, pinger);      // it hands everything on to the stack's own ICMP
 * pinger.send(to, { bytes: 56, timeoutMs: 1000 }, now, (answer) => ...);
 * ```
 *
 * An answer counts only from the address that was asked, with our identifier, a number that waits,
 * and the data that was sent. Owners are told at `flush` and `tick` of the stack.
 *
 * @module
 */

import { viewOf } from "../wire/bytes.ts";
import { nativeSum } from "../wire/checksum.ts";
import { ICMP, ICMP_CHECKSUM, ICMP_HEADER_LEN, ICMP_REST } from "../wire/icmp.ts";
import { IPV4_HEADER_LEN, PROTOCOL } from "../wire/ipv4.ts";
import { type IpAddress, isUnicast, toIpAddress } from "./address.ts";
import type { EchoReplies } from "./icmp.ts";
import type { IpPacket } from "./ip_in.ts";
import type { IcmpError, Protocol } from "./protocol.ts";
import type { Stack } from "./stack.ts";

/** Requests that wait for their answer. Beyond: `too-many`. */
export const MAX_PINGS = 1024;
/** Most bytes of data in a request. */
export const MAX_PING_BYTES = 1024;
/** What every stack can send at once (RFC 791 section 3.2). */
const DEFAULT_MTU = 576;

/** What became of a request; times in ms. */
export type PingAnswer =
  | { readonly kind: "reply"; readonly roundTripMs: number }
  | { readonly kind: "unreachable"; readonly code: number }
  | { readonly kind: "timeout" };

/** Why a request was not sent. */
export type PingFault = "too-many" | "no-room" | "bad-address" | "bad-size";

/** How a request is sent. */
export interface PingOptions {
  /** Bytes of data, 0 to {@link MAX_PING_BYTES}. @default {56} */
  readonly bytes?: number;
  /** How long an answer is waited for, in ms. */
  readonly timeoutMs: number;
}

interface Waiting {
  readonly to: IpAddress;
  readonly sentAt: number;
  readonly endsAt: number;
  readonly bytes: number;
  readonly done: (answer: PingAnswer) => void;
  answer: PingAnswer | undefined;
}

/** Asks for echoes. */
export class Pinger implements Protocol, EchoReplies {
  readonly #stack: Pick<Stack, "ip" | "icmp">;
  readonly #address: IpAddress;
  readonly #mtu: number;
  readonly #identifier: number;
  readonly #waiting = new Map<number, Waiting>();
  /** Those whose answer has come and was not told yet. */
  readonly #answered: Waiting[] = [];
  /** The request that is being sent. */
  readonly #message = new Uint8Array(ICMP_HEADER_LEN + MAX_PING_BYTES);
  readonly #view = viewOf(this.#message);
  #sequence: number;

  /** Nothing is asked yet; to be registered with the stack for ICMP. */
  constructor({ stack, address, mtu = DEFAULT_MTU, random }: {
    /** The stack. */
    readonly stack: Pick<Stack, "ip" | "icmp">;
    /** Its address, unsigned 32 bits. */
    readonly address: number;
    /** Largest packet, in bytes; longer requests go in fragments. @default {576} */
    readonly mtu?: number;
    /** Random bytes. */
    readonly random: (length: number) => Uint8Array;
  }) {
    this.#stack = stack;
    this.#address = toIpAddress(address);
    this.#mtu = mtu;
    const start = viewOf(random(4));
    this.#identifier = start.getUint16(0);
    this.#sequence = start.getUint16(2);
    stack.icmp.echoReplies = this;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Sends one request, in fragments above the MTU; `done` is called once.
   *
   * @returns Why not; undefined: it was sent.
   */
  send(
    address: number,
    { bytes = 56, timeoutMs }: PingOptions,
    now: number,
    done: (answer: PingAnswer) => void,
  ): PingFault | undefined {
    const to = toIpAddress(address);
    if (!isUnicast(to) || to === this.#address) return "bad-address";
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > MAX_PING_BYTES) return "bad-size";
    if (this.#waiting.size >= MAX_PINGS) return "too-many";
    // At most MAX_PINGS of 65536 numbers are taken.
    do this.#sequence = (this.#sequence + 1) & 0xffff; while (this.#waiting.has(this.#sequence));
    const sequence = this.#sequence;
    const endsAt = now + timeoutMs;
    // Before it is sent: some sinks deliver at once, and the answer is here when they return.
    this.#waiting.set(sequence, { to, sentAt: now, endsAt, bytes, done, answer: undefined });
    if (this.#request(to, sequence, bytes)) return undefined;
    this.#waiting.delete(sequence);
    return "no-room";
  }

  /** False when there was no room for all of it. */
  #request(to: IpAddress, sequence: number, bytes: number): boolean {
    const message = this.#message;
    const view = this.#view;
    const size = ICMP_HEADER_LEN + bytes;
    view.setUint16(0, ICMP.echoRequest << 8);
    view.setUint16(ICMP_CHECKSUM, 0);
    view.setUint16(ICMP_REST, this.#identifier);
    view.setUint16(ICMP_REST + 2, sequence);
    for (let i = 0; i < bytes; i++) view.setUint8(ICMP_HEADER_LEN + i, i);
    view.setUint16(ICMP_CHECKSUM, ~nativeSum(view, 0, size), true);
    const { ip } = this.#stack;
    const total = IPV4_HEADER_LEN + size;
    if (total > this.#mtu) {
      return ip.sendPieces(message, size, this.#address, to, PROTOCOL.icmp, this.#mtu);
    }
    const at = ip.reserve(total);
    if (at < 0) return false;
    ip.buffer.set(message.subarray(0, size), at + IPV4_HEADER_LEN);
    ip.send(at, this.#address, to, PROTOCOL.icmp, total);
    return true;
  }

  /** See {@link Protocol.owns}. */
  owns(_local: IpAddress, identifier: number): boolean {
    return identifier === this.#identifier;
  }

  /** See {@link Protocol.input}: the stack's ICMP reads it. */
  input(packet: IpPacket, now: number): void {
    this.#stack.icmp.input(packet, now);
  }

  /** See {@link EchoReplies.reply}. */
  reply(packet: IpPacket, identifier: number, sequence: number, now: number): void {
    if (identifier !== this.#identifier) return;
    const found = this.#waiting.get(sequence);
    if (found === undefined || found.to !== packet.source) return;
    const at = packet.payloadAt + ICMP_HEADER_LEN;
    if (packet.end - at !== found.bytes) return;
    for (let i = 0; i < found.bytes; i++) if (packet.buffer[at + i] !== (i & 0xff)) return;
    this.#answer(sequence, { kind: "reply", roundTripMs: Math.max(0, now - found.sentAt) });
  }

  /** See {@link Protocol.error}. */
  error(error: IcmpError): void {
    if (error.view.getUint8(error.at) !== ICMP.echoRequest) return;
    if (error.view.getUint16(error.at + ICMP_REST) !== this.#identifier) return;
    const sequence = error.view.getUint16(error.at + ICMP_REST + 2);
    if (this.#waiting.get(sequence)?.to !== error.remote) return;
    this.#answer(sequence, { kind: "unreachable", code: error.code });
  }

  /** Tells owners of answers. An error that one throws comes out; the next call goes on behind it. */
  flush(): void {
    for (let next = this.#answered.shift(); next !== undefined; next = this.#answered.shift()) {
      if (next.answer !== undefined) next.done(next.answer);
    }
  }

  /** Ends what has waited too long. Whoever was told may want to send: then it is due at once again. */
  tick(now: number): number {
    let due = Infinity;
    for (const [sequence, { endsAt }] of this.#waiting) {
      if (endsAt <= now) this.#answer(sequence, { kind: "timeout" });
      else due = Math.min(due, endsAt);
    }
    if (this.#answered.length === 0) return due;
    this.flush();
    return now;
  }

  #answer(sequence: number, answer: PingAnswer): void {
    const found = this.#waiting.get(sequence);
    if (found === undefined) return;
    this.#waiting.delete(sequence);
    found.answer = answer;
    this.#answered.push(found);
  }
}
