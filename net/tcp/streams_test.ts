import assert from "node:assert/strict";
import { Pair, RIGHT } from "./pair_fixture.ts";
import { TcpStreamError, TcpStreams } from "./streams.ts";

/** Two joined pairs of streams; packets move whenever the event loop comes round. */
function joined(): { pair: Pair; left: TcpStreams; right: TcpStreams } {
  const pair = new Pair();
  let due = false;
  const changed = (): void => {
    if (due) return;
    due = true;
    setImmediate(() => {
      due = false;
      pair.settle();
    });
  };
  const left = new TcpStreams(changed);
  const right = new TcpStreams(changed);
  pair.connect(left, right);
  return { pair, left, right };
}

async function all(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(
    await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer(),
  );
}

const BYTES = new Uint8Array(3_000_000).map((_, i) => (i >>> 8) + i);

Deno.test("TcpStreams carries more than all buffers hold, both ways at once, each end by itself", async () => {
  const { left, right } = joined();
  await left.opened;
  const send = async (streams: TcpStreams, bytes: Uint8Array): Promise<void> => {
    const writer = streams.writable.getWriter();
    for (let at = 0; at < bytes.length; at += 100_000) {
      await writer.write(bytes.subarray(at, at + 100_000));
    }
    await writer.close();
  };
  const [there, back] = await Promise.all([
    all(right.readable),
    all(left.readable),
    send(left, BYTES),
    send(right, BYTES.subarray(7)),
  ]);
  assert.deepEqual(there, BYTES);
  assert.deepEqual(back, BYTES.subarray(7));
  assert.deepEqual(await Promise.all([left.closed, right.closed]), ["closed", "closed"]);
});

Deno.test("TcpStreams goes on writing after the other side has ended", async () => {
  const { left, right } = joined();
  await left.writable.close();
  assert.equal((await all(right.readable)).length, 0);
  const writer = right.writable.getWriter();
  await writer.write(new Uint8Array([1, 2, 3]));
  await writer.close();
  assert.deepEqual(await all(left.readable), new Uint8Array([1, 2, 3]));
});

Deno.test("TcpStreams holds the writer back when nobody reads", async () => {
  const { left, right } = joined();
  const writer = left.writable.getWriter();
  let written = 0;
  const writing = (async (): Promise<void> => {
    for (; written < 30; written++) await writer.write(BYTES.subarray(0, 1_000_000));
    await writer.close();
  })();
  // As long as something moves, it goes on; then it stands.
  let last = -1;
  for (let same = 0; same < 50; last = written) {
    same = last === written ? same + 1 : 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(written < 20, `${written} MB were taken`);
  let read = 0;
  for await (const bytes of right.readable) read += bytes.length;
  await writing;
  assert.equal(read, 30_000_000);
});

Deno.test("TcpStreams errors both sides when one aborts", async () => {
  const { left, right } = joined();
  const reading = all(right.readable);
  await left.writable.abort();
  await assert.rejects(
    reading,
    (error) => error instanceof TcpStreamError && error.reason === "reset",
  );
  assert.equal(await left.closed, "aborted");
  await assert.rejects(right.writable.getWriter().write(new Uint8Array(1)), TcpStreamError);
});

Deno.test("TcpStreams resets when the reader cancels before the end", async () => {
  const { left, right } = joined();
  await left.readable.cancel();
  assert.equal(await right.closed, "reset");
});

Deno.test("TcpStreams rejects opened when nobody listens", async () => {
  const pair = new Pair();
  const streams = new TcpStreams(() => {});
  pair.left.stack.connect({ to: RIGHT, port: 81, handler: streams });
  pair.settle();
  await assert.rejects(
    streams.opened,
    (error) => error instanceof TcpStreamError && error.reason === "refused",
  );
  await assert.rejects(streams.readable.getReader().read(), TcpStreamError);
});
