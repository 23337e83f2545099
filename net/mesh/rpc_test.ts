import assert from "node:assert/strict";
import fc from "fast-check";
import { OmertaError } from "../../lib/core/errors.ts";
import { Answerer, Asker, parseRpcMessage, type RpcMessage } from "./rpc.ts";

/** An asker and an answerer under a fake clock, with a link that loses what `lose` says. */
class Link {
  now = 0;
  readonly asker = new Asker();
  readonly answerer = new Answerer<string>();
  readonly sent: RpcMessage[] = [];
  readonly #lose: (n: number) => boolean;

  constructor(lose: (n: number) => boolean = () => false) {
    this.#lose = lose;
  }

  async ask(channel: string, body: unknown, timeoutMs = 10_000): Promise<unknown> {
    const answered = await this.asker.ask({
      channel,
      body,
      what: "peer",
      timeoutMs,
      send: (message) =>
        this.#carry(message, (m) => {
          if (m.kind !== "request") return;
          void this.answerer.receive(m, "m", "origin", (answer) =>
            this.#carry(answer, (a) =>
              this.asker.receive(a, "m")), this.now);
        }),
    }, this.now);
    return answered.body;
  }

  #carry(message: RpcMessage, deliver: (message: RpcMessage) => void): void {
    this.sent.push(message);
    if (this.#lose(this.sent.length)) return;
    const copy = parseRpcMessage(JSON.parse(JSON.stringify(message)));
    assert.ok(copy);
    deliver(copy);
  }

  /** Lets time pass in steps of 50 ms until `done`, and handlers run between. */
  async pass(ms: number, done: () => boolean = () => false): Promise<void> {
    for (const end = this.now + ms; this.now < end && !done(); this.now += 50) {
      this.asker.tick(this.now);
      for (let i = 0; i < 10; i++) await Promise.resolve();
    }
  }
}

Deno.test("ask() gets the answer of the handler", async () => {
  const link = new Link();
  link.answerer.handle("double", (body) => Number(body) * 2);
  assert.equal(await link.ask("double", 21), 42);
  assert.equal(link.asker.size, 0);
});

Deno.test("a request runs once however often it is sent, under any loss", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
    async (losses) => {
      const link = new Link((n) => losses[n] ?? false);
      let runs = 0;
      link.answerer.handle("count", () => ++runs);
      let answer: unknown;
      const asked = link.ask("count", null, 60_000).then((a) => answer = a);
      await link.pass(60_000, () => answer !== undefined);
      await asked;
      assert.equal(answer, 1);
      assert.equal(runs, 1);
    },
  ));
});

Deno.test("a repeated request is answered again while the handler has long finished", async () => {
  const link = new Link((n) => n === 2); // the first answer is lost
  let runs = 0;
  link.answerer.handle("count", () => ++runs);
  const asked = link.ask("count", null);
  await link.pass(1000);
  assert.equal(await asked, 1);
  assert.equal(link.sent.filter((m) => m.kind === "request").length, 2);
});

Deno.test("a request that runs is not started again", async () => {
  const link = new Link();
  let runs = 0;
  const { promise, resolve } = Promise.withResolvers<string>();
  link.answerer.handle("slow", () => (runs++, promise));
  const asked = link.ask("slow", null);
  await link.pass(5000);
  resolve("done");
  assert.equal(await asked, "done");
  assert.equal(runs, 1);
});

Deno.test("ask() gives up with exit code 4 when nobody answers", async () => {
  const link = new Link(() => true);
  const asked = assert.rejects(link.ask("x", null, 3000), { code: "no-answer", exit: 4 });
  await link.pass(3100);
  await asked;
  assert.ok(link.sent.length >= 4, "it asked again meanwhile");
  assert.equal(link.asker.size, 0);
});

Deno.test("a refusal carries code, message and next step, and exit code 5", async () => {
  const link = new Link();
  link.answerer.handle("no", () => {
    throw new OmertaError("too-much", "Cannot lend 64 GiB: 8 GiB are free", { next: "Ask less" });
  });
  await assert.rejects(link.ask("no", null), {
    code: "too-much",
    exit: 5,
    message: "peer refuses: Cannot lend 64 GiB: 8 GiB are free",
    next: "Ask less",
  });
});

Deno.test("what other errors say stays here", async () => {
  const link = new Link();
  link.answerer.handle("bug", () => {
    throw new Error("Secret path");
  });
  await assert.rejects(link.ask("bug", null), (error: Error) => !error.message.includes("Secret"));
  await assert.rejects(link.ask("none", null), { code: "unknown-channel" });
});

Deno.test("handle() refuses a second handler for a channel", () => {
  const answerer = new Answerer<string>();
  answerer.handle("x", () => 1);
  assert.throws(() => answerer.handle("x", () => 2), /has a handler already/);
});

Deno.test("an answer from another machine than the one asked is ignored", async () => {
  const asker = new Asker();
  const asked = asker.ask({
    channel: "x",
    body: 1,
    what: "peer",
    machine: "aa",
    send: (message) => {
      asker.receive({ kind: "answer", id: message.id, body: "liar" }, "bb");
      asker.receive({ kind: "answer", id: message.id, body: "right" }, "aa");
    },
  }, 0);
  assert.deepEqual(await asked, { body: "right", machine: "aa" });
});

Deno.test("ask() stops when aborted", async () => {
  const link = new Link(() => true);
  const abort = new AbortController();
  const asked = assert.rejects(
    link.asker.ask(
      { channel: "x", body: 1, what: "peer", send: () => {}, signal: abort.signal },
      0,
    ),
    { name: "AbortError" },
  );
  abort.abort();
  await asked;
  assert.equal(link.asker.size, 0);
});

Deno.test("Answerer refuses new requests at its cap and never forgets an answer early", async () => {
  const answerer = new Answerer<string>();
  let runs = 0;
  answerer.handle("count", () => ++runs);
  const send = async (i: number, now: number, from = "m"): Promise<RpcMessage | undefined> => {
    let out: RpcMessage | undefined;
    const id = i.toString(16).padStart(16, "0");
    await answerer.receive({ kind: "request", id, channel: "count", body: 0 }, from, "", (m) => {
      out = m;
    }, now);
    return out;
  };
  for (let i = 0; i < 1024; i++) await send(i, 0);
  assert.equal((await send(5000, 1))?.kind, "refusal");
  assert.deepEqual(await send(0, 1), { kind: "answer", id: "0".repeat(16), body: 1 });
  assert.equal((await send(5000, 1, "another"))?.kind, "answer", "V9: others are not kept out");
  assert.equal((await send(5001, 120_001))?.kind, "answer");
  assert.equal(runs, 1026);
  // All together have a cap as well.
  for (let i = 0; i < 16_384; i++) await send(i, 120_001, `machine ${i % 64}`);
  assert.equal((await send(0, 120_002, "one more"))?.kind, "refusal");
  assert.equal((await send(0, 240_002, "one more"))?.kind, "answer");
});

Deno.test("parseRpcMessage() never throws and refuses what is none", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    assert.equal(parseRpcMessage(value), undefined);
  }));
});
