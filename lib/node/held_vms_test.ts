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

Deno.test("watch() ends with the reason when the VM is gone, for all that watch it", async () => {
  const held = new HeldVms();
  const { signal } = new AbortController();
  const reasons = Promise.all([held.watch("a", signal), held.watch("a", signal)]);
  const other = new AbortController();
  const watched = assert.rejects(held.watch("b", other.signal), /Enough/);
  held.gone("a", "its time is over");
  assert.deepEqual(await reasons, ["its time is over", "its time is over"]);
  other.abort(new Error("Enough"));
  await watched;
  await assert.rejects(held.watch("b", other.signal), /Enough/);
});

Deno.test("watch() refuses one more than its limit, and goes on when one has gone", async () => {
  const held = new HeldVms();
  const first = new AbortController();
  const rest = new AbortController();
  const watching = [held.watch("a", first.signal).catch(() => {})];
  for (let i = 1; i < 256; i++) watching.push(held.watch("a", rest.signal).catch(() => {}));
  await assert.rejects(held.watch("a", rest.signal), { code: "too-many-watchers" });
  first.abort();
  await watching[0];
  watching.push(held.watch("a", rest.signal).catch(() => {}));
  rest.abort();
  await Promise.all(watching);
});
