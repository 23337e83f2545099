import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { until } from "../../tests/support/until.ts";
import { talk } from "./conversation_fixture.ts";
import { MAX_LINE, openPipe, PipeConversation } from "./pipe.ts";
import type { ProxyServer } from "./proxy_server.ts";
import { Echo, pattern, readAll, readExactly, World, writeAll } from "./proxy_fixture.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

async function withPipe(
  fn: (w: World, server: ProxyServer, path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using w = new World();
    const path = join(folder, "pipe.sock");
    using server = openPipe(w.loop, w.dialer, path);
    await fn(w, server, path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Says something and hears everything. */
async function ask(path: string, text: string): Promise<string> {
  const conn = await Deno.connect({ transport: "unix", path });
  await writeAll(conn, encoder.encode(text));
  return decoder.decode(await readAll(conn));
}

Deno.test("G6: openPipe() carries bytes and ends both ways, what follows the line at once too", async () => {
  await withPipe(async (w, server, path) => {
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
    Echo.on(w.far, 22);
    const conn = await Deno.connect({ transport: "unix", path });
    const bytes = pattern(1_000_000);
    const first = encoder.encode("CONNECT far.omerta 22\nhello");
    await writeAll(conn, first);
    assert.equal(decoder.decode(await readExactly(conn, 8)), "OK\nhello");
    const sent = writeAll(conn, bytes).then(() => conn.closeWrite());
    assert.deepEqual(await readAll(conn), bytes);
    await sent;
    await until(() => server.connections === 0, { what: "the end" });
  });
});

Deno.test("G6: openPipe() says why there is no connection", async () => {
  await withPipe(async (w, server, path) => {
    assert.equal(await ask(path, "CONNECT far 22\n"), "ERR refused Connection refused\n");
    assert.equal(
      await ask(path, "CONNECT nobody 22\n"),
      "ERR unknown-host No such host in the tunnel\n",
    );
    w.far.listen({ port: 23, onSyn: (pending) => pending.refuse("unreachable") });
    assert.equal(await ask(path, "CONNECT far 23\n"), "ERR unreachable No route to host\n");
    const silent = ask(path, "CONNECT silent 22\n");
    await until(() => w.near.use.connections === 1, { what: "a SYN" });
    w.ahead += 31_000;
    assert.equal(await silent, "ERR timeout Connection timed out\n");
    assert.equal(server.counters.failed, 4);
    await until(() => server.connections === 0, { what: "all to end" });
    // Positive control.
    Echo.on(w.far, 24);
    const conn = await Deno.connect({ transport: "unix", path });
    await writeAll(conn, encoder.encode("CONNECT far 24\n"));
    assert.equal(decoder.decode(await readExactly(conn, 3)), "OK\n");
    conn.close();
  });
});

Deno.test("G6: openPipe() refuses other lines, and does not wait for ever for one", async () => {
  await withPipe(async (w, server, path) => {
    const want = 'ERR bad-request Cannot read the request: want "CONNECT HOST PORT"\n';
    for (
      const line of [
        "GET / HTTP/1.1\n",
        "CONNECT far\n",
        "CONNECT far 0\n",
        "CONNECT far 65536\n",
        "CONNECT far 022\n",
        "CONNECT far 22 \n",
        "CONNECT  22\n",
        "connect far 22\n",
        "\n",
        `CONNECT ${"x".repeat(MAX_LINE)} 22\n`,
        "CONNECT f\u00e4r 22\n",
      ]
    ) assert.equal(await ask(path, line), want, line);
    await until(() => server.connections === 0, { what: "all to end" });
    using slow = await Deno.connect({ transport: "unix", path });
    await writeAll(slow, encoder.encode("CONN"));
    await until(() => server.connections === 1, { what: "the client" });
    w.ahead += 11_000;
    await until(() => server.connections === 0, { what: "the client to be dropped" });
    // A client that leaves in the middle is forgotten at once.
    const rude = await Deno.connect({ transport: "unix", path });
    await until(() => server.connections === 1, { what: "the client" });
    rude.close();
    await until(() => server.connections === 0, { what: "the client to be forgotten" });
  });
});

Deno.test("G6: PipeConversation never throws, and does not care how bytes are cut up", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 1000 }),
    fc.tuple(fc.string(), fc.nat(70000), fc.string()).map(([host, port, rest]) =>
      encoder.encode(`CONNECT ${host} ${port}\n${rest}`)
    ),
  );
  fc.assert(
    fc.property(bytes, sizes, (input, cuts) => {
      const whole = talk(new PipeConversation(), input);
      const cut = talk(new PipeConversation(), input, cuts);
      assert.equal(cut.outcome.kind, whole.outcome.kind);
      assert.deepEqual(cut.said, whole.said);
      if (whole.outcome.kind !== "dial" || cut.outcome.kind !== "dial") return;
      assert.equal(cut.outcome.host, whole.outcome.host);
      assert.deepEqual(
        [...cut.outcome.rest, ...cut.unread],
        [...whole.outcome.rest, ...whole.unread],
      );
    }),
    { numRuns: 1000 },
  );
});
