/**
 * A program for the memory test: opens so many connections between two stacks, moves some bytes on
 * each, and prints how much memory one stack's connections take, in bytes. Needs
 * `--v8-flags=--expose-gc`.
 *
 * @module
 */

import { heldMemory } from "../../tests/support/held_memory.ts";
import { ADDRESS_B, Simulation } from "./simulation_fixture.ts";

function main(flows: number): void {
  const sim = new Simulation({ seed: 1, link: { delayMs: 1 } });
  const before = heldMemory();
  sim.b.listen({
    onSyn: (pending) => {
      pending.accept({ onReadable: (c) => void c.read(new Uint8Array(4096)) });
    },
  });
  for (let i = 0; i < flows; i++) {
    sim.a.connect({
      to: ADDRESS_B,
      port: 80,
      handler: { onOpen: (c) => void c.write(new Uint8Array(3000)) },
    });
    if (i % 100 === 0) sim.pass(10);
  }
  sim.pass(10_000);
  const { connections, bufferBytes } = sim.b.use;
  if (connections !== flows || bufferBytes !== 0) {
    throw new Error("Cannot measure: flows are missing");
  }
  const taken = (heldMemory() - before) / 2;
  Deno.stdout.writeSync(new TextEncoder().encode(`${Math.round(taken)}\n`));
}

if (import.meta.main) main(Number(Deno.args[0] ?? 5000));
