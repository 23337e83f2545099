import assert from "node:assert/strict";
import { NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { parseIpv4 } from "../wire/ip_address.ts";
import type { Datagrams, DatagramSocket, DatagramTaker } from "./datagram_socket.ts";
import { openDatagramsLinux } from "./datagrams_linux.ts";
import { openDatagramsPortable } from "./datagrams_portable.ts";
import { libc } from "./libc.ts";
import { insideNamespace } from "./namespace_linux.ts";
import { openReactor } from "./reactor.ts";
import { openStreamsLinux } from "./stream_linux.ts";
import { openStreamsPortable } from "./stream_portable.ts";
import type { Streams } from "./stream_socket.ts";

const LOOPBACK = 0x7f000001;

/** Keeps what comes. */
class Inbox implements DatagramTaker {
  readonly all: { bytes: Uint8Array; address: number; port: number }[] = [];
  take(buffer: Uint8Array, at: number, length: number, address: number, port: number): void {
    this.all.push({ bytes: buffer.slice(at, at + length), address, port });
  }
}

/** Drains until so many have come. */
async function receive(socket: DatagramSocket, inbox: Inbox, count: number): Promise<void> {
  await until(() => {
    socket.drain(inbox, 100);
    return inbox.all.length >= count;
  }, { what: `${count} datagrams` });
}

function opened(datagrams: Datagrams): DatagramSocket {
  const socket = datagrams.openUdp();
  assert.ok(socket);
  return socket;
}

const ffiMissing = libc() === undefined ? "needs FFI on Linux" : undefined;
const implementations: readonly {
  readonly name: string;
  readonly open: () => Datagrams;
  readonly streams: () => Streams;
  readonly missing: string | undefined;
}[] = [
  {
    name: "openDatagramsLinux()",
    open: openDatagramsLinux,
    streams: openStreamsLinux,
    missing: ffiMissing,
  },
  {
    name: "openDatagramsPortable()",
    open: openDatagramsPortable,
    streams: openStreamsPortable,
    missing: undefined,
  },
];

for (const { name, open, streams, missing } of implementations) {
  testIf(missing, `G1: ${name} carries datagrams of any length, with their sender`, async () => {
    const datagrams = open();
    using left = opened(datagrams);
    using right = opened(datagrams);
    const inbox = new Inbox();
    const sizes = [0, 1, 1400, 9000, 65_507];
    const sent = sizes.map((size) => crypto.getRandomValues(new Uint8Array(size)));
    for (const [i, bytes] of sent.entries()) {
      // From the middle of something.
      const around = new Uint8Array(bytes.length + 20);
      around.set(bytes, 7);
      assert.equal(left.send(LOOPBACK, right.port, around, 7, bytes.length), undefined);
      await receive(right, inbox, i + 1);
    }
    assert.deepEqual(
      inbox.all,
      sent.map((bytes) => ({ bytes, address: LOOPBACK, port: left.port })),
    );
    right.send(LOOPBACK, left.port, new Uint8Array(3), 0, 3);
    const answers = new Inbox();
    await receive(left, answers, 1);
    assert.equal(answers.all[0]?.port, right.port);
  });

  testIf(
    missing,
    `G1: Streams.add() has sockets of ${name} drained, until it is over`,
    async () => {
      using loop = streams();
      const datagrams = open();
      using owned = new DisposableStack();
      const from = owned.use(opened(datagrams));
      const inbox = new Inbox();
      let turns = 0;
      const watched = Array.from({ length: 100 }, () => {
        const socket = owned.use(opened(datagrams));
        const watch = loop.add(socket, () => {
          turns++;
          // One at a time: it must be told again.
          socket.drain(inbox, 1);
        });
        assert.ok(watch);
        return { socket, watch: owned.use(watch) };
      });
      const send = (): void => {
        for (const { socket } of watched) {
          from.send(LOOPBACK, socket.port, new Uint8Array(1), 0, 1);
        }
      };
      send();
      send();
      const all = (count: number) => (): boolean => {
        loop.serve();
        return inbox.all.length >= count;
      };
      await until(all(200), { what: "200 datagrams" });
      loop.serve();
      assert.deepEqual([turns, inbox.all.length], [200, 200]);
      const [first, second] = watched;
      assert.ok(first && second);
      first.watch[Symbol.dispose]();
      first.watch[Symbol.dispose]();
      for (const { socket } of [first, second]) {
        from.send(LOOPBACK, socket.port, new Uint8Array(2), 0, 2);
      }
      await until(all(201), { what: "the other's datagram" });
      loop.serve();
      assert.equal(turns, 201);
    },
  );
}

testIf(ffiMissing, "G1: what Streams.add() no longer watches does not wake the loop", () => {
  using loop = openStreamsLinux();
  using reactor = openReactor(-1);
  let woken = 0;
  reactor.add(loop, () => void woken++);
  using socket = opened(openDatagramsLinux());
  const watch = loop.add(socket, () => {});
  socket.send(LOOPBACK, socket.port, new Uint8Array(1), 0, 1);
  void reactor.wait(0);
  assert.equal(woken, 1);
  watch?.[Symbol.dispose]();
  void reactor.wait(0);
  assert.equal(woken, 1);
});

testIf(ffiMissing, "G1: send() says that no way leads to a broadcast address", () => {
  using socket = opened(openDatagramsLinux());
  const to = parseIpv4("127.255.255.255") ?? 0;
  assert.equal(socket.send(to, 9, new Uint8Array(1), 0, 1), "unreachable");
  assert.equal(socket.send(LOOPBACK, 0, new Uint8Array(1), 0, 1), "unreachable");
  assert.equal(
    socket.send(LOOPBACK, socket.port, new Uint8Array(70_000), 0, 70_000),
    "unreachable",
  );
  assert.equal(socket.send(LOOPBACK, socket.port, new Uint8Array(1), 0, 1), undefined);
});

Deno.test("G1: openPing() is undefined where the C library cannot be called", () => {
  assert.equal(openDatagramsPortable().openPing(), undefined);
});

testIf(
  netlabMissing ?? ffiMissing,
  "G1: openPing() gives a socket where net.ipv4.ping_group_range has a group of ours",
  async () => {
    await using lab = await NetLab.create();
    const host = await lab.namespace("ping");
    const datagrams = openDatagramsLinux();
    const open = (): DatagramSocket | undefined =>
      insideNamespace(`/run/netns/${host.name}`, () => datagrams.openPing());
    const allow = (range: string): Promise<unknown> =>
      host.runChecked("sh", ["-c", `echo ${range} >/proc/sys/net/ipv4/ping_group_range`]);
    await allow("1 0");
    assert.equal(open(), undefined);
    await allow("0 2147483647");
    using socket = open();
    assert.ok(socket);
    const request = Uint8Array.fromHex("08000000" + "0000" + "1234" + "aabbcc");
    assert.equal(socket.send(LOOPBACK, 0, request, 0, request.length), undefined);
    const inbox = new Inbox();
    await receive(socket, inbox, 1);
    const [answer] = inbox.all;
    assert.ok(answer);
    assert.equal(answer.address, LOOPBACK);
    // An echo reply with its number and data, and the identifier that is the kernel's.
    const identifier = socket.port.toString(16).padStart(4, "0");
    assert.match(answer.bytes.toHex(), new RegExp(`^0000....${identifier}1234aabbcc$`));
  },
);
