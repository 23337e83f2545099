import assert from "node:assert/strict";
import type { TcpConnection } from "./connection.ts";
import { Pair, RIGHT } from "./pair_fixture.ts";
import { TcpStreamError, TcpStreams } from "./streams.ts";

interface Scene {
  readonly pair: Pair;
  readonly left: TcpStreams;
  readonly right: TcpStreams;
}

/** Two pairs of streams, one of which is accepted; packets move whenever the event loop comes round. */
function apart(): Scene {
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
  pair.right.stack.listen({ port: 80, onSyn: (pending) => void pending.accept(right) });
  return { pair, left, right };
}

/** Begins to connect the left one. */
function connect({ pair, left }: Scene, to = RIGHT): TcpConnection {
  const made = pair.left.stack.connect({ to, port: 80, handler: left });
  assert.ok(typeof made === "object");
  return made;
}

/** Two of them that are joined. */
function joined(): Scene {
  const scene = apart();
  connect(scene);
  scene.pair.settle();
  return scene;
}

/** Lets the event loop come round so many times. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
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
    await turns(1);
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

for (const isAttached of [true, false]) {
  const how = isAttached ? "attached" : "given by onOpen";
  const begin = (): Scene => {
    const scene = apart();
    const made = connect(scene);
    if (isAttached) scene.left.attach(made);
    return scene;
  };

  Deno.test(`L6: close() before the handshake is done sends FIN, connection ${how}`, async () => {
    const { left, right } = begin();
    await left.writable.close();
    assert.equal((await all(right.readable)).length, 0);
    await right.writable.close();
    assert.equal(await left.closed, "closed");
  });

  for (const what of ["abort", "cancel", "dispose"] as const) {
    Deno.test(`L6: ${what} before the handshake is done ends it, connection ${how}`, async () => {
      const { pair, left } = begin();
      if (what === "abort") await left.writable.abort();
      else if (what === "cancel") await left.readable.cancel();
      else left[Symbol.dispose]();
      await assert.rejects(left.opened, { reason: "aborted" });
      await turns(20);
      assert.equal(await left.closed, "aborted");
      assert.equal(pair.left.stack.use.connections, 0);
    });
  }
}

Deno.test("L6: what is attached after a wish is ended by it, though nobody answers", async () => {
  const scene = apart();
  const made = connect(scene, RIGHT + 5);
  await scene.left.writable.abort();
  await turns(5);
  scene.left.attach(made);
  assert.equal(await scene.left.closed, "aborted");
  assert.equal(scene.pair.left.stack.use.connections, 0);
});

Deno.test("L6: abort() resets while a write waits for a reader who has stopped", async () => {
  const { pair, left, right } = joined();
  const writer = left.writable.getWriter();
  const writing = writer.write(new Uint8Array(20_000_000));
  const failing = assert.rejects(writing, { reason: "aborted" });
  await turns(200);
  assert.ok(pair.left.stack.use.bufferBytes > 0);
  await writer.abort();
  await failing;
  assert.equal(await left.closed, "aborted");
  assert.equal(await right.closed, "reset");
  assert.deepEqual([pair.left.stack.use.connections, pair.left.stack.use.bufferBytes], [0, 0]);
});

Deno.test("L6: abort() ends a write that waits for the handshake", async () => {
  const scene = apart();
  scene.left.attach(connect(scene, RIGHT + 5));
  const writer = scene.left.writable.getWriter();
  const failing = assert.rejects(writer.write(new Uint8Array(5)), { reason: "aborted" });
  await turns(5);
  await writer.abort();
  await failing;
  assert.equal(await scene.left.closed, "aborted");
  assert.equal(scene.pair.left.stack.use.connections, 0);
});

Deno.test("L6: disposing ends a pipeTo that waits for a write", async () => {
  const { pair, left, right } = joined();
  const from = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(20_000_000)),
  });
  const failing = assert.rejects(from.pipeTo(left.writable), { reason: "aborted" });
  await turns(200);
  left[Symbol.dispose]();
  await failing;
  assert.equal(await right.closed, "reset");
  assert.equal(pair.left.stack.use.connections, 0);
});

Deno.test("L6: cancel() after their FIN drops what is unread and leaves the way out open", async () => {
  const { pair, left, right } = joined();
  const writer = left.writable.getWriter();
  await writer.write(new Uint8Array(1000));
  await writer.close();
  await turns(20);
  assert.ok(pair.right.stack.use.bufferBytes > 0);
  await right.readable.cancel();
  assert.equal(pair.right.stack.use.bufferBytes, 0);
  const back = right.writable.getWriter();
  await back.write(new Uint8Array([1, 2, 3]));
  await back.close();
  assert.deepEqual(await all(left.readable), new Uint8Array([1, 2, 3]));
  assert.equal(await right.closed, "closed");
});

Deno.test("L6: a connection that has ended in order leaves nothing unread with the stack", async () => {
  const { pair, left, right } = joined();
  const writer = right.writable.getWriter();
  await writer.write(BYTES.subarray(0, 100_000));
  await writer.close();
  await left.writable.close();
  assert.deepEqual(await Promise.all([left.closed, right.closed]), ["closed", "closed"]);
  assert.equal(pair.left.stack.use.bufferBytes, 0);
  assert.deepEqual(await all(left.readable), BYTES.subarray(0, 100_000));
});
