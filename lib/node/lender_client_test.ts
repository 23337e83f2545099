import assert from "node:assert/strict";
import { z } from "zod";
import { B, KEY, twoNodes } from "./control_fixture.ts";
import { LenderClient } from "./lender_client.ts";
import { CHANNEL, VmRelease } from "./messages.ts";

const VM = "0123456789abcdef";

Deno.test("LenderClient.release() waits for the lender until its signal aborts", async () => {
  using nodes = twoNodes();
  const asked = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<{ ended: boolean }>();
  nodes.b.handle(CHANNEL.ping, z.unknown(), () => ({ lends: true, version: "1" }));
  nodes.b.handle(CHANNEL.release, VmRelease, () => {
    asked.resolve();
    return ended.promise;
  });
  const lender = new LenderClient(nodes.a, { endpoint: B, network: KEY });

  // It has shown that it is there, and then does not answer any more.
  const stop = new AbortController();
  const given = lender.release(VM, stop.signal);
  await asked.promise;
  stop.abort(new Error("Stopped"));
  await assert.rejects(given, /Stopped/);

  const waited = lender.release(VM, new AbortController().signal);
  ended.resolve({ ended: true });
  assert.equal(await waited, true);
});

Deno.test("LenderClient.release() does not ask who is silent for longer than its signal", async () => {
  using nodes = twoNodes([]);
  const lender = new LenderClient(nodes.a, { endpoint: B, network: KEY });
  const stop = new AbortController();
  const given = lender.release(VM, stop.signal);
  stop.abort(new Error("Stopped"));
  await assert.rejects(given, /Stopped/);
});
