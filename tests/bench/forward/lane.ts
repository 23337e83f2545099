/**
 * A lane while it runs: both of its ends, and what has arrived at them.
 *
 * @module
 */

import { OmertaError } from "../../../lib/core/errors.ts";
import type { PacketHandler } from "../../../net/os/packet_socket.ts";
import { guestArp, guestFrame } from "../../doubles/guest_frames.ts";
import type { LaneConfig } from "./lane_config.ts";
import { initiation, probeAt, transportData } from "./loads.ts";
import { bindUnix, connectUnix, MessageWire, openUdpWire } from "./message_wire.ts";
import { OffloadWire } from "./offload_wire.ts";
import { StreamWire } from "./stream_wire.ts";
import type { Wire } from "./wire.ts";

/** Headers in front of the message in a frame (bytes). */
const HEADERS = 42;
const SOURCE_PORT = 40000;
const OPEN_MS = 5000;
/** Silence after which nothing more is expected, once the forwarder sleeps (ms). */
const QUIET_MS = 30;
/** How long that may take (ms). */
const SETTLE_MS = 10_000;

/** Counts what arrives, and hands on what is a probe. */
export class Arrivals implements PacketHandler {
  /** Messages that have arrived. */
  packets = 0;
  /** Their bytes, without headers. */
  bytes = 0;
  /** Hears of each probe: its number. */
  onProbe: ((number: number) => void) | undefined;
  readonly #headers: number;
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** Counts messages behind so many bytes of headers. */
  constructor(headers: number) {
    this.#headers = headers;
  }

  /** Takes one message. */
  receive(buffer: Uint8Array, at: number, length: number): void {
    this.packets++;
    this.bytes += length - this.#headers;
    if (this.onProbe === undefined) return;
    if (this.#view.buffer !== buffer.buffer) this.#view = new DataView(buffer.buffer);
    const number = probeAt(this.#view, at + this.#headers);
    if (number >= 0) this.onProbe(number);
  }
}

/** Cables of forwarders; lanes through one forwarder share it where it has only one. */
export class Cables implements Disposable {
  readonly #byPath = new Map<string, Wire>();

  /** The guest's end of a lane's cable. */
  of({ kind, peer, local }: LaneConfig): Wire {
    const known = this.#byPath.get(peer);
    if (known !== undefined) return known;
    const fd = connectUnix(kind, peer);
    const wire = kind === "stream"
      ? new StreamWire(fd)
      : new MessageWire(local === undefined ? fd : bindUnix(local), fd);
    this.#byPath.set(peer, wire);
    return wire;
  }

  /** Unplugs all. */
  [Symbol.dispose](): void {
    for (const wire of this.#byPath.values()) wire[Symbol.dispose]();
  }
}

/** Both ends of a lane. */
export class Lane implements Disposable {
  /** What it leads through. */
  readonly config: LaneConfig;
  /** What has come out at the far end. */
  readonly atNet: Arrivals = new Arrivals(0);
  /** What has come out at the guest's end. */
  readonly atGuest: Arrivals = new Arrivals(HEADERS);
  readonly #cable: Wire;
  readonly #net: Wire;

  /** Opens the far end and waits until a message of the guest's has arrived there. */
  constructor(config: LaneConfig, cables: Cables) {
    this.config = config;
    this.#cable = cables.of(config);
    const plain = config.offload ? undefined : openUdpWire(config.sinkPort);
    this.#net = plain ?? new OffloadWire(config.sinkPort);
    const { guestAddress: senderIp, gatewayAddress: targetIp } = config;
    // libslirp asks for the guest's address before it hands over anything; this tells it.
    const hello = [guestArp({ senderIp, targetIp }), this.frame(initiation(config.sinkPort))];
    const deadline = performance.now() + OPEN_MS;
    for (let sent = 0; this.atNet.packets === 0;) {
      if (sent < hello.length) sent += this.#cable.send(hello, sent, hello.length - sent);
      this.drain();
      if (performance.now() < deadline) continue;
      throw new OmertaError(
        "bench-failed",
        `Cannot use ${config.forwarder}: no message came through in ${OPEN_MS / 1000} s`,
      );
    }
    plain?.answerSender();
    this.settle();
  }

  /** A frame of this lane's guest around `payload`. */
  frame(payload: Uint8Array): Uint8Array<ArrayBuffer> {
    const { guestAddress, destination, destinationPort, gatewayMac, offload } = this.config;
    return guestFrame({
      payload,
      destinationMac: gatewayMac,
      source: guestAddress,
      destination,
      sourcePort: SOURCE_PORT + (offload ? 1 : 0),
      destinationPort,
    });
  }

  /** A message of this lane's session. */
  message(length: number, probe?: number): Uint8Array<ArrayBuffer> {
    return transportData(length, this.config.sinkPort, probe);
  }

  /** Sends frames into the cable; how many it took. */
  up(frames: readonly Uint8Array[], from: number, count: number): number {
    return this.#cable.send(frames, from, count);
  }

  /** Sends messages from the far end; how many the kernel took. */
  down(messages: readonly Uint8Array[], from: number, count: number): number {
    return this.#net.send(messages, from, count);
  }

  /** Takes what has arrived at both ends. */
  drain(): void {
    this.#net.drain(this.atNet);
    this.#cable.drain(this.atGuest);
  }

  /** Waits until `arrived` says that everything has, or it is too late for that. */
  waitFor(arrived: () => boolean): void {
    const deadline = performance.now() + SETTLE_MS;
    do this.drain(); while (!arrived() && performance.now() < deadline);
  }

  /** Waits until nothing arrives any more: the forwarder has nothing left to do. */
  settle(): void {
    const deadline = performance.now() + SETTLE_MS;
    let before = -1;
    let since = 0;
    for (let now = 0; now < deadline; now = performance.now()) {
      this.drain();
      const arrived = this.atNet.packets + this.atGuest.packets;
      if (arrived !== before) {
        before = arrived;
        since = now;
      } else if (now - since > QUIET_MS) {
        if (isAsleep(this.config.pid)) return;
        since = now;
      }
    }
  }

  /** Closes the far end; the cable is the {@link Cables}'. */
  [Symbol.dispose](): void {
    this.#net[Symbol.dispose]();
  }
}

/** Whether every thread of a process waits for something. */
function isAsleep(pid: number): boolean {
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/task/${name}/stat`);
    // proc_pid_stat(5), field 3: R is running, or ready to.
    if (stat[stat.lastIndexOf(")") + 2] === "R") return false;
  }
  return true;
}
