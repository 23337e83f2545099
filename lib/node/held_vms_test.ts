import assert from "node:assert/strict";
import { HeldVms } from "./held_vms.ts";

Deno.test("hold() ends with the reason when the VM is gone, and gives nothing back", async () => {
  const held = new HeldVms();
  const { signal } = new AbortController();
  const reason = held.hold("a", signal, () => Promise.reject(new Error("Cannot be called")));
  held.gone("b", "not this one");
  held.gone("a", "its lender has ended it");
  held.gone("a", "too late");
  assert.equal(await reason, "its lender has ended it");
});

Deno.test("hold() gives the VM back when its holder goes, and ends after that", async () => {
  const held = new HeldVms();
  for (const early of [true, false]) {
    const holder = new AbortController();
    if (early) holder.abort();
    const given = Promise.withResolvers<void>();
    let ended = false;
    const reason = held.hold("a", holder.signal, () => {
      held.gone("a", "it is forgotten before its lender knows");
      return given.promise;
    }).finally(() => ended = true);
    holder.abort();
    await Promise.resolve();
    assert.equal(ended, false);
    given.resolve();
    assert.equal(await reason, "it was given back");
  }
});
