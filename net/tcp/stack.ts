/**
 * A TCP/IP stack without any I/O: packets and the time go in, packets and events come out.
 *
 * ```ts
 * const stack = new Stack({ address, mtu: 1400, out: tun.out, random, now });
 * for (each packet of a batch) stack.input(buffer, at, length, now);
 * stack.flush(now);                  // owners are told; acknowledgments and data go out
 * const due = stack.tick(now);       // timers; call again at `due`, in ms, at the latest
 * ```
 *
 * After any call of a connection outside of its handlers, `flush` sends what it caused. Everything
 * runs in the caller's turn; an error that a handler throws comes out of `flush` or `tick`, which go on
 * behind it the next time.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import { viewOf } from "../wire/bytes.ts";
import { ICMP, ICMP_HEADER_LEN, ICMP_REST } from "../wire/icmp.ts";
import { ICMP_QUOTED_BYTES, UNREACHABLE } from "../wire/icmp_error.ts";
import {
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_HEADER_LEN,
  IPV4_IS_FRAGMENT,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4HeaderLength,
  PROTOCOL,
} from "../wire/ipv4.ts";
import { toIpAddress } from "./address.ts";
import type { CongestionName } from "./congestion/control.ts";
import type { TcpConnection } from "./connection.ts";
import { StackCounters } from "./counters.ts";
import { Reassembly } from "./fragments.ts";
import { Icmp } from "./icmp.ts";
import { IpPacket } from "./ip_in.ts";
import { IpOutput } from "./ip_out.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import type { ListenOptions, TcpListener } from "./listener.ts";
import type { Protocol } from "./protocol.ts";
import { RateLimit } from "./rate_limit.ts";
import { type ConnectFault, type ConnectOptions, Tcp } from "./tcp.ts";

/** Least MTU, in bytes (RFC 791 section 3.2: what every host takes). */
const MIN_MTU = 576;
const MAX_MTU = 65535;
/** What the measurements in docs/tcp.md speak for. */
const DEFAULT_CONGESTION: CongestionName = "bbr";

/** What a stack is made of. */
export interface StackOptions {
  /** Its address, unsigned 32 bits. */
  readonly address: number;
  /** Largest packet, in bytes: 576 to 65535. */
  readonly mtu: number;
  /** Where packets go. */
  readonly out: PacketSink;
  /** Random bytes, good enough for secrets. */
  readonly random: (length: number) => Uint8Array;
  /** The time, in ms, not negative; any clock that never goes back. */
  readonly now: number;
  /** Whether packets for any address are taken, as a gateway does. @default {false} */
  readonly promiscuous?: boolean;
  /** Congestion control of connections that ask for none. @default {"bbr"} */
  readonly congestion?: CongestionName;
  /** Limits other than the default ones. */
  readonly limits?: Partial<Limits>;
}

/** How full a stack is. */
export interface StackUse {
  /** Connections, half-open ones included. */
  readonly connections: number;
  /** SYNs that wait for their owner. */
  readonly pending: number;
  /** Records in TIME-WAIT. */
  readonly timeWaits: number;
  /** Bytes of memory that buffers hold. */
  readonly bufferBytes: number;
}

