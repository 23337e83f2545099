import assert from "node:assert/strict";
import type { PingAnswer } from "../tcp/ping.ts";
import type { CloseReason } from "../tcp/connection.ts";
import { Transfer } from "./transfer_fixture.ts";
import { PacketQueue } from "./packet_queue.ts";
import { UserspaceInterface } from "./userspace_interface.ts";
import { Wire } from "./wire_fixture.ts";

const [LEFT, RIGHT] = [0x0a000001, 0x0a000002];
const BYTES = 1_000_000;

function userspaceAt(address: string): UserspaceInterface {
  return new UserspaceInterface({ address, mtu: 1400, now: 0 });
}

/** Two of them. */
class Scene {
  readonly left = userspaceAt("10.0.0.1");
  readonly right = userspaceAt("10.0.0.2");
  readonly wire = new Wire(this.left, this.right);
}

Deno.test("L3: tick() sends what a program of a userspace interface has caused", () => {
  const left = userspaceAt("10.0.0.1");
  const out = new PacketQueue();
  left.dialTcp(RIGHT, 80, {});
  // Before it is started, there is no room; the stack tries again.
  assert.ok(left.tick(1) < 100);
  left.start(out);
  left.tick(100);
  const syn = out.take();
  assert.deepEqual(syn?.subarray(16, 20), Uint8Array.of(10, 0, 0, 2));
  assert.equal(out.take(), undefined);
});

Deno.test("L3: a program of a userspace interface receives what is written to it", () => {
  const scene = new Scene();
  const out = new PacketQueue();
  const from = userspaceAt("10.0.0.1");
  from.start(out);
  const got: string[] = [];
  scene.right.udp.bind({
    port: 53,
    handler: {
      onDatagram: (_socket, buffer, at, length): void =>
        void got.push(new TextDecoder().decode(buffer.subarray(at, at + length))),
    },
  });
  const socket = from.udp.bind({ handler: { onDatagram(): void {} } });
  assert.ok(typeof socket === "object");
  for (const text of ["one", "two"]) socket.sendTo(RIGHT, 53, new TextEncoder().encode(text));
  const { inbound } = scene.right;
  scene.right.begin(5);
  assert.equal(out.drainInto(inbound, 10), 2);
  assert.deepEqual(got, []); // handlers are called at the end of a batch
  inbound.flush();
  assert.deepEqual(got, ["one", "two"]);
});

Deno.test("L3: dialTcp() carries bytes both ways between two userspace interfaces", () => {
  const { left, right, wire } = new Scene();
  const [here, there] = [new Transfer(BYTES, 1), new Transfer(BYTES / 2, 2)];
  right.stack.listen({ port: 80, onSyn: (pending) => void pending.accept(there) });
  const made = left.dialTcp(RIGHT, 80, here, { noDelay: true });
  assert.ok(typeof made === "object" && made.noDelay);
  wire.settle();
  assert.deepEqual([here.reason, there.reason], ["closed", "closed"]);
  assert.deepEqual([here.received, there.received], [there.sends, here.sends]);
});

Deno.test("L3: two userspace interfaces ping each other and exchange datagrams of any size", () => {
  const { left, right, wire } = new Scene();
  const answers: PingAnswer["kind"][] = [];
  left.begin(wire.now);
  right.begin(wire.now);
  const done = (answer: PingAnswer): void => void answers.push(answer.kind);
  assert.equal(left.ping(RIGHT, { timeoutMs: 1000 }, done), undefined);
  assert.equal(right.ping(LEFT, { timeoutMs: 1000, bytes: 1000 }, done), undefined);
  assert.equal(left.ping(LEFT, { timeoutMs: 1000 }, done), "bad-address");
  wire.settle();
  assert.deepEqual(answers, ["reply", "reply"]);
  const lengths: number[] = [];
  right.udp.bind({
    port: 7,
    handler: {
      onDatagram: (socket, buffer, at, length, from, port): void =>
        void socket.sendTo(from, port, buffer, at, length),
    },
  });
  const socket = left.udp.bind({
    handler: { onDatagram: (_socket, _buffer, _at, length): void => void lengths.push(length) },
  });
  assert.ok(typeof socket === "object");
  for (const length of [0, 1, 1372, 1373, 9000]) {
    assert.equal(socket.sendTo(RIGHT, 7, new Uint8Array(length)), "sent");
  }
  wire.settle();
  assert.deepEqual(lengths, [0, 1, 1372, 1373, 9000]);
});

