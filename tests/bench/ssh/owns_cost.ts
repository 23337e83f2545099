/**
 * What a TUN device beside the stack costs each packet that comes in: the question whether the stack
 * owns it.
 *
 * @module
 */

import { Pair, RIGHT } from "../../../net/tcp/pair_fixture.ts";
import type { Stack } from "../../../net/tcp/stack.ts";
import type { Row } from "../bench.ts";
import { median } from "../statistics.ts";

/** Open connections of the stack. */
const CONNECTIONS = 100;
const ROUNDS = 100;
const PASSES = 200;
/** Room for a packet (bytes). */
const SLOT = 2048;
/** First byte of the destination port in a packet. */
const PORT_AT = 22;

/** Rows for a packet of the stack's own, and for one of the kernel's. */
export function ownsRows(): Row[] {
  const pair = new Pair();
  pair.right.stack.listen({ port: 80, onSyn: (pending) => void pending.accept({}) });
  for (let i = 0; i < CONNECTIONS; i++) {
    pair.left.stack.connect({ to: RIGHT, port: 80, handler: {} });
  }
  pair.left.stack.flush(pair.now);
  for (const packet of pair.left.sink.take()) {
    pair.right.stack.input(packet, 0, packet.length, pair.now);
  }
  pair.right.stack.flush(pair.now);
  const own = pair.right.sink.take();
  // The same for a port of which the stack has none.
  const others = own.map((packet) => packet.with(PORT_AT, 10));
  return [
    row("does the stack own it: its own", cost(pair.left.stack, own, true)),
    row("does the stack own it: the kernel's", cost(pair.left.stack, others, false)),
  ];
}

/** Time for one packet (ns). */
function cost(stack: Stack, packets: readonly Uint8Array[], owned: boolean): number {
  // In one memory, as a device's.
  const memory = new Uint8Array(packets.length * SLOT);
  packets.forEach((packet, i) => memory.set(packet, i * SLOT));
  const length = packets[0]?.length ?? 0;
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now();
    for (let i = 0; i < PASSES * packets.length; i++) {
      if (stack.owns(memory, (i % packets.length) * SLOT, length) !== owned) {
        throw new Error("Cannot measure: a packet is taken for somebody else's");
      }
    }
    times.push((performance.now() - begun) * 1e6 / (PASSES * packets.length));
  }
  return median(times);
}

function row(name: string, value: number): Row {
  return { name: `ssh, ${name}`, value, unit: "ns" };
}
