import assert from "node:assert/strict";
import { signalIfThere } from "../lib/core/process.ts";
import { until } from "../tests/support/until.ts";
import { interruptible, SAME_SIGNAL_MS } from "./context.ts";

/** Sends this process a signal and waits until every listener has heard it. */
async function interrupt(): Promise<void> {
  const heard = Promise.withResolvers<void>();
  // A listener alone does not keep the event loop.
  const loop = setInterval(() => {}, 1000);
  Deno.addSignalListener("SIGTERM", heard.resolve);
  Deno.kill(Deno.pid, "SIGTERM");
  await heard.promise;
  Deno.removeSignalListener("SIGTERM", heard.resolve);
  clearInterval(loop);
}

Deno.test("interruptible() takes signals that come at once for one", async () => {
  let now = 5;
  const ended = await interruptible(async (signal) => {
    await interrupt();
    assert.equal(signal.aborted, true);
    now += SAME_SIGNAL_MS;
    await interrupt(); // it would end this process
    return "in order";
  }, () => now);
  assert.equal(ended, "in order");
});

Deno.test("interruptible() ends the process at once when it is asked again later", async () => {
  const program = `
    const { interruptible } = await import(${JSON.stringify(import.meta.resolve("./context.ts"))});
    setInterval(() => {}, 1000);
    await interruptible(() => new Promise(() => console.log("ready")));
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-check", program],
    stdout: "piped",
  }).spawn();
  for await (const _ready of child.stdout.values({ preventCancel: true })) break;
  let ended = false;
  void child.status.then(() => ended = true);
  await until(() => {
    if (!ended) signalIfThere(child, "SIGTERM");
    return ended;
  }, { what: "the process to end" });
  await child.stdout.cancel();
  assert.equal((await child.status).code, 130);
});
