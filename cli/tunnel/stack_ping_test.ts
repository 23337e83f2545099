import assert from "node:assert/strict";
import type { PingView } from "../../lib/api/tunnel_schemas.ts";
import { pingByStack, type StackPing } from "./stack_ping.ts";

const never = new AbortController().signal;

function asking(answers: readonly PingView[]): { what: StackPing; told: string[] } {
  const told: string[] = [];
  let asked = 0;
  const what: StackPing = {
    ping: ({ host, timeoutMs }) => {
      assert.deepEqual([host, timeoutMs], ["web", 100]);
      return Promise.resolve(answers[asked++] ?? assert.fail("one too many"));
    },
    ...{ host: "web", count: answers.length, intervalMs: 0, timeoutMs: 100 },
    onAnswer: (number, { kind }) => told.push(`${number} ${kind}`),
  };
  return { what, told };
}

Deno.test("pingByStack() counts what was answered and tells of all", async () => {
  const { what, told } = asking([
    { kind: "reply", roundTripMs: 3 },
    { kind: "timeout" },
    { kind: "unreachable", code: 1 },
    { kind: "reply", roundTripMs: 1 },
  ]);
  assert.deepEqual(await pingByStack(what, never), {
    ...{ sent: 4, received: 2, loss: 0.5 },
    ...{ minMs: 1, medianMs: 2, maxMs: 3 },
  });
  assert.deepEqual(told, ["1 reply", "2 timeout", "3 unreachable", "4 reply"]);
});

Deno.test("pingByStack() ends with the first error, and with its signal", async () => {
  const { what } = asking([{ kind: "timeout" }, { kind: "timeout" }]);
  const broken = { ...what, ping: () => Promise.reject(new Error("Cannot ping")) };
  await assert.rejects(pingByStack(broken, never), { message: "Cannot ping" });
  const silent = { ...what, ping: () => new Promise<PingView>(() => {}) };
  const abort = new AbortController();
  const pinging = pingByStack(silent, abort.signal);
  abort.abort(new Error("Cannot finish"));
  await assert.rejects(pinging, { message: "Cannot finish" });
});
