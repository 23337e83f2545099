/**
 * The way out for pings: echo requests of those inside to any address but the stack's own leave by one
 * socket of this computer, under numbers of our own, and the answers go back in under those that were
 * asked with (RFC 792).
 *
 * The system says who may have such a socket ({@link Datagrams.openPing}). Where it says no,
 * {@link OutwardEcho.available} is false, and nobody answers in the name of an address outside.
 *
 * An answer counts from the address that was asked, with a number that waits, once. Its data is passed
 * on as it comes. No errors come back: a ping to where nobody answers stays without an answer.
 *
 * Caps: {@link MAX_ECHOES} requests that wait, {@link MAX_OF_SOURCE} of them from one address inside,
 * each for {@link WAIT_MS}. Beyond, a request is dropped and counted. The stack's own limit on echoes
 * in a second comes first.
 *
 * @module
 */

import type { Datagrams, DatagramSocket, DatagramTaker } from "../os/datagram_socket.ts";
import { fromIpAddress, type IpAddress, toIpAddress } from "../tcp/address.ts";
import type { EchoRequests, Icmp } from "../tcp/icmp.ts";
import type { IpPacket } from "../tcp/ip_in.ts";
import { readU16, writeU16, writeU32 } from "../wire/bytes.ts";
import { ICMP, ICMP_HEADER_LEN, ICMP_REST, ICMP_TYPE } from "../wire/icmp.ts";
import { UNREACHABLE } from "../wire/icmp_error.ts";
import type { Deadline, ProxyLoop } from "./proxy_loop.ts";

/** Requests that wait for their answer; a power of two. */
export const MAX_ECHOES = 1024;
/** Those of one address inside. */
export const MAX_OF_SOURCE = 256;
/** How long an answer is waited for, in ms. */
export const WAIT_MS = 10_000;
/** Offset of the number in a message. */
const SEQUENCE = ICMP_REST + 2;
const MAX_MESSAGE = 65535;
/** Answers in one turn. */
const TURN_ANSWERS = 64;

/** What has been asked and answered. Numbers only grow. */
export class OutwardEchoCounters {
  /** Requests that the system has taken. */
  requests = 0;
  /** Answers that have gone in. */
  answers = 0;
  /** Requests to where the sender may not send. */
  refused = 0;
  /** Requests that found no room in the table, or in the socket's queue, or no socket. */
  dropped = 0;
  /** Requests to where no way leads. */
  unreachable = 0;
  /** Answers that nobody waits for: late, repeated, forged. */
  strangers = 0;
}

/** Carries echo requests out, and answers in. */
export class OutwardEcho implements EchoRequests, DatagramTaker, Deadline, Disposable {
  /** What went through it. */
  readonly counters: OutwardEchoCounters = new OutwardEchoCounters();
  readonly #loop: ProxyLoop;
  readonly #icmp: Icmp;
  readonly #allow: ((to: number, port: number, from: number) => boolean) | undefined;
  readonly #socket: DatagramSocket | undefined;
  readonly #watch: Disposable | undefined;
  readonly #message = new Uint8Array(MAX_MESSAGE);
  /** Our number of the request last sent. A request is in the place of its number's lower bits. */
  #sequence = crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;
  readonly #numbers = new Uint16Array(MAX_ECHOES);
  /** Until when it waits, in ms; 0: the place is free. */
  readonly #endsAt = new Float64Array(MAX_ECHOES);
  readonly #asked = new Int32Array(MAX_ECHOES);
  readonly #asker = new Int32Array(MAX_ECHOES);
  /** Their identifier and number. */
  readonly #rest = new Int32Array(MAX_ECHOES);
  #waiting = 0;
  /** Requests of each address inside that has any. */
  readonly #bySource = new Map<IpAddress, number>();