Deno.test("dialTcp() counts a connection's time from begin(), however long nothing happened", () => {
  const { left, right, wire } = new Scene();
  const reasons: CloseReason[] = [];
  wire.now += 3_600_000;
  left.begin(wire.now);
  const handler = { onClose: (_: unknown, reason: CloseReason) => void reasons.push(reason) };
  left.dialTcp(RIGHT, 80, handler, { connectMs: 1000 });
  right.stop(); // nobody answers
  const due = left.tick(wire.now);
  assert.deepEqual(reasons, []);
  for (let now = due; now < Infinity;) now = left.tick(now);
  assert.deepEqual(reasons, ["timeout"]);
});

Deno.test("stop() resets connections, tells their owners, and lets nothing in or out", () => {
  const { left, right, wire } = new Scene();
  const reasons: [string, CloseReason][] = [];
  const as = (who: string): { onClose: (_: unknown, reason: CloseReason) => void } => ({
    onClose: (_connection, reason) => void reasons.push([who, reason]),
  });
  right.stack.listen({ port: 80, onSyn: (pending) => void pending.accept(as("right")) });
  right.stack.listen({ port: 81, onSyn: () => {} });
  left.dialTcp(RIGHT, 80, as("left"));
  left.dialTcp(RIGHT, 81, as("unanswered"));
  wire.settle(20);
  const answers: PingAnswer["kind"][] = [];
  right.ping(0x0a000009, { timeoutMs: 1e6 }, ({ kind }) => answers.push(kind));
  right.stop();
  right.stop();
  assert.deepEqual(reasons, [["right", "aborted"]]);
  assert.deepEqual(answers, ["timeout"]);
  // The resets had gone out before.
  wire.settle();
  assert.deepEqual(reasons.slice(1).toSorted(), [["left", "reset"], ["unanswered", "refused"]]);
  assert.equal(right.dialTcp(LEFT, 80, {}), undefined);
  assert.equal(right.tick(1e6), Infinity);
  assert.deepEqual([right.stack.use.connections, right.stack.use.pending], [0, 0]);
});

Deno.test("L6: stop() tells every owner, whatever some of them throw, and throws the first of it", () => {
  const link = userspaceAt("10.0.0.1");
  link.start(new PacketQueue());
  const told: string[] = [];
  const tell = (who: string): void => {
    // Nothing begins any more, or it would never be told its end.
    told.push(`${who}: ${link.ping(RIGHT, { timeoutMs: 1 }, () => {})}`);
    throw new Error(who);
  };
  for (const who of ["one", "two"]) link.dialTcp(RIGHT, 80, { onClose: () => tell(who) });
  for (const who of ["three", "four"]) link.ping(RIGHT, { timeoutMs: 1e6 }, () => tell(who));
  assert.throws(() => link.stop(), { message: "one" });
  assert.deepEqual(told, ["one", "two", "three", "four"].map((who) => `${who}: no-room`));
  link.stop();
  assert.equal(told.length, 4);
});

Deno.test("L6: ping() hears of the answer through a sink that delivers at once", () => {
  const [left, right] = [userspaceAt("10.0.0.1"), userspaceAt("10.0.0.2")];
  left.start(right.inbound);
  right.start(left.inbound);
  const answers: PingAnswer[] = [];
  left.ping(RIGHT, { timeoutMs: 1000 }, (answer) => void answers.push(answer));
  left.tick(1);
  assert.deepEqual(answers, [{ kind: "reply", roundTripMs: 0 }]);
});

Deno.test("L6: ping() sends whole what fits into the MTU of the interface, and else fragments", () => {
  for (const [mtu, packets] of [[1052, 1], [1051, 2]] as const) {
    const link = new UserspaceInterface({ address: "10.0.0.1", mtu, now: 0 });
    const out = new PacketQueue();
    link.start(out);
    link.ping(RIGHT, { timeoutMs: 1, bytes: 1024 }, () => {});
    let sent = 0;
    for (let one = out.take(); one !== undefined; one = out.take(), sent++) {
      assert.ok(one.length <= mtu);
    }
    assert.equal(sent, packets);
  }
});

Deno.test("owns() tells what is the interface's own", () => {
  const { left, right, wire } = new Scene();
  const out = new PacketQueue();
  right.start(out);
  left.start(out);
  left.dialTcp(RIGHT, 80, {});
  left.tick(wire.now);
  const syn = out.take() ?? new Uint8Array(0);
  assert.equal(right.owns(syn, 0, syn.length), false);
  right.stack.listen({ port: 80, onSyn: () => {} });
  assert.equal(right.owns(syn, 0, syn.length), true);
});
