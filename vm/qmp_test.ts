import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { MAX_LINE, parseQmpLine, QmpClient, type QmpEvent, QmpLines } from "./qmp.ts";

Deno.test("parseQmpLine() reads the greeting of QEMU 7.2", () => {
  const line = '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, ' +
    '"package": "Debian 1:7.2+dfsg-7"}, "capabilities": ["oob"]}}\r';
  assert.deepEqual(parseQmpLine(line), { kind: "greeting", version: "7.2.22" });
});

Deno.test("parseQmpLine() reads an event", () => {
  const line = '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", ' +
    '"data": {"guest": true, "reason": "guest-shutdown"}}';
  assert.deepEqual(parseQmpLine(line), {
    kind: "event",
    event: { event: "SHUTDOWN", data: { guest: true, reason: "guest-shutdown" } },
  });
});

Deno.test("parseQmpLine() reads an error with its words", () => {
  const line =
    '{"id": 3, "error": {"class": "CommandNotFound", "desc": "The command x is not there"}}';
  assert.deepEqual(parseQmpLine(line), {
    kind: "answer",
    id: 3,
    value: undefined,
    error: "The command x is not there",
  });
});

Deno.test.each(["", "{", "[]", "null", "3", '{"id": 1}', '{"id": "1", "return": {}}'])(
  "parseQmpLine(%s) makes nothing of it",
  (line) => {
    assert.deepEqual(parseQmpLine(line), { kind: "other" });
  },
);

Deno.test("parseQmpLine() never throws on any JSON", () => {
  fc.assert(fc.property(fc.json(), (line) => {
    parseQmpLine(line);
  }));
});

Deno.test("QmpLines() gives the same lines however the bytes are cut", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme" })), fc.array(fc.nat(9)), (texts, cuts) => {
      const want = texts.map((text) => text.replaceAll("\n", " ").toWellFormed());
      const bytes = new TextEncoder().encode(want.map((line) => `${line}\n`).join(""));
      const lines = new QmpLines();
      const got: string[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        const taken = lines.push(bytes.subarray(at, at + cut));
        assert.notEqual(taken, "line-too-long");
        got.push(...taken);
        at += cut;
      }
      assert.deepEqual(got, want);
    }),
  );
});

Deno.test("QmpLines() refuses a line that does not end", () => {
  const lines = new QmpLines();
  assert.deepEqual(lines.push(new Uint8Array(MAX_LINE).fill(120)), []);
  assert.equal(lines.push(Uint8Array.of(120)), "line-too-long");
});

/** A QMP server that answers as `answer` says; each line it got is handed to it. */
async function withServer(
  answer: (line: string, say: (line: string) => Promise<void>) => Promise<void>,
  greeting: string,
  test: (path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = join(folder, "q.sock");
  const listener = Deno.listen({ transport: "unix", path });
  const serve = async (): Promise<void> => {
    const conn = await listener.accept();
    const say = async (line: string): Promise<void> => {
      await conn.write(new TextEncoder().encode(`${line}\n`));
    };
    if (greeting !== "") await say(greeting);
    const chunk = new Uint8Array(4096);
    const lines = new QmpLines();
    for (;;) {
      const n = await conn.read(chunk);
      if (n === null) break;
      const taken = lines.push(chunk.subarray(0, n));
      if (taken !== "line-too-long") { for (const line of taken) await answer(line, say); }
    }
    conn.close();
  };
  const served = serve();
  try {
    await test(path);
    await served;
  } finally {
    listener.close();
    await Deno.remove(folder, { recursive: true });
  }
}

const GREETING = '{"QMP":{"version":{"qemu":{"major":9,"minor":1,"micro":0}},"capabilities":[]}}';

/** The id in a command line. */
function idOf(line: string): number {
  return Number(/"id":(\d+)/.exec(line)?.[1]);
}

Deno.test("QmpClient() matches answers by id, whatever their order, and passes events on", async () => {
  const held: string[] = [];
  const events: QmpEvent[] = [];
  await withServer(
    async (line, say) => {
      if (line.includes("qmp_capabilities")) return await say(`{"return":{},"id":${idOf(line)}}`);
      held.push(line);
      if (held.length < 2) return;
      await say('{"event":"RESUME"}');
      for (const each of held.toReversed()) {
        await say(`{"return":${idOf(each)},"id":${idOf(each)}}`);
      }
    },
    GREETING,
    async (path) => {
      await using client = await QmpClient.connect(path, {
        onEvent: (event) => events.push(event),
      });
      assert.equal(await client.version, "9.1.0");
      const first = client.execute("first");
      const second = client.execute("second", { a: 1 });
      assert.deepEqual([await first, await second], [2, 3]);
      assert.deepEqual(events, [{ event: "RESUME", data: {} }]);
      assert.match(held[1] ?? "", /"arguments":\{"a":1\}/);
    },
  );
});

Deno.test("QmpClient() gives up on an answer that does not come", async () => {
  await withServer(
    async (line, say) => {
      if (line.includes("qmp_capabilities")) await say(`{"return":{},"id":${idOf(line)}}`);
    },
    GREETING,
    async (path) => {
      await using client = await QmpClient.connect(path);
      await assert.rejects(client.execute("query-status", undefined, 30), { code: "qmp-timeout" });
      const pending = client.execute("query-status");
      const rejected = assert.rejects(pending, { code: "qmp-closed" });
      await client.close();
      await rejected;
      await assert.rejects(client.execute("query-status"), { code: "qmp-closed" });
    },
  );
});

Deno.test("QmpClient.connect() gives up on a server that does not greet", async () => {
  await withServer(() => Promise.resolve(), "", async (path) => {
    await assert.rejects(QmpClient.connect(path, { timeoutMs: 30 }), {
      code: "qmp-failed",
      message: /no greeting in 0.03 s/,
    });
  });
});

Deno.test("QmpClient.connect() stops when it is aborted", async () => {
  await withServer(() => Promise.resolve(), "", async (path) => {
    const controller = new AbortController();
    const connecting = QmpClient.connect(path, { signal: controller.signal });
    controller.abort(new Error("Enough"));
    await assert.rejects(connecting, /Enough/);
  });
});

Deno.test("QmpClient.connect() says that nobody is there", async () => {
  await assert.rejects(QmpClient.connect("/nowhere/q.sock"), { code: "qmp-failed" });
});
