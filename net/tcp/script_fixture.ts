/**
 * A conversation with one stack, segment by segment, in the manner of packetdrill: the test is the
 * other side. Sequence numbers are relative to each side's initial one, and what the stack sends is
 * compared as text:
 *
 * ```
 * S. 0:1(0) ack 1                    SYN and ACK
 * P. 1:101(100) ack 1                100 bytes with PSH
 * . 101:101(0) ack 1 sack 11:21      a bare ACK with a SACK block
 * ```
 *
 * @module
 */

import assert from "node:assert/strict";
import { Random } from "../../tests/doubles/random.ts";
import type { PacketSink } from "../os/sink.ts";
import { viewOf } from "../wire/bytes.ts";
import { foldSum, nativePseudoSum, nativeSum } from "../wire/checksum.ts";
import { ICMP } from "../wire/icmp.ts";
import { parseIpv4Packet, PROTOCOL, writeIpv4 } from "../wire/ipv4.ts";
import { parseTcp, TCP_FLAG, tcpChecksumValid } from "../wire/tcp.ts";
import {
  TcpOptions as Options,
  writeMss,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from "../wire/tcp_options.ts";
import type { CloseReason, TcpConnection, TcpHandler, TcpOptions } from "./connection.ts";
import { Stack, type StackOptions } from "./stack.ts";
import type { StateName } from "./state.ts";

/** The stack's address: 10.0.0.1. */
export const OURS = 0x0a000001;
/** The test's address: 10.0.0.2. */
export const THEIRS = 0x0a000002;
/** The stack's port when it listens. */
export const OUR_PORT = 80;
/** The test's port. */
export const THEIR_PORT = 40000;
/** The test's initial sequence number, close to where it wraps. */
const THEIR_ISN = 0xfffffff0;

/** A segment that the test sends; sequence numbers are relative. */
export interface SegmentIn {
  /** Letters: S, F, R, P, U, E for ECE, W for CWR, and `.` for ACK. */
  readonly flags: string;
  /** First sequence number. @default {the next one} */
  readonly seq?: number;
  /** Acknowledgment number. @default {everything seen} */
  readonly ack?: number;
  /** Bytes of data. @default {0} */
  readonly length?: number;
  /** Window field. @default {65535} */
  readonly win?: number;
  /** MSS option. */
  readonly mss?: number;
  /** Window scale option. */
  readonly scale?: number;
  /** SACK permitted. */
  readonly sackOk?: boolean;
  /** Timestamps: value and echo. */
  readonly ts?: readonly [number, number];
  /** SACK blocks, relative. */
  readonly sack?: readonly (readonly [number, number])[];
  /** Another port of the test's. */
  readonly port?: number;
}

const LETTERS: readonly [string, number][] = [
  ["S", TCP_FLAG.syn],
  ["F", TCP_FLAG.fin],
  ["R", TCP_FLAG.rst],
  ["P", TCP_FLAG.psh],
  ["U", TCP_FLAG.urg],
  ["E", TCP_FLAG.ece],
  ["W", TCP_FLAG.cwr],
  [".", TCP_FLAG.ack],
];

/** Keeps packets. */
class Kept implements PacketSink {
  readonly buffer = new Uint8Array(70_000);
  packets: Uint8Array[] = [];
  reserve(): number {
    this.buffer.fill(0xa5, 0, 200);
    return 2;
  }
  commit(length: number): void {
    this.packets.push(this.buffer.slice(2, 2 + length));
  }
  flush(): void {}
}

/** Notes what an owner is told. */
export class Notes implements TcpHandler {
  /** The words, in order. */
  readonly told: string[] = [];
  /** The state when it was over: TIME-WAIT is one that only the owner sees, while he is told. */
  closedIn: StateName | undefined;
  /** See {@link TcpHandler.onOpen}. */
  onOpen(): void {
    this.told.push("open");
  }
  /** See {@link TcpHandler.onReadable}. */
  onReadable(): void {
    this.told.push("readable");
  }
  /** See {@link TcpHandler.onWritable}. */
  onWritable(): void {
    this.told.push("writable");
  }
  /** See {@link TcpHandler.onEnd}. */
  onEnd(): void {
    this.told.push("end");
  }
  /** See {@link TcpHandler.onClose}. */
  onClose(connection: TcpConnection, reason: CloseReason): void {
    this.told.push(reason);
    this.closedIn = connection.state;
  }
}

/** One stack and the test. */
export class Script {
  /** The stack. */
  readonly stack: Stack;
  /** What the owner of the first connection was told. */
  readonly notes: Notes = new Notes();
  /** The time, in ms. */
  now = 10_000;
  /** The newest connection, once there is one. */
  connection: TcpConnection | undefined;
  /** When the stack wants to be called again, in ms. */
  due: number = Infinity;
  /** Initial sequence number of the stack. */
  isn = 0;
  /** TSval of the segment sent last; 0: it had none. */
  stamp = 0;
  /** TSecr of the segment sent last. */
  echo = 0;
  /** Window of the segment sent last, not scaled. */
  window = 0;
  /** Options of the segment sent last. */
  readonly options: Options = new Options();
  /** Payload of the segment sent last. */
  payload: Uint8Array = new Uint8Array(0);
  readonly #sink = new Kept();
  #next = 0;
  #seen = 0;
  #port = OUR_PORT;

  /** A stack that listens on {@link OUR_PORT} and accepts. */
  constructor(options: Partial<StackOptions> = {}, accept: TcpOptions = {}) {
    const random = new Random(1);
    this.stack = new Stack({
      address: OURS,
      mtu: 1500,
      out: this.#sink,
      random: (length) => new Uint8Array(length).map(() => random.below(256)),
      now: this.now,
      // What the tests of single sections say of the window is said of CUBIC.
      congestion: "cubic",
      ...options,
    });
    this.stack.listen({
      port: OUR_PORT,
      onSyn: (pending) => {
        const notes = this.connection === undefined ? this.notes : new Notes();
        this.connection = pending.accept(notes, accept);
      },
    });
  }

  /** The connection, which must be there. */
  get c(): TcpConnection {
    assert.ok(this.connection !== undefined);
    return this.connection;
  }

  /** Opens a connection from the stack and expects its SYN. */
  connect(options: TcpOptions = {}): void {
    const made = this.stack.connect({
      to: THEIRS,
      port: THEIR_PORT,
      handler: this.notes,
      options,
    });
    assert.ok(typeof made !== "string");
    this.connection = made;
    this.#port = made.localPort;
    this.end();
    this.expect("S 0:1(0)");
  }

  /** A handshake that the test begins, with every option unless told otherwise. */
  open(options: Partial<SegmentIn> = {}): void {
    this.in({ flags: "S", mss: 1460, sackOk: true, ts: [100, 0], scale: 7, ...options });
    this.expect("S. 0:1(0) ack 1");
    this.in({ flags: ".", ...(options.ts === undefined && "ts" in options ? {} : this.ts(100)) });
    this.expect();
    assert.equal(this.c.state, "ESTABLISHED");
  }

  /** Timestamps for a segment: `value`, and the echo of what the stack sent last. */
  ts(value: number): { ts: readonly [number, number] } {
    return { ts: [value, this.stamp] };
  }

  /** The test sends a segment, and the batch ends. */
  in(segment: SegmentIn): void {
    this.more(segment);
    this.stack.flush(this.now);
    this.due = this.stack.tick(this.now);
  }

  /** The test sends a segment, and more will follow in the batch. */
  more(segment: SegmentIn): void {
    const packet = this.build(segment);
    this.stack.input(packet, 0, packet.length, this.now);
  }

  /** A whole packet for a segment. */
  build(segment: SegmentIn): Uint8Array {
    const out = new Uint8Array(60 + 40 + (segment.length ?? 0)).fill(0);
    const view = viewOf(out);
    let o = 40;
    if (segment.mss !== undefined) o += writeMss(view, o, segment.mss);
    if (segment.sackOk === true) o += writeSackPermitted(view, o);
    if (segment.ts !== undefined) o += writeTimestamps(view, o, segment.ts[0], segment.ts[1]);
    if (segment.scale !== undefined) o += writeWindowScale(view, o, segment.scale);
    if (segment.sack !== undefined) {
      const edges = Int32Array.from(segment.sack.flat().map((edge) => (this.isn + edge) | 0));
      o += writeSack(view, o, edges, segment.sack.length);
    }
    const length = segment.length ?? 0;
    const seq = segment.seq ?? this.#next;
    let flags = 0;
    for (const [letter, bit] of LETTERS) if (segment.flags.includes(letter)) flags |= bit;
    for (let i = 0; i < length; i++) out[o + i] = (seq + i) & 255;
    view.setUint16(20, segment.port ?? THEIR_PORT);
    view.setUint16(22, this.#port);
    view.setInt32(24, (THEIR_ISN + seq) | 0);
    view.setInt32(
      28,
      (flags & TCP_FLAG.ack) === 0 ? 0 : (this.isn + (segment.ack ?? this.#seen)) | 0,
    );
    view.setUint8(32, (o - 20) << 2);
    view.setUint8(33, flags);
    view.setUint16(34, segment.win ?? 65535);
    const total = o + length;
    writeIpv4(out, 0, THEIRS, OURS, PROTOCOL.tcp, total, 7);
    const sum = foldSum(nativeSum(view, 20, total - 20) + nativePseudoSum(view, 0, total - 20));
    view.setUint16(36, ~sum, true);
    const taken = length + ((flags & TCP_FLAG.syn) !== 0 ? 1 : 0) +
      ((flags & TCP_FLAG.fin) !== 0 ? 1 : 0);
    if ((flags & TCP_FLAG.rst) === 0) this.#next = Math.max(this.#next, seq + taken);
    return out.subarray(0, total);
  }

  /** The test sends an ICMP error that quotes a segment of the stack's with sequence number `seq`. */
  icmp(code: number, mtu: number, seq: number, type: number = ICMP.unreachable): void {
    const out = new Uint8Array(56);
    const view = viewOf(out);
    out[20] = type;
    out[21] = code;
    view.setUint16(26, mtu);
    writeIpv4(out, 28, OURS, THEIRS, PROTOCOL.tcp, 1500, 1);
    view.setUint16(48, this.#port);
    view.setUint16(50, THEIR_PORT);
    view.setInt32(52, (this.isn + seq) | 0);
    view.setUint16(22, ~nativeSum(view, 20, 36), true);
    writeIpv4(out, 0, THEIRS, OURS, PROTOCOL.icmp, 56, 1);
    this.stack.input(out, 0, out.length, this.now);
    this.end();
  }

  /** Ends a batch. */
  end(): void {
    this.stack.flush(this.now);
    this.due = this.stack.tick(this.now);
  }

  /** The owner writes `length` bytes. */
  write(length: number): void {
    assert.equal(this.c.write(new Uint8Array(length).map((_, i) => i)), length);
    this.end();
  }

  /** The owner reads `length` bytes. */
  read(length: number): void {
    assert.equal(this.c.read(new Uint8Array(length)), length);
    this.end();
  }

  /** Lets `ms` pass, calling the stack whenever it wants to be. */
  wait(ms: number): void {
    const end = this.now + ms;
    while (this.due <= end) {
      this.now = Math.max(this.now, this.due);
      this.due = this.stack.tick(this.now);
    }
    this.now = end;
    this.due = this.stack.tick(end);
  }

  /** What the stack has sent since the last time, as text. */
  sent(): string[] {
    const packets = this.#sink.packets;
    this.#sink.packets = [];
    return packets.map((packet) => this.#format(packet));
  }

  /** Compares {@link sent}. */
  expect(...want: string[]): void {
    assert.deepEqual(this.sent(), want);
  }

  /** Whole packets that the stack has sent since the last time. */
  packets(): Uint8Array[] {
    const packets = this.#sink.packets;
    this.#sink.packets = [];
    return packets;
  }

  #format(packet: Uint8Array): string {
    const ip = parseIpv4Packet(packet);
    if (typeof ip === "string") return ip;
    if (ip.protocol === PROTOCOL.icmp) return `icmp ${ip.payload[0]} ${ip.payload[1]}`;
    const tcp = parseTcp(ip.payload);
    if (typeof tcp === "string") return tcp;
    assert.ok(tcpChecksumValid(ip.payload, 0, ip.payload.length, ip.source, ip.destination));
    const has = (bit: number): boolean => (tcp.flags & bit) !== 0;
    if (has(TCP_FLAG.syn)) this.isn = tcp.sequence | 0;
    const header = packet.length - tcp.payload.length;
    this.options.read(viewOf(packet), header - tcp.options.length, header);
    this.stamp = this.options.timestamps ? this.options.value : 0;
    this.echo = this.options.timestamps ? this.options.echo : 0;
    this.window = tcp.window;
    this.payload = tcp.payload;
    const start = (tcp.sequence - this.isn) | 0;
    const taken = tcp.payload.length + (has(TCP_FLAG.syn) ? 1 : 0) + (has(TCP_FLAG.fin) ? 1 : 0);
    this.#seen = Math.max(this.#seen, start + taken);
    const letters = LETTERS.filter(([, bit]) => has(bit)).map(([letter]) => letter).join("");
    const ack = has(TCP_FLAG.ack) ? ` ack ${(tcp.acknowledgment - THEIR_ISN) | 0}` : "";
    let sack = "";
    for (let i = 0; i < this.options.sackCount; i++) {
      const edge = (k: number): number => ((this.options.sackEdges[k] ?? 0) - THEIR_ISN) | 0;
      sack += ` sack ${edge(2 * i)}:${edge(2 * i + 1)}`;
    }
    return `${letters} ${start}:${start + taken}(${tcp.payload.length})${ack}${sack}`;
  }
}
