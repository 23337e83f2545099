import assert from "node:assert/strict";
import fc from "fast-check";
import { NetLab, netlabMissing } from "../../tests/netlab/netlab.ts";
import { testIf } from "../../tests/support/requires.ts";
import { until } from "../../tests/support/until.ts";
import { Endpoint } from "./endpoint.ts";
import { libc } from "./libc.ts";
import type { DatagramHandler, UdpSocket } from "./packet_socket.ts";
import { openUdpLinux } from "./udp_linux.ts";
import { openUdpPortable } from "./udp_portable.ts";
import type { UdpOptions } from "./udp_options.ts";

/** Keeps every datagram with its sender. */
class Inbox implements DatagramHandler {
  readonly datagrams: { bytes: Uint8Array; from: string }[] = [];
  receive(
    buffer: Uint8Array,
    at: number,
    length: number,
    names: Uint8Array,
    nameAt: number,
  ): void {
    const from = Endpoint.fromSockaddr(names, nameAt).toString();
    this.datagrams.push({ bytes: buffer.slice(at, at + length), from });
  }
  /** Drains until `count` datagrams are there. */
  async take(socket: UdpSocket, count: number): Promise<Uint8Array[]> {
    await until(() => {
      socket.drain(this, 1000);
      return this.datagrams.length >= count;
    }, { what: `${count} datagrams` });
    return this.datagrams.map(({ bytes }) => bytes);
  }
}

function send(socket: UdpSocket, bytes: Uint8Array, to: Endpoint): void {
  const at = socket.out.reserve(bytes.length);
  assert.ok(at >= 0);
  socket.out.buffer.set(bytes, at);
  socket.out.commit(bytes.length, to);
}

function loopback(port: number, address = "127.0.0.1"): Endpoint {
  const endpoint = Endpoint.of(address, port);
  assert.ok(endpoint);
  return endpoint;
}

const implementations: {
  name: string;
  open: (options: UdpOptions) => UdpSocket;
  missing: string | undefined;
}[] = [
  {
    name: "openUdpLinux()",
    open: openUdpLinux,
    missing: libc() === undefined ? "needs FFI on Linux" : undefined,
  },
  { name: "openUdpPortable()", open: openUdpPortable, missing: undefined },
];

