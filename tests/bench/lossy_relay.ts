/**
 * A program that joins two network namespaces by a bad line in user space: a TUN device in each, and
 * between them a {@link LossyLine} each way. What the kernel hands over as one packet of many segments
 * is cut first, so that each segment is lost or not by itself.
 *
 * Prints `ready`; then each line of its standard input is a {@link RelayLine}, which begins anew and is
 * answered with the {@link RelayCount} of the time before. Ends when its standard input does.
 *
 * @module
 */

import { insideNamespace } from "../../net/os/namespace_linux.ts";
import { openReactor } from "../../net/os/reactor.ts";
import { openTun } from "../../net/os/tun.ts";
import type { TunDevice } from "../../net/os/tun_device.ts";
import { LossyLine } from "./_lossy_line.ts";

/** An end of the relay. */
export interface RelayEnd {
  /** Path of the namespace. */
  readonly space: string;
  /** Name of the device in it. */
  readonly tun: string;
  /** Its address, with prefix length. */
  readonly address: string;
}

/** How to start it. */
export interface RelayConfig {
  /** The two ends. */
  readonly ends: readonly [RelayEnd, RelayEnd];
  /** Largest packet, in bytes; at most 2048. */
  readonly mtu: number;
}

/** What the line is from now on, the same in both directions. */
export interface RelayLine {
  /** Round trip of a packet that never waits, in ms. */
  readonly roundTripMs: number;
  /** Part of the packets that is lost in each direction, 0 to 1. */
  readonly loss: number;
  /** Mbit/s. */
  readonly mbit: number;
  /** Bytes that wait at most. */
  readonly queueBytes: number;
  /** Which packets are lost. */
  readonly seed: number;
}

/** What went through, from the first end to the second. */
export interface RelayCount {
  /** Packets. */
  readonly packets: number;
  /** Lost at random. */
  readonly lost: number;
  /** Lost because the queue was full. */
  readonly overflowed: number;
}

/** Most reads from a device at once. */
const READS = 16;
/** Longest sleep, in ms: standard input wants its turn. */
const SLEEP_MS = 5;

function print(value: unknown): void {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function main({ ends, mtu }: RelayConfig): Promise<void> {
  const open = ({ space, tun, address }: RelayEnd): TunDevice =>
    insideNamespace(space, () => openTun({ name: tun, address, mtu }));
  using a = open(ends[0]);
  using b = open(ends[1]);
  using reactor = openReactor(-1);
  const ab = new LossyLine();
  const ba = new LossyLine();
  const join = (from: TunDevice, line: LossyLine): void =>
    reactor.add(from, () => {
      line.now = performance.now();
      from.drainInto(line, READS);
    });
  join(a, ab);
  join(b, ba);

  let ended = false;
  const lines = async (): Promise<void> => {
    let text = "";
    for await (const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
      text += part;
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n")) {
        const line: RelayLine = JSON.parse(text.slice(0, at));
        text = text.slice(at + 1);
        const { packets, lost, overflowed } = ab;
        const count: RelayCount = { packets, lost, overflowed };
        const { loss, queueBytes, seed } = line;
        const options = { rate: line.mbit * 125, queueBytes, delayMs: line.roundTripMs / 2, loss };
        ab.begin({ ...options, seed });
        ba.begin({ ...options, seed: seed + 1 });
        print(count);
      }
    }
    ended = true;
  };
  void lines();
  print("ready");
  while (!ended) {
    const now = performance.now();
    ab.deliver(b.out, now);
    ba.deliver(a.out, now);
    const due = Math.min(ab.nextAt, ba.nextAt) - performance.now();
    await reactor.wait(Math.max(0, Math.min(SLEEP_MS, due)));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

if (import.meta.main) await main(JSON.parse(Deno.args[0] ?? "{}"));
