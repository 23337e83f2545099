import assert from "node:assert/strict";
import { SilentTunnels } from "./silent_tunnels.ts";

Deno.test("N17: SilentTunnels.look() finds tunnels that send and hear nothing", () => {
  const tunnels = new SilentTunnels();
  const look = (...counters: [string, number, number][]): string[] =>
    tunnels.look(
      counters.map(([publicKey, rxBytes, txBytes]) => ({ publicKey, rxBytes, txBytes })),
    );
  assert.deepEqual(look(["a", 0, 500], ["b", 10, 500]), [], "nothing to compare with");
  assert.deepEqual(look(["a", 0, 1000], ["b", 20, 1000]), ["a"]);
  assert.deepEqual(look(["a", 0, 1000], ["b", 20, 1100]), ["b"]);
  assert.deepEqual(look(["a", 0, 1032], ["b", 20, 1132]), [], "keepalives want no answer");
  assert.deepEqual(look(["b", 20, 1300]), ["b"]);
  assert.deepEqual(look(["a", 0, 9000], ["b", 21, 1900]), [], "a tunnel that is new");
});