for (const { name, open, missing } of implementations) {
  testIf(missing, `${name} carries datagrams both ways and names the sender`, async () => {
    using a = open({ port: 0 });
    using b = open({ port: 0 });
    const atB = new Inbox();
    const atA = new Inbox();
    send(a, Uint8Array.of(1, 2, 3), loopback(b.port));
    a.out.flush();
    assert.deepEqual(await atB.take(b, 1), [Uint8Array.of(1, 2, 3)]);
    assert.equal(atB.datagrams[0]?.from, `127.0.0.1:${a.port}`);
    send(b, Uint8Array.of(4), loopback(a.port));
    b.out.flush();
    assert.deepEqual(await atA.take(a, 1), [Uint8Array.of(4)]);
    assert.equal(b.counters.received, 1);
    assert.equal(b.counters.receivedBytes, 3);
    await until(() => b.counters.sent === 1, { what: "the send to be counted" });
  });

  testIf(missing, `${name} speaks IPv6 on the same socket`, async () => {
    using a = open({ port: 0 });
    using b = open({ port: 0 });
    const inbox = new Inbox();
    send(a, Uint8Array.of(6), loopback(b.port, "::1"));
    a.out.flush();
    assert.deepEqual(await inbox.take(b, 1), [Uint8Array.of(6)]);
    assert.equal(inbox.datagrams[0]?.from, `[::1]:${a.port}`);
  });

  testIf(missing, `${name} keeps the boundaries and order of any burst`, async () => {
    using a = open({ port: 0 });
    using b = open({ port: 0 });
    using other = open({ port: 0 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ size: fc.constantFrom(1, 7, 1200, 1200, 1200, 64), to: fc.nat(4) }), {
          minLength: 1,
          maxLength: 150,
        }),
        async (burst) => {
          const want: Uint8Array[] = [];
          const wantOther: Uint8Array[] = [];
          burst.forEach(({ size, to }, i) => {
            const bytes = new Uint8Array(size).fill(i);
            (to === 0 ? wantOther : want).push(bytes);
            // A fresh object each time: equal addresses join, not only the same object.
            send(a, bytes, loopback(to === 0 ? other.port : b.port));
          });
          a.out.flush();
          assert.deepEqual(await new Inbox().take(b, want.length), want);
          assert.deepEqual(await new Inbox().take(other, wantOther.length), wantOther);
        },
      ),
      { numRuns: 15 },
    );
  });

  testIf(missing, `${name} stops near the limit it is given`, async () => {
    using a = open({ port: 0 });
    using b = open({ port: 0 });
    // Different lengths, so that nothing is coalesced.
    for (let i = 1; i <= 20; i++) send(a, new Uint8Array(i), loopback(b.port));
    a.out.flush();
    const inbox = new Inbox();
    await until(() => a.counters.sent === 20, { what: "20 datagrams to be sent" });
    await until(() => b.drain(inbox, 5) > 0, { what: "the first" });
    assert.ok(inbox.datagrams.length <= 5);
    await inbox.take(b, 20);
  });

  testIf(missing, `${name} says port-in-use, which port and what to do`, () => {
    using a = open({ port: 0 });
    assert.throws(() => open({ port: a.port }), (error: Error & { next?: string }) => {
      assert.equal((error as { code?: string }).code, "port-in-use");
      assert.match(error.message, new RegExp(`UDP port ${a.port}`));
      assert.match(error.next ?? "", /choose another port/);
      return true;
    });
  });

  testIf(missing, `${name} refuses a datagram that no sink can hold`, () => {
    using a = open({ port: 0 });
    assert.equal(a.out.reserve(2_000_000), -1);
  });

  testIf(missing, `${name} counts what has no way out and goes on`, async () => {
    using a = open({ port: 0 });
    using b = open({ port: 0 });
    // Port 0 cannot be sent to.
    send(a, Uint8Array.of(1), loopback(0));
    send(a, Uint8Array.of(2), loopback(b.port));
    a.out.flush();
    assert.deepEqual(await new Inbox().take(b, 1), [Uint8Array.of(2)]);
    await until(() => a.counters.refused === 1, { what: "the refusal to be counted" });
  });
}

testIf(
  implementations[0]?.missing,
  "openUdpLinux() sends and receives a burst in few calls",
  async () => {
    using a = openUdpLinux({ port: 0 });
    using b = openUdpLinux({ port: 0 });
    const burst = Array.from({ length: 640 }, (_, i) => new Uint8Array(1000).fill(i));
    for (const bytes of burst) send(a, bytes, loopback(b.port));
    a.out.flush();
    assert.deepEqual(await new Inbox().take(b, 640), burst);
    assert.ok(a.counters.sendCalls <= 4, `${a.counters.sendCalls} sendmmsg`);
    assert.ok(b.counters.receiveCalls <= 20, `${b.counters.receiveCalls} recvmmsg`);
  },
);

testIf(
  implementations[0]?.missing ?? netlabMissing,
  "openUdpLinux() sends one by one what is too long for the path to be cut up by the kernel",
  async () => {
    await using lab = await NetLab.create();
    const space = await lab.namespace("udp");
    const lengths = [1400, 1400, 1400, 700, 300, 300];
    const send = async (): Promise<{ arrived: number[]; sendCalls: number }> => {
      const { stdout } = await space.runChecked(Deno.execPath(), [
        "run",
        "-A",
        new URL("_udp_fixture.ts", import.meta.url).pathname,
        ...lengths.map(String),
      ]);
      return JSON.parse(stdout);
    };
    assert.deepEqual(await send(), { arrived: lengths, sendCalls: 1 });
    await space.runChecked("ip", ["link", "set", "lo", "mtu", "1000"]);
    const { arrived, sendCalls } = await send();
    assert.deepEqual(arrived, lengths);
    assert.ok(sendCalls > 4);
  },
);
