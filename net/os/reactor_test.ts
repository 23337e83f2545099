import assert from "node:assert/strict";
import { testIf } from "../../tests/support/requires.ts";
import { Endpoint } from "./endpoint.ts";
import { libc } from "./libc.ts";
import type { DatagramHandler, UdpSocket } from "./packet_socket.ts";
import { AsyncReactor, openReactor, PollReactor, Waker } from "./reactor.ts";
import { openUdpLinux } from "./udp_linux.ts";
import { openUdpPortable } from "./udp_portable.ts";

class Count implements DatagramHandler {
  total = 0;
  receive(): void {
    this.total++;
  }
}

function sendTo(socket: UdpSocket, port: number, count: number): void {
  const to = Endpoint.of("127.0.0.1", port);
  assert.ok(to);
  for (let i = 0; i < count; i++) {
    // Lengths differ, so that each is a message of its own.
    socket.out.reserve(100);
    socket.out.commit(1 + i, to);
  }
  socket.out.flush();
}

const noFfi = libc() === undefined ? "needs FFI on Linux" : undefined;

for (
  const { name, open, reactorOf, missing } of [
    { name: "PollReactor", open: openUdpLinux, reactorOf: openReactor, missing: noFfi },
    {
      name: "AsyncReactor",
      open: openUdpPortable,
      reactorOf: () => new AsyncReactor(),
      missing: undefined,
    },
  ]
) {
  testIf(missing, `${name} gives every ready source its turn, however busy one is`, async () => {
    using waker = new Waker();
    using reactor = reactorOf(waker.fd);
    using sender = open({ port: 0 });
    using busy = open({ port: 0 });
    using quiet = open({ port: 0 });
    const fromBusy = new Count();
    const fromQuiet = new Count();
    reactor.add(busy, () => busy.drain(fromBusy, 2));
    reactor.add(quiet, () => quiet.drain(fromQuiet, 2));
    sendTo(sender, busy.port, 30);
    sendTo(sender, quiet.port, 1);
    let turns = 0;
    while (fromQuiet.total === 0 && turns++ < 1000) await reactor.wait(1000);
    assert.ok(fromBusy.total < 30, `${fromBusy.total} of 30 came before the other source's one`);
    while (fromBusy.total < 30 && turns++ < 1000) await reactor.wait(1000);
    assert.equal(fromBusy.total, 30);
    reactor.remove(busy);
    reactor.remove(quiet);
  });

  testIf(
    missing,
    `${name} forgets a source that is removed, also by its own callback`,
    async () => {
      using waker = new Waker();
      using reactor = reactorOf(waker.fd);
      using sender = open({ port: 0 });
      using one = open({ port: 0 });
      using two = open({ port: 0 });
      let calls = 0;
      const others = new Count();
      reactor.add(one, () => {
        calls++;
        reactor.remove(one);
      });
      reactor.add(two, () => two.drain(others, 10));
      sendTo(sender, one.port, 1);
      let turns = 0;
      while (calls === 0 && turns++ < 1000) await reactor.wait(1000);
      sendTo(sender, two.port, 1);
      while (others.total === 0 && turns++ < 1000) await reactor.wait(1000);
      assert.equal(calls, 1);
      assert.equal(others.total, 1);
      reactor.remove(two);
    },
  );

  testIf(
    missing,
    `V9: ${name}.pause() passes over the pausable sources, and nothing is lost`,
    async () => {
      using waker = new Waker();
      using reactor = reactorOf(waker.fd);
      using sender = open({ port: 0 });
      using always = open({ port: 0 });
      using pausable = open({ port: 0 });
      const [atAlways, atPausable] = [new Count(), new Count()];
      reactor.add(pausable, () => pausable.drain(atPausable, 10), true);
      reactor.add(always, () => always.drain(atAlways, 10));
      reactor.pause(true);
      sendTo(sender, pausable.port, 1);
      let turns = 0;
      for (let i = 1; i <= 3; i++) {
        sendTo(sender, always.port, 1);
        while (atAlways.total < i && turns++ < 1000) await reactor.wait(1000);
      }
      assert.deepEqual([atAlways.total, atPausable.total], [3, 0]);
      // One that comes while others are passed over is passed over too, and one that goes stays gone.
      reactor.remove(always);
      reactor.add(always, () => always.drain(atAlways, 10), true);
      sendTo(sender, always.port, 1);
      assert.equal(await reactor.wait(1), false);
      assert.deepEqual([atAlways.total, atPausable.total], [3, 0]);
      reactor.pause(false);
      while (atAlways.total + atPausable.total < 5 && turns++ < 1000) await reactor.wait(1000);
      assert.deepEqual([atAlways.total, atPausable.total], [4, 1]);
    },
  );

  testIf(missing, `${name} returns after its timeout when nothing happens`, async () => {
    using waker = new Waker();
    using reactor = reactorOf(waker.fd);
    assert.equal(await reactor.wait(1), false);
    assert.equal(await reactor.wait(0), false);
  });
}

testIf(noFfi, "PollReactor is woken by another thread while it blocks its own", () => {
  using waker = new Waker();
  const c = libc();
  assert.ok(c);
  using reactor = new PollReactor(c, waker.fd);
  const worker = new Worker(import.meta.resolve("./_wake_fixture.ts"), { type: "module" });
  worker.postMessage(waker.fd);
  assert.equal(reactor.wait(20_000), true);
  assert.equal(reactor.wait(0), false);
  worker.terminate();
});

Deno.test("AsyncReactor.wake() ends a wait", async () => {
  using reactor = new AsyncReactor();
  const waiting = reactor.wait(60_000);
  reactor.wake();
  assert.equal(await waiting, true);
  assert.equal(await reactor.wait(0), false);
});
