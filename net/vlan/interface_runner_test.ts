import assert from "node:assert/strict";
import { until } from "../../tests/support/until.ts";
import { TcpStreams } from "../tcp/streams.ts";
import { InterfaceRunner } from "./interface_runner.ts";
import { MemoryInterface } from "./memory_interface.ts";
import type { NetworkInterface } from "./network_interface.ts";
import { UserspaceInterface } from "./userspace_interface.ts";

/** Two interfaces that run on this event loop, each the other's network. */
class Scene implements Disposable {
  readonly left: InterfaceRunner;
  readonly right: InterfaceRunner;

  constructor(left: NetworkInterface, right: NetworkInterface) {
    this.left = new InterfaceRunner(left, (packet) => void this.right.write(packet));
    this.right = new InterfaceRunner(right, (packet) => void this.left.write(packet));
  }

  [Symbol.dispose](): void {
    this.left[Symbol.dispose]();
    this.right[Symbol.dispose]();
  }
}

function userspaceAt(address: string): UserspaceInterface {
  return new UserspaceInterface({ address, mtu: 1400 });
}

async function sha256(stream: ReadableStream<Uint8Array>): Promise<string> {
  const bytes = await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).bytes();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

Deno.test("L3: connect() gives web streams through two interfaces on the event loop", async () => {
  const there = userspaceAt("10.0.0.2");
  using scene = new Scene(userspaceAt("10.0.0.1"), there);
  there.stack.listen({
    port: 7,
    onSyn: (pending) => {
      const streams = new TcpStreams(() => scene.right.wake());
      pending.accept(streams);
      void streams.readable.pipeTo(streams.writable);
    },
  });
  const bytes = new Uint8Array(1 << 20);
  for (let at = 0; at < bytes.length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  // Two at once, and what happens at once is done at once.
  const sent = [bytes, bytes.slice(0, 100_000)];
  const got = await Promise.all(sent.map(async (part) => {
    const { opened, readable, writable } = scene.left.connect("10.0.0.2", 7);
    await opened;
    const [hash] = await Promise.all([
      sha256(readable),
      new Blob([part]).stream().pipeTo(writable),
    ]);
    return hash;
  }));
  assert.deepEqual(got, await Promise.all(sent.map((part) => sha256(new Blob([part]).stream()))));
});

Deno.test("connect() fails as TCP does, and its connections end with the runner", async () => {
  const [here, there] = [userspaceAt("10.0.0.1"), userspaceAt("10.0.0.2")];
  using scene = new Scene(here, there);
  await assert.rejects(scene.left.connect("10.0.0.2", 81).opened, { reason: "refused" });
  assert.throws(() => scene.left.connect("web", 80), { code: "bad-address" });
  // Nobody answers: the timer has to end it.
  const lost = scene.left.connect("10.0.0.9", 80, { connectMs: 50 });
  await assert.rejects(lost.opened, { reason: "timeout" });
  there.stack.listen({ port: 80, onSyn: (pending) => void pending.accept({}) });
  const open = scene.left.connect("10.0.0.2", 80);
  await open.opened;
  scene.left[Symbol.dispose]();
  assert.equal(await open.closed, "aborted");
  await until(() => there.stack.use.connections === 0, { what: "the reset to arrive" });
  assert.equal(scene.left.write(new Uint8Array(20)), false);
  assert.throws(() => scene.left.connect("10.0.0.2", 80), { code: "dial-failed" });
});

Deno.test("L6: ping() counts its time from now, however long nothing happened", async () => {
  const here = userspaceAt("10.0.0.1");
  using scene = new Scene(here, userspaceAt("10.0.0.2"));
  const { performance } = globalThis;
  const later = { now: (): number => performance.now() + 3_600_000 };
  Object.assign(globalThis, { performance: later });
  try {
    for (let i = 0; i < 2; i++) {
      const answer = await scene.left.ping("10.0.0.2", { timeoutMs: 60_000 });
      assert.equal(answer.kind, "reply");
    }
  } finally {
    Object.assign(globalThis, { performance });
  }
});

Deno.test("L6: ping() fails as a ping does", async () => {
  const [memory, there] = [
    new MemoryInterface({ address: "10.0.0.1", mtu: 1400 }),
    userspaceAt("10.0.0.2"),
  ];
  using scene = new Scene(memory, there);
  const options = { timeoutMs: 10 };
  const { left, right } = scene;
  assert.deepEqual(await right.ping("10.0.0.9", options), { kind: "timeout" });
  await assert.rejects(right.ping("10.0.0.2", options), { code: "ping-failed" });
  await assert.rejects(right.ping("web", options), { code: "bad-address" });
  await assert.rejects(left.ping("10.0.0.2", options), {
    code: "ping-failed",
    message: "Cannot ping 10.0.0.2: interface memory sends no pings",
  });
});

Deno.test("L6: a connection that nobody answers ends as soon as its streams are aborted", async () => {
  const here = userspaceAt("10.0.0.1");
  using scene = new Scene(here, userspaceAt("10.0.0.2"));
  const { closed, writable } = scene.left.connect("10.0.0.9", 80);
  await writable.abort();
  assert.equal(await closed, "aborted");
  assert.equal(here.stack.use.connections, 0);
});

Deno.test("L6: disposing sends the resets, whatever an owner throws", async () => {
  const [here, there] = [userspaceAt("10.0.0.1"), userspaceAt("10.0.0.2")];
  using scene = new Scene(here, there);
  there.stack.listen({ port: 80, onSyn: (pending) => void pending.accept({}) });
  const { promise, resolve } = Promise.withResolvers<void>();
  const onClose = (): void => {
    throw new Error("Boom");
  };
  here.dialTcp(there.address, 80, { onOpen: () => resolve(), onClose });
  await promise;
  await until(() => there.stack.use.connections === 1, { what: "the connection" });
  assert.throws(() => scene.left[Symbol.dispose](), { message: "Boom" });
  await until(() => there.stack.use.connections === 0, { what: "the reset" });
});

Deno.test("InterfaceRunner carries what memory interfaces send", async () => {
  const [here, there] = ["10.0.0.1", "10.0.0.2"].map((address) =>
    new MemoryInterface({ address, mtu: 1400 })
  ) as [MemoryInterface, MemoryInterface];
  using scene = new Scene(here, there);
  const got: Uint8Array[] = [];
  there.inbound.onReadable = (): void => {
    for (let one = there.receive(); one !== undefined; one = there.receive()) got.push(one);
  };
  // More than one turn.
  const packets = Array.from({ length: 600 }, (_, i) => new Uint8Array(20 + i));
  for (const packet of packets) assert.ok(here.send(packet));
  await until(() => got.length === packets.length, { what: "all packets" });
  assert.deepEqual(got, packets);
  assert.throws(() => scene.left.connect("10.0.0.2", 80), {
    code: "dial-failed",
    message: "Cannot connect to 10.0.0.2: interface memory has no sockets",
  });
});