/** A stack. */
export class Stack {
  /** What it has seen and refused. */
  readonly counters: StackCounters = new StackCounters();
  /** Pieces of packets that wait for the others. */
  readonly fragments: Reassembly = new Reassembly();
  /** ICMP, for whoever pings. */
  readonly icmp: Icmp;
  /** Packets on their way out, for protocols registered here. */
  readonly ip: IpOutput;
  /** Whether packets for any address are taken. */
  readonly promiscuous: boolean;
  readonly #own: number | undefined;
  readonly #tcp: Tcp;
  readonly #packet = new IpPacket();
  readonly #protocols: (Protocol | undefined)[] = new Array<Protocol | undefined>(256).fill(
    undefined,
  );
  readonly #registered: Protocol[] = [];
  #buffer: Uint8Array;
  #view: DataView;

  /**
   * A stack with no connections.
   *
   * @throws {RangeError} when the MTU is none.
   */
  constructor(options: StackOptions) {
    const { mtu, out, random, now } = options;
    if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU) {
      throw new RangeError(
        `Cannot make a TCP/IP stack: MTU is ${mtu}, want ${MIN_MTU} to ${MAX_MTU}`,
      );
    }
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const address = toIpAddress(options.address);
    this.promiscuous = options.promiscuous === true;
    this.#own = this.promiscuous ? undefined : address;
    this.ip = new IpOutput(out, this.counters);
    const answers = new RateLimit(limits.answersPerSecond);
    const echoes = new RateLimit(limits.echoesPerSecond);
    this.icmp = new Icmp(address, mtu, this.ip, this.counters, echoes, answers, this.#protocols);
    const { ip, icmp, counters } = this;
    const congestion = options.congestion ?? DEFAULT_CONGESTION;
    this.#tcp = new Tcp(
      address,
      mtu,
      congestion,
      ip,
      icmp,
      counters,
      limits,
      answers,
      random,
      now,
    );
    this.#buffer = out.buffer;
    this.#view = viewOf(out.buffer);
    this.#protocols[PROTOCOL.icmp] = this.icmp;
    this.register(PROTOCOL.tcp, this.#tcp);
  }

  /** Hands packets with this protocol number to `protocol`. */
  register(number: number, protocol: Protocol): void {
    this.#protocols[number] = protocol;
    this.#registered.push(protocol);
  }

  /**
   * Takes one packet, of any bytes and up to 64 KiB. Never throws; what is refused is counted.
   *
   * @param sound Whether nothing can have damaged it, so that TCP need not look at its checksum.
   */
  input(buffer: Uint8Array, at: number, length: number, now: number, sound = false): void {
    const { counters } = this;
    counters.packetsIn++;
    const packet = this.#packet;
    if (!packet.read(this.#viewOf(buffer), buffer, at, length, this.#own, counters)) return;
    if (packet.fragment) {
      counters.fragment++;
      const whole = this.fragments.take(packet, now);
      if (whole === undefined) return;
      packet.read(whole.view, whole.buffer, whole.at, whole.length, this.#own, counters);
    } else packet.sound = sound;
    const protocol = this.#protocols[packet.protocol];
    if (protocol !== undefined) protocol.input(packet, now);
    else {
      counters.unknownProtocol++;
      const udp = packet.protocol === PROTOCOL.udp;
      this.icmp.unreachable(packet, udp ? UNREACHABLE.port : UNREACHABLE.protocol, now);
    }
  }

  /**
   * Whether a packet for this stack's address belongs to a connection, a listener, a socket or a ping
   * of its own: for whoever shares the address with another stack. Nothing is changed. Fragments, and
   * echo requests, belong to nothing.
   */
  owns(buffer: Uint8Array, at: number, length: number): boolean {
    const view = this.#viewOf(buffer);
    const header = ipv4HeaderLength(buffer, at);
    const payload = at + header;
    if (header < IPV4_HEADER_LEN || header + ICMP_HEADER_LEN > length) return false;
    if ((view.getUint16(at + IPV4_FRAGMENT) & IPV4_IS_FRAGMENT) !== 0) return false;
    const local = view.getInt32(at + IPV4_DESTINATION);
    const number = view.getUint8(at + IPV4_PROTOCOL);
    if (number !== PROTOCOL.icmp) {
      const remote = view.getInt32(at + IPV4_SOURCE);
      const theirs = view.getUint16(payload);
      const ours = view.getUint16(payload + 2);
      return this.#protocols[number]?.owns?.(local, ours, remote, theirs) ?? false;
    }
    const type = view.getUint8(payload);
    if (type === ICMP.echoReply) {
      const identifier = view.getUint16(payload + ICMP_REST);
      const remote = view.getInt32(at + IPV4_SOURCE);
      return this.#protocols[number]?.owns?.(local, identifier, remote, 0) ?? false;
    }
    if (type !== ICMP.unreachable && type !== ICMP.timeExceeded) return false;
    const quoted = payload + ICMP_HEADER_LEN;
    const quotedHeader = ipv4HeaderLength(buffer, quoted);
    const inside = quoted + quotedHeader;
    if (quotedHeader < IPV4_HEADER_LEN || inside + ICMP_QUOTED_BYTES > at + length) return false;
    const remote = view.getInt32(quoted + IPV4_DESTINATION);
    const isEcho = view.getUint8(quoted + IPV4_PROTOCOL) === PROTOCOL.icmp;
    const ours = view.getUint16(isEcho ? inside + ICMP_REST : inside);
    const theirs = isEcho ? 0 : view.getUint16(inside + 2);
    const protocol = this.#protocols[view.getUint8(quoted + IPV4_PROTOCOL)];
    return protocol?.owns?.(local, ours, remote, theirs) ?? false;
  }

  /** Ends a batch: tells owners, sends what is due. */
  flush(now: number): void {
    try {
      for (const protocol of this.#registered) protocol.flush?.(now);
    } finally {
      this.ip.flush();
    }
  }

  /** Looks at the timers; when to call again, in ms; Infinity: not until something happens. */
  tick(now: number): number {
    let next = this.fragments.tick(now);
    try {
      for (const protocol of this.#registered) {
        next = Math.min(next, protocol.tick?.(now) ?? Infinity);
      }
    } finally {
      this.ip.flush();
    }
    return next;
  }

  /** Opens a connection, or says why not. */
  connect(options: ConnectOptions): TcpConnection | ConnectFault {
    return this.#tcp.connect(options);
  }

  /** Resets every connection and forgets every listener; the next {@link flush} tells their owners. */
  abort(): void {
    this.#tcp.abort();
  }

  /**
   * Says that the way to some addresses may be there again: what was sent to them and waits for a
   * timeout that was doubled, a minute at worst, is sent again with the next {@link tick}.
   *
   * @param isBack Whether `remote`, unsigned 32 bits, is one of them.
   */
  retry(isBack: (remote: number) => boolean): void {
    this.#tcp.retry(isBack);
  }

  /** From now on packets go to `out`: not to be called while one is under way. */
  redirect(out: PacketSink): void {
    this.ip.redirect(out);
  }

  /** Waits for connections; undefined when there is a listener for the same address and port. */
  listen(options: ListenOptions): TcpListener | undefined {
    return this.#tcp.listen(options);
  }

  #viewOf(buffer: Uint8Array): DataView {
    if (buffer !== this.#buffer) {
      this.#buffer = buffer;
      this.#view = viewOf(buffer);
    }
    return this.#view;
  }

  /** How full it is. */
  get use(): StackUse {
    const { connections, pending, timeWaits, chunks } = this.#tcp;
    return { connections, pending, timeWaits, bufferBytes: chunks.bytes };
  }
}
