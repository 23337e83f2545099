/**
 * Two stacks that send each other packets in memory, in batches and without a copy: bulk data with
 * nothing but the stacks at work, for what is measured of them.
 *
 * As a program it prints how many bytes of the heap a packet takes, in and out, with the congestion
 * control that is named. Needs `--v8-flags=--min-semi-space-size=256,--max-semi-space-size=256`, so
 * that nothing is collected in the middle.
 *
 * @module
 */

import type { PacketSink } from "../os/sink.ts";
import type { CongestionName, TcpConnection } from "./connection.ts";
import { ADDRESS_A, ADDRESS_B } from "./simulation_fixture.ts";
import { Stack } from "./stack.ts";

/** Time between two batches of the program, in ms: about what a batch takes. */
const STEP_MS = 0.05;
/** Packets until everything is compiled and every table has its size. */
const WARM_UP = 300_000;
/** Packets that are measured. */
const MEASURED = 100_000;

const scratch = new Uint8Array(256 * 1024);

/** A batch of packets, taken as a whole. */
class Batch implements PacketSink {
  readonly buffer: Uint8Array = new Uint8Array(4 << 20);
  /** Packets so far. */
  packets = 0;
  readonly #at: number[] = [];
  readonly #length: number[] = [];
  #count = 0;
  #end = 0;

  reserve(size: number): number {
    return this.#end + size > this.buffer.length ? -1 : this.#end;
  }

  commit(length: number): void {
    this.#at[this.#count] = this.#end;
    this.#length[this.#count++] = length;
    this.#end += (length + 3) & ~3;
    this.packets++;
  }

  flush(): void {}

  deliver(to: Stack, now: number): void {
    for (let i = 0; i < this.#count; i++) {
      to.input(this.buffer, this.#at[i] ?? 0, this.#length[i] ?? 0, now);
    }
    this.#count = 0;
    this.#end = 0;
    to.flush(now);
    to.tick(now);
  }
}

/** One stack that writes for ever, and one that reads. */
export class BackToBack {
  /** Bytes that were read. */
  bytes = 0;
  readonly #there = new Batch();
  readonly #back = new Batch();
  readonly #writer: Stack;
  readonly #reader: Stack;

  /** Both, and the connection's beginning. */
  constructor(mtu: number, now: number, congestion: CongestionName = "bbr") {
    const common = {
      mtu,
      now,
      congestion,
      random: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
    };
    this.#writer = new Stack({ ...common, address: ADDRESS_A, out: this.#there });
    this.#reader = new Stack({ ...common, address: ADDRESS_B, out: this.#back });
    const reads = {
      onReadable: (c: TcpConnection): void => {
        for (let n = c.read(scratch); n > 0; n = c.read(scratch)) this.bytes += n;
      },
    };
    const writes = {
      onWritable: (c: TcpConnection): void => {
        while (c.write(scratch) === scratch.length);
      },
    };
    this.#reader.listen({ onSyn: (pending) => void pending.accept(reads) });
    this.#writer.connect({ to: ADDRESS_B, port: 80, handler: writes });
    this.#writer.flush(now);
  }

  /** Packets carried, both ways. */
  get packets(): number {
    return this.#there.packets + this.#back.packets;
  }

  /** Carries what each has sent to the other. */
  step(now: number): void {
    this.#there.deliver(this.#reader, now);
    this.#back.deliver(this.#writer, now);
  }
}

function main(congestion: CongestionName): void {
  const pair = new BackToBack(1500, 0, congestion);
  let now = 0;
  const carry = (packets: number): void => {
    for (const end = pair.packets + packets; pair.packets < end;) pair.step(now += STEP_MS);
  };
  carry(WARM_UP);
  const before = { heap: Deno.memoryUsage().heapUsed, packets: pair.packets, bytes: pair.bytes };
  carry(MEASURED);
  const taken = Deno.memoryUsage().heapUsed - before.heap;
  const packets = pair.packets - before.packets;
  if (pair.bytes - before.bytes < packets * 1000) throw new Error("Cannot measure: no bulk data");
  Deno.stdout.writeSync(new TextEncoder().encode(`${Math.round(taken / packets)}\n`));
}

if (import.meta.main) main(Deno.args[0] === "cubic" ? "cubic" : "bbr");
