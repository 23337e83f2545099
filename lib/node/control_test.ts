import assert from "node:assert/strict";
import { z } from "zod";
import { directNetwork } from "../../net/mesh/envelope.ts";
import { OmertaError } from "../core/errors.ts";
import type { Origin } from "./control.ts";
import { B, KEY, twoNodes } from "./control_fixture.ts";

const question = { channel: "add", answer: z.number(), to: B, network: KEY };

Deno.test("I2: two nodes with the same local key ask and answer", async () => {
  using nodes = twoNodes();
  let origin: Origin | undefined;
  nodes.b.handle("add", z.array(z.number()), (body, from) => {
    origin = from;
    return body.reduce((a, b) => a + b);
  });
  const { body } = await nodes.a.ask({ ...question, body: [20, 22] });
  assert.equal(body, 42);
  assert.deepEqual(origin?.machineKey, nodes.identityA.machineKey);
  assert.equal(String(origin?.from), "192.168.1.1:51820");
});

Deno.test("M4: a node with another key gets nothing, not even an answer", async () => {
  using nodes = twoNodes([directNetwork(new Uint8Array(32).fill(8))]);
  nodes.b.handle("add", z.unknown(), () => assert.fail("the handler must not run"));
  await assert.rejects(nodes.a.ask({ ...question, body: [1], timeoutMs: 600 }), {
    code: "no-answer",
    exit: 4,
  });
  assert.ok((nodes.b.faults["wrong-key"] ?? 0) >= 1);
});

Deno.test("a body that does not fit is refused with its place", async () => {
  using nodes = twoNodes();
  nodes.b.handle("add", z.strictObject({ n: z.number() }), () => 1);
  await assert.rejects(nodes.a.ask({ ...question, body: { n: "1" } }), {
    code: "bad-request",
    message: /refuses: Cannot read the add: n: /,
  });
});

Deno.test("an answer that does not fit is an error, and so is a refusal", async () => {
  using nodes = twoNodes();
  nodes.b.handle("add", z.unknown(), () => "text");
  nodes.b.handle("no", z.unknown(), () => {
    throw new OmertaError("no-room", "Cannot lend more");
  });
  await assert.rejects(nodes.a.ask({ ...question, body: 1 }), { code: "bad-answer" });
  await assert.rejects(nodes.a.ask({ ...question, channel: "no", body: 1 }), {
    code: "no-room",
    exit: 5,
  });
});

Deno.test("a message that is too long is an error of the asker", async () => {
  using nodes = twoNodes();
  await assert.rejects(nodes.a.ask({ ...question, body: "x".repeat(2000) }), RangeError);
});
