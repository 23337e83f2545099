/**
 * Echo requests of ours and their answers (RFC 792, RFC 1122 section 3.2.2.6).
 *
 * ```ts
 * const pinger = new Pinger({ stack, address, random });
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
  readonly #identifier: number;
  readonly #waiting = new Map<number, Waiting>();
  /** Those whose answer has come and was not told yet. */
  readonly #answered: Waiting[] = [];
  #sequence: number;

  /** Nothing is asked yet; to be registered with the stack for ICMP. */
  constructor({ stack, address, random }: {
    /** The stack. */
    readonly stack: Pick<Stack, "ip" | "icmp">;
    /** Its address, unsigned 32 bits. */
    readonly address: number;
    /** Random bytes. */
    readonly random: (length: number) => Uint8Array;
  }) {
    this.#stack = stack;
    this.#address = toIpAddress(address);
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
   * Sends one request at the next `flush`; `done` is called once.
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
    const { ip } = this.#stack;
    const total = IPV4_HEADER_LEN + ICMP_HEADER_LEN + bytes;
    const at = ip.reserve(total);
    if (at < 0) return "no-room";
    // At most MAX_PINGS of 65536 numbers are taken.
    do this.#sequence = (this.#sequence + 1) & 0xffff; while (this.#waiting.has(this.#sequence));
    const { view } = ip;
    const icmp = at + IPV4_HEADER_LEN;
    view.setUint16(icmp, ICMP.echoRequest << 8);
    view.setUint16(icmp + ICMP_CHECKSUM, 0);
    view.setUint16(icmp + ICMP_REST, this.#identifier);
    view.setUint16(icmp + ICMP_REST + 2, this.#sequence);
    for (let i = 0; i < bytes; i++) view.setUint8(icmp + ICMP_HEADER_LEN + i, i);
    view.setUint16(icmp + ICMP_CHECKSUM, ~nativeSum(view, icmp, total - IPV4_HEADER_LEN), true);
    ip.send(at, this.#address, to, PROTOCOL.icmp, total);
    const endsAt = now + timeoutMs;
    this.#waiting.set(this.#sequence, { to, sentAt: now, endsAt, bytes, done, answer: undefined });
    return undefined;
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

  /** Ends what has waited too long. */
  tick(now: number): number {
    let due = Infinity;
    for (const [sequence, { endsAt }] of this.#waiting) {
      if (endsAt <= now) this.#answer(sequence, { kind: "timeout" });
      else due = Math.min(due, endsAt);
    }
    this.flush();
    return due;
  }

  #answer(sequence: number, answer: PingAnswer): void {
    const found = this.#waiting.get(sequence);
    if (found === undefined) return;
    this.#waiting.delete(sequence);
    found.answer = answer;
    this.#answered.push(found);
  }
}
