/**
 * One side of the kernel filter's benchmark, as a process in a namespace of its own: `lender` holds
 * the TAP, as QEMU does, and the filter; `borrower` holds a UDP socket. One of them sends for as long
 * as it is told, the other counts what arrives; both print a {@link Tally}.
 *
 * @module
 */

import { guestLink } from "../../net/filter/guest_link.ts";
import { KernelFilter } from "../../net/filter/ebpf/kernel_filter.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import type { DatagramHandler, PacketHandler } from "../../net/os/packet_socket.ts";
import { openTapLinux } from "../../net/os/tap_linux.ts";
import { openUdp } from "../../net/os/udp.ts";
import { kernelUplink } from "../../net/os/uplink_linux.ts";
import { guestFrame, wireguardMessage } from "../doubles/guest_frames.ts";

/** What one side has seen. */
export interface Tally {
  /** Packets sent, or arrived. */
  readonly packets: number;
  /** Payload bytes of them. */
  readonly bytes: number;
  /** From the first to the last, in s. */
  readonly seconds: number;
}

/** What a side is told, as JSON in its first argument. */
export interface Side {
  /** Which one it is. */
  readonly role: "lender" | "borrower";
  /** Whether it sends or counts. */
  readonly sends: boolean;
  /** Payload of a message, in bytes. */
  readonly length: number;
  /** How long it sends, in ms; who counts does so for as long after the first has come. */
  readonly ms: number;
}

const SESSION = 77;
const NODE = "192.168.1.100";
const BORROWER = "192.168.1.7";
const PORT = 51820;
/** Headers in front of a payload. */
const HEADERS = 42;
/** Datagrams of one burst. */
const BURST = 32;
/** How long to wait for the first packet, in ms. */
const PATIENCE_MS = 10_000;

class Count implements DatagramHandler, PacketHandler {
  packets = 0;
  bytes = 0;
  readonly #headers: number;

  constructor(headers: number) {
    this.#headers = headers;
  }

  receive(_b: Uint8Array, _at: number, length: number): void {
    if (length <= this.#headers + 32) return;
    this.packets++;
    this.bytes += length - this.#headers;
  }
}

function message(length: number, type: number): Uint8Array {
  const bytes = wireguardMessage(length, type);
  new DataView(bytes.buffer).setUint32(4, SESSION, true);
  return bytes;
}

function endpoint(address: string): Endpoint {
  const made = Endpoint.of(address, PORT);
  if (made === undefined) throw new RangeError(`Cannot use ${address}`);
  return made;
}

function send(ms: number, burst: () => number): Tally {
  const begun = performance.now();
  let packets = 0;
  while (performance.now() - begun < ms) packets += burst();
  return { packets, bytes: 0, seconds: (performance.now() - begun) / 1000 };
}

function receive(ms: number, count: Count, drain: () => void): Tally {
  const waiting = performance.now();
  while (count.packets === 0 && performance.now() - waiting < PATIENCE_MS) drain();
  const begun = performance.now();
  while (performance.now() - begun < ms) drain();
  const { packets, bytes } = count;
  return { packets, bytes, seconds: (performance.now() - begun) / 1000 };
}

function lender({ sends, length, ms }: Side): Tally {
  using tap = openTapLinux({ name: "om-bench", mtu: 1500 });
  using filter = new KernelFilter({
    ...{ tap: "om-bench", nodePort: PORT, mac1Key: new Uint8Array(32), owner: "bench" },
    link: guestLink(),
  });
  filter.setUplink(kernelUplink(endpoint(BORROWER)));
  const write = (frame: Uint8Array): void => {
    tap.out.buffer.set(frame, tap.out.reserve(frame.length));
    tap.out.commit(frame.length);
  };
  write(guestFrame({ sourcePort: 40000, payload: message(148, 1) }));
  if (!sends) {
    const count = new Count(HEADERS);
    return receive(ms, count, () => tap.drain(count, 256));
  }
  // No checksum, as none is needed: the filter carries it over.
  const frame = guestFrame({ sourcePort: 40000, payload: message(length, 4) });
  frame.fill(0, 40, 42);
  return send(ms, () => {
    for (let i = 0; i < BURST; i++) write(frame);
    return BURST;
  });
}

function borrower({ sends, length, ms }: Side): Tally {
  using udp = openUdp({ port: PORT });
  const count = new Count(0);
  if (!sends) return receive(ms, count, () => udp.drain(count, 512));
  // Until the lender's guest has said which session is its own.
  const first = new Count(0);
  const waiting = performance.now();
  while (first.packets === 0 && performance.now() - waiting < PATIENCE_MS) udp.drain(first, 1);
  const data = message(length, 4);
  const to = endpoint(NODE);
  return send(ms, () => {
    for (let i = 0; i < BURST; i++) {
      udp.out.buffer.set(data, udp.out.reserve(data.length));
      udp.out.commit(data.length, to);
    }
    udp.out.flush();
    return BURST;
  });
}

if (import.meta.main) {
  const side: Side = JSON.parse(Deno.args[0] ?? "");
  const tally = side.role === "lender" ? lender(side) : borrower(side);
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(tally)));
}
