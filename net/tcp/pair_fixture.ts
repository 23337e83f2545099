/**
 * Two stacks joined by a cable without loss, for tests of what stands on them.
 *
 * @module
 */

import { Random } from "../../tests/doubles/random.ts";
import type { PacketSink } from "../os/sink.ts";
import type { TcpHandler } from "./connection.ts";
import { Pinger } from "./ping.ts";
import { Stack } from "./stack.ts";
import { Udp } from "./udp.ts";
import { PROTOCOL } from "../wire/ipv4.ts";

/** Most packets that a cable holds. */
const CABLE_PACKETS = 4096;

/** Keeps packets until they are taken; unlike the memory sink of tests/doubles it is quick. */
class Cable implements PacketSink {
  readonly buffer: Uint8Array = new Uint8Array(65536);
  #packets: Uint8Array[] = [];

  reserve(): number {
    return this.#packets.length < CABLE_PACKETS ? 1 : -1;
  }

  commit(length: number): void {
    this.#packets.push(this.buffer.slice(1, 1 + length));
  }

  flush(): void {}

  take(): Uint8Array[] {
    const packets = this.#packets;
    this.#packets = [];
    return packets;
  }
}

/** One end. */
export class End {
  /** Its stack. */
  readonly stack: Stack;
  /** Its UDP. */
  readonly udp: Udp;
  /** Its pings. */
  readonly pinger: Pinger;
  /** What it has sent and nobody has taken. */
  readonly sink: Cable = new Cable();

  /** An end with this address. */
  constructor(address: number, mtu: number, seed: number, promiscuous = false) {
    const numbers = new Random(seed);
    const random = (length: number): Uint8Array =>
      new Uint8Array(length).map(() => numbers.below(256));
    this.stack = new Stack({ address, mtu, out: this.sink, random, now: 0, promiscuous });
    const parts = { stack: this.stack, address, random };
    this.udp = new Udp({ ...parts, mtu });
    this.pinger = new Pinger(parts);
    this.stack.register(PROTOCOL.udp, this.udp);
    this.stack.register(PROTOCOL.icmp, this.pinger);
  }
}

/** Address of the first end. */
export const LEFT = 0x0a000001;
/** Address of the second end. */
export const RIGHT = 0x0a000002;

/** Two ends and the time. */
export class Pair {
  /** The first. */
  readonly left: End;
  /** The second. */
  readonly right: End;
  /** The time, in ms. */
  now = 1000;

  /** Two ends, of which the second may take packets for any address. */
  constructor(mtu = 1400, promiscuous = false) {
    this.left = new End(LEFT, mtu, 1);
    this.right = new End(RIGHT, mtu, 2, promiscuous);
  }

  /** Carries packets until none is left, a millisecond for each round. */
  settle(rounds = 10_000): void {
    for (let i = 0; i < rounds; i++) {
      for (const { stack } of [this.left, this.right]) {
        stack.flush(this.now);
        stack.tick(this.now);
      }
      const fromLeft = this.left.sink.take();
      const fromRight = this.right.sink.take();
      if (fromLeft.length + fromRight.length === 0) return;
      this.now++;
      for (const packet of fromLeft) this.right.stack.input(packet, 0, packet.length, this.now);
      for (const packet of fromRight) this.left.stack.input(packet, 0, packet.length, this.now);
    }
  }

  /** Opens a connection from the left to port 80 of the right. */
  connect(left: TcpHandler, right: TcpHandler): void {
    this.right.stack.listen({ port: 80, onSyn: (pending) => void pending.accept(right) });
    this.left.stack.connect({ to: RIGHT, port: 80, handler: left });
    this.settle();
  }
}
