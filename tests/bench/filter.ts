/**
 * B1: the filtered NAT, from a real unix datagram socket at the guest's end to a real UDP socket at
 * the uplink's, through a whole data plane on its own thread. This thread plays guest and uplink.
 *
 * @module
 */

import { join } from "node:path";
import { OmertaError } from "../../lib/core/errors.ts";
import { openCable } from "../../net/os/cable.ts";
import { Endpoint } from "../../net/os/endpoint.ts";
import { libc } from "../../net/os/libc.ts";
import type { DatagramHandler, PacketHandler } from "../../net/os/packet_socket.ts";
import { openUdp } from "../../net/os/udp.ts";
import { Plane } from "../../net/plane/plane.ts";
import { generatePrivateKey, publicKeyOf } from "../../net/wireguard/keys.ts";
import { guestFrame, wireguardMessage } from "../doubles/guest_frames.ts";
import type { Bench, Row } from "./bench.ts";

/** Length of each measurement (ms). */
const RUN_MS = 2000;
/** Frames handed to the cable at once. */
const CHUNK = 32;
/** A burst that must come through whole. */
const BURST = 1000;
const GUEST_MAC = "52:54:00:00:64:02";

/** Counts what arrives. */
class Count implements DatagramHandler, PacketHandler {
  packets = 0;
  bytes = 0;
  receive(_buffer: Uint8Array, _at: number, length: number): void {
    this.packets++;
    this.bytes += length;
  }
}

/** A guest, an uplink, and the plane between them. */
class Rig implements AsyncDisposable {
  readonly #owned = new AsyncDisposableStack();
  readonly cable;
  readonly uplink;
  readonly atUplink = new Count();
  readonly atGuest = new Count();
  readonly #plane: Plane;
  readonly #toPlane: Endpoint;