  /**
   * Begins to take echo requests.
   *
   * @param allow Whether `from` may ping `to`; the port is 0. Must not throw.
   */
  constructor(
    loop: ProxyLoop,
    icmp: Icmp,
    datagrams: Datagrams,
    allow?: (to: number, port: number, from: number) => boolean,
  ) {
    this.#loop = loop;
    this.#icmp = icmp;
    this.#allow = allow;
    const socket = datagrams.openPing();
    const serve = (): void => void socket?.drain(this, TURN_ANSWERS);
    this.#watch = socket && loop.streams.add(socket, serve);
    if (this.#watch === undefined) socket?.[Symbol.dispose]();
    else this.#socket = socket;
    icmp.echoRequests = this;
    loop.addDeadline(this);
  }

  /** Whether pings leave: the system has given us a socket for them. */
  get available(): boolean {
    return this.#socket !== undefined;
  }

  /** Requests that wait for an answer. */
  get waiting(): number {
    return this.#waiting;
  }

  /** See {@link EchoRequests.request}. */
  request(packet: IpPacket, now: number): void {
    const { counters } = this;
    const { source, destination, payloadAt, end } = packet;
    if (this.#allow?.(fromIpAddress(destination), 0, fromIpAddress(source)) === false) {
      counters.refused++;
      this.#icmp.unreachable(packet, UNREACHABLE.host, now);
      return;
    }
    const count = this.#bySource.get(source) ?? 0;
    if (
      this.#socket === undefined || this.#waiting >= MAX_ECHOES || count >= MAX_OF_SOURCE
    ) {
      counters.dropped++;
      return;
    }
    const place = this.#nextPlace();
    const message = this.#message;
    const length = end - payloadAt;
    message.set(packet.buffer.subarray(payloadAt, end));
    writeU32(message, 0, ICMP.echoRequest << 24);
    writeU16(message, SEQUENCE, this.#sequence);
    const fault = this.#socket.send(fromIpAddress(destination), 0, message, 0, length);
    if (fault === "unreachable") {
      counters.unreachable++;
      this.#icmp.unreachable(packet, UNREACHABLE.host, now);
    } else if (fault === "full") counters.dropped++;
    if (fault !== undefined) return;
    counters.requests++;
    this.#numbers[place] = this.#sequence;
    this.#endsAt[place] = now + WAIT_MS;
    this.#asked[place] = destination;
    this.#asker[place] = source;
    this.#rest[place] = packet.view.getInt32(payloadAt + ICMP_REST);
    this.#waiting++;
    this.#bySource.set(source, count + 1);
  }

  /** Counts on to a number whose place is free; there must be one. */
  #nextPlace(): number {
    do this.#sequence = (this.#sequence + 1) & 0xffff; while (
      this.#endsAt[this.#sequence % MAX_ECHOES] !== 0
    );
    return this.#sequence % MAX_ECHOES;
  }

  /** See {@link DatagramTaker.take}: from outside. */
  take(buffer: Uint8Array, at: number, length: number, address: number): void {
    const sequence = readU16(buffer, at + SEQUENCE);
    const place = sequence % MAX_ECHOES;
    const isAnswer = length >= ICMP_HEADER_LEN && buffer[at + ICMP_TYPE] === ICMP.echoReply &&
      this.#endsAt[place] !== 0 && this.#numbers[place] === sequence &&
      this.#asked[place] === toIpAddress(address);
    if (!isAnswer) {
      this.counters.strangers++;
      return;
    }
    const asker = this.#asker[place] ?? 0;
    const rest = this.#rest[place] ?? 0;
    this.#free(place);
    const data = at + ICMP_HEADER_LEN;
    const bytes = length - ICMP_HEADER_LEN;
    if (this.#icmp.echoReply(toIpAddress(address), asker, rest, buffer, data, bytes)) {
      this.counters.answers++;
    } else this.counters.dropped++;
  }

  #free(place: number): void {
    this.#endsAt[place] = 0;
    this.#waiting--;
    const asker = this.#asker[place] ?? 0;
    const left = (this.#bySource.get(asker) ?? 1) - 1;
    if (left > 0) this.#bySource.set(asker, left);
    else this.#bySource.delete(asker);
  }

  /** See {@link Deadline.sweep}. */
  sweep(now: number): void {
    for (let place = 0; place < MAX_ECHOES && this.#waiting > 0; place++) {
      const endsAt = this.#endsAt[place] ?? 0;
      if (endsAt !== 0 && endsAt <= now) this.#free(place);
    }
  }

  /** Stops: the stack answers echo requests itself again. */
  [Symbol.dispose](): void {
    if (this.#icmp.echoRequests === this) this.#icmp.echoRequests = undefined;
    this.#loop.removeDeadline(this);
    this.#watch?.[Symbol.dispose]();
    this.#socket?.[Symbol.dispose]();
  }
}