  private constructor(folder: string, plane: Plane) {
    this.#plane = this.#owned.use(plane);
    this.cable = this.#owned.use(
      openCable({ localPath: join(folder, "guest"), peerPath: join(folder, "cable") }),
    );
    this.uplink = this.#owned.use(openUdp({ port: 0 }));
    this.#owned.defer(() => Deno.remove(folder, { recursive: true }));
    this.#toPlane = loopback(plane.port);
  }

  static async start(): Promise<Rig> {
    const folder = await Deno.makeTempDir({ prefix: "omerta-bench-" });
    const plane = await Plane.start({
      module: new URL("../../net/plane/_plane_worker.ts", import.meta.url),
      port: 0,
      privateKey: generatePrivateKey(),
    }, {
      onControl: () => {},
      onPeer: () => {},
      onGuest: () => {},
      onFailed: (error) => {
        throw error;
      },
    });
    const rig = new Rig(folder, plane);
    await plane.addGuest({
      id: "bench",
      cablePath: join(folder, "cable"),
      guestPath: join(folder, "guest"),
      mac: GUEST_MAC,
      publicKey: publicKeyOf(generatePrivateKey()),
      uplink: loopback(rig.uplink.port),
    });
    return rig;
  }

  /** Frames that the guest hands to its cable; how many the cable took. */
  fromGuest(frames: readonly Uint8Array[]): number {
    const { out, counters } = this.cable;
    const before = counters.sent;
    for (const frame of frames) {
      out.buffer.set(frame, out.reserve(frame.length));
      out.commit(frame.length);
    }
    out.flush();
    return counters.sent - before;
  }

  /** Messages that the uplink sends. */
  fromUplink(messages: readonly Uint8Array[]): void {
    const { out } = this.uplink;
    for (const message of messages) {
      out.buffer.set(message, out.reserve(message.length));
      out.commit(message.length, this.#toPlane);
    }
    out.flush();
  }

  /** Takes what has arrived at both ends. */
  drain(): void {
    this.uplink.drain(this.atUplink, 512);
    this.cable.drain(this.atGuest, 64);
  }

  /** Lets the guest's session be known to the plane, so that answers find it. */
  async open(): Promise<void> {
    const initiation = wireguardMessage(148, 1);
    new DataView(initiation.buffer).setUint32(4, SESSION, true);
    this.fromGuest([guestFrame({ payload: initiation })]);
    const deadline = performance.now() + 5000;
    while (this.atUplink.packets === 0) {
      if (performance.now() > deadline) {
        throw new OmertaError("bench-failed", "Cannot reach the uplink: nothing came in 5 s");
      }
      await this.#plane.stats();
      this.drain();
    }
  }

  /** Waits until nothing arrives any more. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 5;) {
      const before = this.atUplink.packets + this.atGuest.packets;
      await this.#plane.stats();
      this.drain();
      quiet = this.atUplink.packets + this.atGuest.packets === before ? quiet + 1 : 0;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

const SESSION = 77;

function loopback(port: number): Endpoint {
  const endpoint = Endpoint.of("127.0.0.1", port);
  if (endpoint === undefined) throw new RangeError(`Cannot use port ${port}`);
  return endpoint;
}

/** Transport data for the guest's session. */
function data(length: number): Uint8Array {
  const message = wireguardMessage(length);
  new DataView(message.buffer).setUint32(4, SESSION, true);
  return message;
}

/** Processor time of the packet threads of this process so far (us). */
async function packetThreadTime(): Promise<number> {
  let ticks = 0;
  for await (const { name } of Deno.readDir("/proc/self/task")) {
    const stat = await Deno.readTextFile(`/proc/self/task/${name}/stat`).catch(() => "");
    if (!stat.includes("(worker")) continue;
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // proc_pid_stat(5): utime and stime, fields 14 and 15, in hundredths of a second.
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * 10_000;
}

interface Rates {
  /** Guest to uplink, packets per second that arrived. */
  readonly up: number;
  /** Uplink to guest. */
  readonly down: number;
  /** Guest to uplink, Gbit/s of messages. */
  readonly upGbits: number;
  /** Uplink to guest. */
  readonly downGbits: number;
  /** Frames that the cable took and that did not arrive. */
  readonly lost: number;
  /** Processor time of the packet thread (us) for each packet that arrived. */
  readonly cost: string;
}

async function measure(lengths: readonly number[], up: boolean, down: boolean): Promise<Rates> {
  await using rig = await Rig.start();
  await rig.open();
  const frames = Array.from(
    { length: CHUNK },
    (_, i) => guestFrame({ payload: data(lengths[i % lengths.length] ?? 64) }),
  );
  const messages = frames.map((frame) => frame.subarray(42));
  const base = rig.atUplink.packets;
  const baseBytes = rig.atUplink.bytes;
  const timeBefore = await packetThreadTime();
  const started = performance.now();
  let taken = 0;
  let sentDown = 0;
  while (performance.now() - started < RUN_MS) {
    if (up) taken += rig.fromGuest(frames);
    // What is under way is bounded, as it is by the windows of the connections inside.
    if (down && sentDown - rig.atGuest.packets < 8 * CHUNK) {
      rig.fromUplink(messages);
      sentDown += CHUNK;
    }
    rig.drain();
  }
  const seconds = (performance.now() - started) / 1000;
  const arrived = rig.atUplink.packets - base;
  const time = await packetThreadTime() - timeBefore;
  const cost = `${(time / (arrived + rig.atGuest.packets)).toFixed(2)} us of one core each`;
  const rates = {
    up: arrived / seconds,
    down: rig.atGuest.packets / seconds,
    upGbits: (rig.atUplink.bytes - baseBytes) * 8 / seconds / 1e9,
    downGbits: rig.atGuest.bytes * 8 / seconds / 1e9,
    cost,
  };
  await rig.settle();
  return { ...rates, lost: taken - (rig.atUplink.packets - base) };
}

async function burst(): Promise<Row> {
  await using rig = await Rig.start();
  await rig.open();
  const base = rig.atUplink.packets;
  const frame = guestFrame({ payload: data(1400) });
  let taken = 0;
  for (let i = 0; i < BURST;) {
    const count = Math.min(CHUNK, BURST - i);
    const now = rig.fromGuest(new Array<Uint8Array>(count).fill(frame));
    taken += now;
    i += now;
  }
  await rig.settle();
  const lost = taken - (rig.atUplink.packets - base);
  return { name: `filter, lost in a burst of ${BURST}`, value: lost, unit: "frames" };
}

function row(what: string, value: number, unit: string, note: string): Row {
  return { name: `filter, ${what}`, value, unit, note };
}

/** B1. */
export const filterBench: Bench = {
  name: "filter",
  missing: libc() === undefined ? "needs FFI on Linux" : undefined,
  async run(): Promise<Row[]> {
    const small = await measure([64], true, false);
    const large = await measure([1400], true, false);
    const smallDown = await measure([64], false, true);
    const largeDown = await measure([1400], false, true);
    const mixed = await measure([64, 576, 1400], true, false);
    const both = await measure([1400], true, true);
    const lost = small.lost + large.lost + mixed.lost;
    return [
      row("64 B, guest to uplink", small.up, "packets/s", small.cost),
      row("1400 B, guest to uplink", large.upGbits, "Gbit/s", large.cost),
      row("64 B, uplink to guest", smallDown.down, "packets/s", smallDown.cost),
      row("1400 B, uplink to guest", largeDown.downGbits, "Gbit/s", largeDown.cost),
      row("mixed sizes, guest to uplink", mixed.up, "packets/s", mixed.cost),
      row("1400 B, both ways at once", both.upGbits + both.downGbits, "Gbit/s", both.cost),
      { name: "filter, lost of all taken from the guest", value: lost, unit: "frames" },
      await burst(),
    ];
  },
};
